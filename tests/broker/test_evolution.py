"""Rows 22 and 23 of the matrix: producers move to another schema while the stream runs."""

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from _harness import (
    EVENT,
    FUSED,
    Message,
    Plan,
    Result,
    Run,
    event_value,
    finish,
    make_plan,
    quiet_run,
    wait_for,
)

from stream.arrive.framing import Decoder
from stream.arrive.reject import Reject
from stream.arrive.schema import EventSchema, load_schema
from stream.arrive.writers import RESCAN_S

pytestmark = [pytest.mark.broker, pytest.mark.slow]
CHANGE = 4  # the wave with which producers change


@pytest.fixture(scope="module")
def quiet(kafka_address: str) -> Result:
    """The same input, all of it written with one schema."""
    return quiet_run(kafka_address, dirt=False)


def changed(fields: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> dict[str, Any]:
    """The event's schema with other fields."""
    return {**EVENT, "fields": fields([dict(f) for f in EVENT["fields"]])}


def rewritten(plan: Plan, schema: EventSchema, further: dict[str, Any]) -> Plan:
    """From wave CHANGE on, events say the same in another schema."""
    mine = load_schema(EVENT)
    decode = Decoder(mine, lambda key: mine if key == mine.fingerprint else None).decode

    def again(m: Message) -> Message:
        record = decode(m.value)
        assert not isinstance(record, Reject)
        return replace(m, value=event_value(schema, {**record, **further}))

    waves = [tuple(again(m) if m.topic == "events" else m for m in wave) for wave in plan.waves[CHANGE:]]
    return Plan(plan.waves[:CHANGE] + tuple(waves))


def unknown_in(plan: Plan, number: int) -> Plan:
    """The same plan, where nobody knows the schema of one wave's events, and so no label finds them."""
    lost = {m.id for m in plan.waves[number] if m.topic == "events"}

    def fate(m: Message, wave: int) -> Message:
        if m.topic == "events" and wave == number:
            return replace(m, code="schema.unknown")
        return replace(m, code="label.orphaned") if m.topic == "labels" and m.id in lost else m

    return Plan(tuple(tuple(fate(m, i) for m in wave) for i, wave in enumerate(plan.waves)))


def drop(run: Run, name: str, schema: dict[str, Any]) -> None:
    """Put a schema into the spec's folder, as whoever deploys a new producer does, and wait until it counts."""
    (run.folder / "writers" / name).write_text(json.dumps(schema))
    time.sleep(RESCAN_S + 0.1)  # the folder is looked at once in this time


def test_row_22_compatible_change_mid_stream(kafka_address: str, prefix: str, quiet: Result) -> None:
    """A new field, another order: what is unchanged is learned to the same bit."""
    given = changed(lambda fs: [{"name": "colour", "type": "string"}, *reversed(fs)])
    plan = rewritten(make_plan(dirt=False), load_schema(given), {"colour": "red"})
    with Run(kafka_address, plan, FUSED, name=f"{prefix}row22") as run:
        run.start().feed(until=CHANGE)
        drop(run, "click-2.avsc", given)
        result = finish(run, quiet)
        assert run.workers[0].exits == []
    assert result.rows == quiet.rows
    assert not result.dead


def test_row_22_a_producer_ahead_of_its_schema(kafka_address: str, prefix: str) -> None:
    """Until the file is there, its events go to `dead`, whole; afterwards it is understood without a restart."""
    given = changed(lambda fs: [*fs, {"name": "colour", "type": "string"}])
    plan = unknown_in(rewritten(make_plan(dirt=False), load_schema(given), {"colour": "red"}), CHANGE)
    with Run(kafka_address, plan, FUSED, name=f"{prefix}row22u") as run:
        run.start().feed(until=CHANGE + 1)
        wait_for(lambda: run.dead().total() >= len(plan.waves[CHANGE]) // 3, 60, "its events in `dead`")
        drop(run, "click-2.avsc", given)
        result = finish(run)
        assert run.workers[0].exits == []
    codes = Counter(code for *_, code in result.dead.elements())
    assert codes["schema.unknown"] == sum(m.topic == "events" for m in plan.waves[CHANGE]) > 50


def test_row_23_incompatible_change_is_forced(kafka_address: str, prefix: str, quiet: Result) -> None:
    """Schemas that can't be resolved, would be misread or are unknown, and lies: all in `dead`; learning goes on."""
    record = {"id": "bad", "at": 1_700_000_000_000, "price": 1.0, "weight": 1.0, "shop": "s", "member": True}
    micros = {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}}
    mood = {"name": "mood", "type": "string"}
    textual = changed(lambda fs: [{**f, "type": "string"} if f["name"] == "price" else f for f in fs])
    lacking = changed(lambda fs: [f for f in fs if f["name"] != "price"])
    shifted = changed(lambda fs: [micros if f["name"] == "at" else f for f in fs] + [mood])
    stranger = changed(lambda fs: [mood, *fs])
    values = [
        (event_value(load_schema(textual), {**record, "price": "12"}), "avro.undecodable"),
        (event_value(load_schema(lacking), record), "avro.undecodable"),
        (event_value(load_schema(shifted), {**record, "mood": "sour"}), "schema.refused"),
        (event_value(load_schema(stranger), {**record, "mood": "sour"}), "schema.unknown"),
    ]
    longer = event_value(load_schema(shifted), {**record, "mood": "sour"})
    values.append((longer[:2] + load_schema(EVENT).fingerprint + longer[10:], "avro.trailing"))
    bad = [Message("events", i % 2, f"bad{i}", value, code) for i, (value, code) in enumerate(values)]

    good = make_plan(dirt=False)
    waves = [(*bad, *wave, *bad) if i >= CHANGE else wave for i, wave in enumerate(good.waves)]
    with Run(kafka_address, Plan(tuple(waves)), FUSED, name=f"{prefix}row23") as run:
        run.start().feed(until=CHANGE)
        for name, schema in (("textual", textual), ("lacking", lacking), ("shifted", shifted)):
            (run.folder / "writers" / f"{name}.avsc").write_text(json.dumps(schema))
        drop(run, "again.avsc", EVENT)
        result = finish(run, quiet)
        assert run.workers[0].exits == []
    times = 2 * (len(good.waves) - CHANGE)
    assert Counter(code for *_, code in result.dead.elements()) == Counter(
        {"avro.undecodable": 2 * times, "schema.refused": times, "schema.unknown": times, "avro.trailing": times}
    )
