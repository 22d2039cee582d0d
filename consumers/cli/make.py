"""Commands about the spec itself: init drafts one, check judges one."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumers.cli.app import JsonOpt, SpecArg, app, give_json, note, progress, say, spec_of
from stream.errors import SpecError

if TYPE_CHECKING:
    from stream.spec import FieldSpec, Spec


@app.command()
def init(
    file: Annotated[
        Path, typer.Argument(help="Avro schema (.avsc) or sample (.csv, .tsv, .jsonl, .avro)", metavar="FILE")
    ],
    to: Annotated[
        Path | None, typer.Option("--out", help="where to write the spec; default: FILE's name, .yaml, here")
    ] = None,
    name: Annotated[str | None, typer.Option(help="the pipeline's name; default: the spec's")] = None,
    label: Annotated[str | None, typer.Option(help="the column that is to be predicted")] = None,
    force: Annotated[bool, typer.Option("--force", help="overwrite what is there")] = False,
    as_json: JsonOpt = False,
) -> None:
    """Draft a commented spec from an Avro schema or a sample; from a sample also the schema, beside it.

    Example: headwater init clicks.csv --label clicked
    """
    from consumers._init_spec import draft, write

    path = to if to is not None else Path(file.with_suffix(".yaml").name)
    with progress(f"reading {file.name}", as_json) as told:
        made = draft(file, path, name, label, told)
    written = write(made, path, force)
    if as_json:
        give_json({"written": [str(p) for p in written], "name": made.name, "guesses": made.notes})
        return
    for p in written:
        say(f"wrote {p}")
    for line in made.notes:
        note(f"guessed {line}")
    note(f"next: read {path}, change what you know better, then: headwater check {path}")


@app.command()
def check(spec: SpecArg, as_json: JsonOpt = False) -> None:
    """Say everything that is wrong with a spec, or what it makes of the events. Exit code 2 when wrong.

    Example: headwater check examples/flights.yaml
    """
    try:
        found = _summary(spec_of(spec))
    except SpecError as e:
        if not as_json:
            raise
        split = [p.partition(": ") for p in e.problems]
        problems = [{"path": path, "problem": text} for path, _, text in split]
        give_json({"ok": False, "source": e.source, "problems": problems})
        raise typer.Exit(e.exit_code) from None
    if as_json:
        give_json({"ok": True, "source": str(spec), **found})
        return
    for line in _lines(found):
        say(line)


def _summary(spec: "Spec") -> dict[str, Any]:
    from consumers._kafka import TOPICS, _topic
    from stream.encode.encoder import layout_of
    from stream.spec_load import event_schema

    layout, schema = layout_of(spec), event_schema(spec)
    columns = {"number": layout.numeric, "category": layout.categories, "words": layout.tokens}
    fields = {n: _encoded(n, f, columns) for n, f in spec.event.fields.items()}
    weights = sum(arm.weight for arm in spec.arms.values())
    arms = {
        n: {
            "model": a.model,
            "params": a.params,
            "share": a.weight / weights,
            "fields": list(a.fields) if a.fields is not None else "all",
            "without": list(a.without),
        }
        for n, a in spec.arms.items()
    }
    return {
        "name": spec.name,
        "task": spec.task,
        "classes": list(spec.classes),
        "hash": spec.hash,
        "schema": {
            "name": schema.name,
            "fingerprint": schema.fingerprint.hex(),
            "file": str(spec.schema_path),
        },
        "id": spec.event.id,
        "time": spec.event.time,
        "fields": fields,
        "unused": [f for f in schema.field_names if f not in fields],
        "arms": arms,
        "topics": {spec.topic(t): _topic(spec, t)["num_partitions"] for t in TOPICS},
    }


def _encoded(name: str, field: "FieldSpec", columns: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """A field's type, and the columns that it becomes: kind → names."""
    mine = {kind: [c for c in names if c == name or c.startswith(f"{name}.")] for kind, names in columns.items()}
    return {"type": field.type, "becomes": {kind: names for kind, names in mine.items() if names}}


def _lines(found: dict[str, Any]) -> Iterator[str]:
    classes = f" ({', '.join(found['classes'])})" if found["classes"] else ""
    yield f"pipeline {found['name']}: well; task {found['task']}{classes}"
    schema = found["schema"]
    yield f"events   {schema['name']} ({schema['file']}, fingerprint {schema['fingerprint']})"
    yield f"         id {found['id']}, time {found['time']}"
    for name, field in found["fields"].items():
        becomes = "; ".join(f"{kind} {', '.join(names)}" for kind, names in field["becomes"].items())
        yield f"field    {name}: {field['type']}" + (f" → {becomes}" if becomes else "")
    if found["unused"]:
        yield f"unused   {', '.join(found['unused'])}"
    for name, arm in found["arms"].items():
        params = ", ".join(f"{k}={v}" for k, v in arm["params"].items())
        sees = f"; fields {', '.join(arm['fields'])}" if arm["fields"] != "all" else ""
        sees += f"; without {', '.join(arm['without'])}" if arm["without"] else ""
        yield f"arm      {name}: {arm['model']}({params}), {arm['share']:.0%} of the predictions{sees}"
    topics = ", ".join(f"{name} ({count})" for name, count in found["topics"].items())
    yield f"topics   {topics}"
    yield f"hash     {found['hash']}"
