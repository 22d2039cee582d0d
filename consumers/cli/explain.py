"""The command explain: what a pipeline's newest snapshot has learned, and why it answers an event as it does."""

import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumers.cli.app import DataOpt, JsonOpt, SpecArg, app, give_json, note, say, settings_of, spec_of, working
from consumers.cli.commands import given_event

if TYPE_CHECKING:
    from stream.explain.explainable import Explainable, Explanation
    from stream.explain.names import Names
    from stream.registry.snapshot import Snapshot
    from stream.spec import Spec

ROWS_AT_ONCE = 1000


@app.command()
def explain(
    spec: SpecArg,
    arm: Annotated[str | None, typer.Option(help="this arm; default: the first")] = None,
    top: Annotated[int, typer.Option(help="how many weights", min=1, max=1_000_000)] = 20,
    names: Annotated[
        Path | None, typer.Option(help="events (.csv, .jsonl, .avro): categories are shown by the values found there")
    ] = None,
    event: Annotated[
        str | None, typer.Option(help="explain the answer to this one: JSON, or @file, or - for standard input")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="write a picture to this HTML file")] = None,
    data: DataOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """What the newest snapshot has learned: weights by feature, a tree as text, importance; or why one event's answer.

    Example: headwater explain examples/flights.yaml --arm logistic --names flights.csv --top 10
    """
    from consumers.learn import snapshot_folder
    from stream.explain.arm import explained
    from stream.explain.names import Names
    from stream.predict.served import served_of
    from stream.registry.snapshot import load_newest

    settings, loaded = settings_of(data=data), spec_of(spec)
    folder = snapshot_folder(settings, loaded)
    with working("reading the newest snapshot", as_json):
        snapshot = load_newest(folder, loaded.hash)
        if snapshot is None:
            raise _nothing(folder)
        arms, known = served_of(loaded, snapshot).arms, Names(loaded)
        for rows in _events(loaded, names) if names else ():
            known.learn(rows)
        chosen = arm or next(iter(loaded.arms))
        model = explained(loaded, arms, chosen, known)
    for line in snapshot.passed_over:
        note(f"note: passed over {line}")
    if event is not None:
        _one(loaded, arms.views[chosen], model, known, given_event(event), as_json)
    else:
        _all(loaded, model, snapshot, chosen, top, as_json)
    if picture is not None:
        _draw(model, f"{loaded.name}, arm {chosen}, {snapshot.meta['rows']} rows", top, picture)


def _nothing(folder: Path) -> Exception:
    from stream.errors import SnapshotError

    return SnapshotError(f"{folder}: no snapshot yet; `headwater run SPEC … learn` writes them, --data says where")


def _events(spec: "Spec", file: Path) -> Iterator[list[dict[str, Any]]]:
    """A file's events, as publishing them would send them."""
    from consumers.publish import typed_events

    events = typed_events(spec, file)
    while rows := list(islice(events, ROWS_AT_ONCE)):
        yield rows


def _all(spec: "Spec", model: "Explainable", snapshot: "Snapshot", arm: str, top: int, as_json: bool) -> None:
    if as_json:
        weights, importance = model.weights(), model.importance()
        give_json(
            {
                "pipeline": spec.name,
                "arm": arm,
                "model": spec.arms[arm].model,
                "generation": snapshot.meta["generation"],
                "rows": snapshot.meta["rows"],
                "intercept": getattr(model, "intercept", None),
                "weights": [asdict(w) for w in weights[:top]],
                "importance": dict(islice(importance.items(), top)),
                "text": model.text(top),
            }
        )
        return
    where = f"generation {snapshot.meta['generation']}, {snapshot.meta['rows']} rows"
    say(f"{spec.name}, arm {arm}: {spec.arms[arm].model}, {where}")
    say(model.text(top).rstrip())
    say("importance: " + ", ".join(f"{n} {s:.3f}" for n, s in islice(model.importance().items(), top)))


def _one(spec: "Spec", view: Any, model: "Explainable", names: "Names", fields: dict[str, Any], as_json: bool) -> None:
    """Why the answer to one event is what it is."""
    from stream.clean.cleaner import Cleaner, Position
    from stream.encode.encoder import Encoder
    from stream.errors import DataError
    from stream.predict.events import EventReader
    from stream.predict.refuse import Refused
    from stream.spec_load import event_schema

    now_ms = time.time_ns() // 1_000_000
    try:
        read = EventReader(spec, event_schema(spec)).read(fields, "", now_ms)
    except Refused as e:
        raise DataError(f"event: {e}") from None
    names.learn([read])
    cleaned = Cleaner(spec).clean([read], [Position(0, 0, now_ms)])
    for code, detail in cleaned.rejects.values():
        raise DataError(f"event: {code}: {detail}")
    [found] = model.explain(view.of(Encoder(spec).encode(cleaned.columns)))
    if as_json:
        give_json(asdict(found))
        return
    for line in _lines(found):
        say(line)


def _lines(found: "Explanation") -> list[str]:
    """An explanation for a person."""
    wide = max([len(p.feature) for p in found.parts], default=0)
    lines = [f"{'base':<{wide}}  {_shown(found.base)}"]
    for p in found.parts:
        weighed = f"  = {_shown(p.weight)} × {p.value:.6g}" if p.weight else ""
        lines.append(f"{p.feature:<{wide}}  {_shown(p.contribution)}{weighed}")
    return [*lines, f"{'total':<{wide}}  {_shown(found.total)}", f"{'score':<{wide}}  {_shown(found.score)}"]


def _shown(numbers: tuple[float, ...]) -> str:
    return " ".join(f"{n:+.6g}" for n in numbers)


def _draw(model: "Explainable", title: str, top: int, path: Path) -> None:
    from stream.errors import DataError
    from stream.explain.picture import html

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html(model, title, top))
    except OSError as e:
        raise DataError(f"{path}: can't be written: {e.strerror}") from e
    note(f"picture: {path}")
