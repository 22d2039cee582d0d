"""PredictBatch as columns, over real gRPC through the client: what the row form answers, and what is logged."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_grpc import Running, running, until
from test_predict_plane import GOOD, NOW, events, make_spec, snapshot

from consumers.client import CallFailed, Event
from schemas import headwater_pb2 as pb
from stream.errors import DataError
from stream.predict import wire
from stream.predict.plane import Answer, Request
from stream.predict.refuse import InvalidRequest
from stream.predict.served import Served, served_of
from stream.spec import Spec


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("columns")


@pytest.fixture(scope="module")
def spec(folder: Path) -> Spec:
    return make_spec(folder)


@pytest.fixture(scope="module")
def served(spec: Spec, folder: Path) -> Served:
    return served_of(spec, snapshot(spec, folder / "snapshots"))


@pytest.fixture(scope="module")
def server(spec: Spec, served: Served) -> Iterator[Running]:
    with running(spec, served) as made:
        yield made


NAMES = ("id", "at", "user", "amount", "visits", "count", "ratio", "country", "device", "vip")


def listed(rows: list[dict[str, Any]], names: tuple[str, ...] = NAMES) -> dict[str, list[Any]]:
    return {name: [row.get(name) for row in rows] for name in names}


def test_columns_and_rows_get_the_same_answers(server: Running, served: Served, spec: Spec) -> None:
    rows = [{n: e[n] for n in NAMES} for e in events(400, seed=8)]
    rows[3]["amount"], rows[5]["vip"], rows[7]["device"] = -1.0, None, "tv"
    found = server.client.predict_columns(listed(rows))
    wanted = server.client.predict_batch(rows)
    assert len(found) == len(wanted) == 400
    assert sorted(found.errors) == [3, 7]
    for row, one in enumerate(wanted):
        if isinstance(one, CallFailed):
            told = found.errors[row]
            assert (told.status, told.reason, str(told)) == (one.status, one.reason, str(one))
            assert (found.arm[row], found.score[row]) == (-1, 0)
            continue
        assert (found.arms[found.arm[row]], found.propensity[row]) == (one.arm, one.propensity)
        assert (found.score[row], found.event_ids[row], found.units[row]) == (one.score, one.event_id, one.unit)
        assert (found.experiment, found.spec_hash, found.model) == (one.experiment, one.spec_hash, one.model)
    assert (found.staleness_ms, found.arm_requested) == (100, False)
    assert found.model.sha256 == served.sha256


def test_arrays_are_as_good_as_lists_and_strings_that_repeat_are_sent_once(server: Running) -> None:
    n = 300
    fields = {
        "amount": np.linspace(0, 1000, n),
        "visits": np.arange(n, dtype=np.int32),
        "vip": np.arange(n) % 3 == 0,
        "device": np.array(["phone", "desk"] * (n // 2)),
        "country": np.array(["gb", None, "us"] * (n // 3), object),
    }
    found = server.client.predict_columns(fields, arm="bold", unlogged=True)
    rows = [{k: v[i].item() if hasattr(v[i], "item") else v[i] for k, v in fields.items()} for i in range(n)]
    rows = [{**r, "device": str(r["device"])} for r in rows]
    wanted = server.client.predict_batch([Event(r, arm="bold") for r in rows])
    assert found.score.tolist() == [w.score for w in wanted]  # type: ignore[union-attr]
    assert (found.arm_requested, found.experiment, set(found.propensity)) == (True, "", {1.0})


def test_a_strings_index_and_plain_strings_say_the_same() -> None:
    plain = pb.EventColumns(rows=3)
    plain.fields["country"].strings.values.extend(["a", "b", "a"])
    short = pb.EventColumns(rows=3)
    short.fields["country"].strings.values.extend(["b", "a"])
    short.fields["country"].strings.index.extend([1, 0, 1])
    for message in (plain, short):
        column = wire.batch_of(message).fields["country"]
        assert [column.at(i) for i in range(3)] == ["a", "b", "a"]


def test_ids_units_and_predictions_ids_are_kept_and_feedback_takes_them(server: Running) -> None:
    ids, units = [f"x{i}" for i in range(5)], ["u1", "", "u2", "", "u1"]
    found = server.client.predict_columns(listed([GOOD] * 5, tuple(GOOD)), event_ids=ids, units=units)
    assert found.event_ids == tuple(ids)
    assert found.units == ("u1", "ann", "u2", "ann", "u1")
    server.client.feedback(True, prediction_id=found.prediction_id(2))
    until(lambda: server.kafka.of("visits.labels", "label"))
    assert server.kafka.of("visits.labels", "label")[-1][1]["id"] == "x2"


def test_every_answer_of_a_batch_is_logged_unless_it_is_said_not_to(spec: Spec, served: Served) -> None:
    with running(spec, served) as server:
        fields = listed([GOOD, {**GOOD, "amount": -1.0}, GOOD], tuple(GOOD))
        server.client.predict_columns(fields, event_ids=["a", "b", "c"], unlogged=True)
        found = server.client.predict_columns(fields, event_ids=["d", "e", "f"])
        until(lambda: len(server.kafka.of("visits.predictions", "prediction")) == 2)
        records = [r for _, r in server.kafka.of("visits.predictions", "prediction")]
        assert [r["id"] for r in records] == ["d", "f"]
        assert [r["prediction_id"] for r in records] == [found.prediction_id(0), found.prediction_id(2)]
        assert [(r["arm"], r["score"], r["unit"]) for r in records] == [
            (found.arms[found.arm[i]], found.score[i], "ann") for i in (0, 2)
        ]
        assert {(r["experiment"], r["served_ms"], r["dropped_before"]) for r in records} == {
            ("calm-or-bold", NOW + 100, 0)
        }


def test_rows_that_find_no_room_to_be_logged_are_counted(spec: Spec, served: Served) -> None:
    with running(spec, served) as server:
        server.it.exposures._sender.offer = lambda parcel: False  # type: ignore[method-assign]
        server.client.predict_columns(listed([GOOD] * 7, tuple(GOOD)))
        assert server.client.describe().exposures.dropped == 7


def test_classes_come_with_scores_and_the_likeliest(tmp_path: Path) -> None:
    arms = {"tree": {"model": "tree.hoeffding", "params": {"grace_period": 50}}}
    spec = make_spec(tmp_path, task="classes", classes=["low", "mid", "high"], arms=arms)
    with running(spec, served_of(spec, snapshot(spec, tmp_path / "snapshots"))) as server:
        fields = listed([{**GOOD, "amount": a} for a in (900.0, 1.0, -1.0)], tuple(GOOD))
        found = server.client.predict_columns(fields)
        first, second, _ = (
            server.it.plane.predict_batch([Request({**GOOD, "amount": a})], NOW)[0] for a in (900.0, 1.0, 0.0)
        )
        assert isinstance(first, Answer)
        assert isinstance(second, Answer)
        assert found.scores.tolist() == [list(first.scores), list(second.scores), [0, 0, 0]]
        assert [found.classes[i] for i in found.label[:2]] == [first.label, second.label]


WRONG: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    ({"colour": ["red"]}, {}, "INVALID_ARGUMENT", "'colour': no such field"),
    ({"amount": ["x"]}, {}, "INVALID_ARGUMENT", "amount: found a column of string; double or int64 is wanted"),
    ({"amount": [1.0]}, {"arm": "best"}, "NOT_FOUND", "'best'; the arms are calm, bold, shadow"),
    ({"amount": [1.0]}, {"max_staleness_ms": 5}, "FAILED_PRECONDITION", "100 ms stale; at most 5 ms"),
    ({"amount": np.ones(4097)}, {}, "INVALID_ARGUMENT", "4097 requests; at most 4096"),
]


@pytest.mark.parametrize(("fields", "more", "status", "said"), WRONG, ids=[w[3] for w in WRONG])
def test_what_is_wrong_with_a_column_is_the_status_of_the_call(
    server: Running, fields: dict[str, Any], more: dict[str, Any], status: str, said: str
) -> None:
    with pytest.raises(CallFailed) as e:
        server.client.predict_columns(fields, **more)
    assert (e.value.status, said in str(e.value)) == (status, True), str(e.value)


def test_columns_that_no_message_can_carry_never_leave_the_client(server: Running) -> None:
    for bad, said in (
        ({"amount": [1.0, 2.0], "vip": [True]}, "columns: found lengths {'amount': 2, 'vip': 1}"),
        ({"amount": [1.0, "x"]}, "amount: found float, str; numbers, strings or booleans"),
        ({"amount": [object()]}, "amount: found object"),
        ({"visits": [1 << 63]}, "visits: "),
        ({"country": ["\ud800"]}, "country: "),
    ):
        with pytest.raises(DataError) as e:
            server.client.predict_columns(bad)
        assert str(e.value).startswith(said)
    with pytest.raises(DataError, match="event_ids"):
        server.client.predict_columns({"amount": [1.0]}, event_ids=["a", "b"])


def test_a_message_that_says_both_or_half_is_refused(server: Running) -> None:
    both = pb.PredictBatchRequest(columns=pb.EventColumns(rows=0), requests=[pb.PredictRequest()])
    with pytest.raises(CallFailed, match="requests and columns are both given"):
        server.client._call(server.client._stub.PredictBatch, both, 5)
    hollow = pb.EventColumns(rows=9)
    hollow.fields["amount"].nulls = b"\xff"
    with pytest.raises(InvalidRequest, match="amount: nulls of 1 bytes; 2 are wanted for 9 rows"):
        wire.batch_of(hollow)
    hollow.fields["amount"].nulls = b""
    with pytest.raises(InvalidRequest, match="amount: no values; doubles"):
        wire.batch_of(hollow)
    negative = pb.PredictBatchRequest(columns=pb.EventColumns(rows=-1))
    with pytest.raises(CallFailed, match="-1 requests"):
        server.client._call(server.client._stub.PredictBatch, negative, 5)


def test_a_column_of_nulls_alone_fits_every_field_and_an_empty_batch_is_one(server: Running) -> None:
    fields = listed(
        [{**GOOD, "visits": None, "vip": None, "country": None}] * 2, ("amount", "visits", "vip", "country", "device")
    )
    found = server.client.predict_columns(fields, arm="bold")
    one = server.client.predict({"amount": 12.5, "device": "phone"}, arm="bold")
    assert found.score.tolist() == [one.score] * 2
    assert len(server.client.predict_columns({})) == 0
