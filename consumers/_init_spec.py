"""A first spec from what a person has: an Avro schema, or a sample of the data.

What: `draft` looks at the file and guesses; `write` puts the drafts down. Every guess is said in a comment,
with what it rests on. Why: the first spec is the hardest one to write.
Invariant: what `write` leaves passes `headwater check` as it is, and nothing is overwritten unasked.
"""

import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import yaml

from consumers._rows import SUFFIXES, field_name
from consumers._sample import CODE, ID, LABELS, TEXT, TIME, Column, Found, Guess, guess_of_sample, read_sample, usable
from stream.arrive.schema import Field, load_schema
from stream.errors import DataError, SpecError, StorageError
from stream.spec_load import load_spec

__all__ = ["Column", "Draft", "draft", "write"]

_UNIT = re.compile(r"(?i)(^|_)(user|customer|visitor|session|account|client|device)(_|$)")
_SPEC_TYPE = {
    "boolean": "boolean", "long": "numeric", "double": "numeric", "timestamp": "time", "string": "category",
    "enum": "category",
}  # fmt: skip


@dataclass(slots=True)
class Draft:
    """Texts to be written. schema: where it is, or goes (if `schema_text`); notes: for the person."""

    name: str
    spec_text: str
    schema: Path
    schema_text: str | None
    notes: list[str]


def draft(
    file: Path,
    out: Path,
    name: str | None = None,
    label: str | None = None,
    told: Callable[[int, int | None], object] = lambda done, total: None,
) -> Draft:
    """Look at the file and guess. Raises DataError, or SchemaError for an Avro schema that is refused."""
    name = name or re.sub(r"[^a-z0-9_-]+", "-", out.stem.lower()).strip("-_")
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name):
        raise DataError(f"--name: found {name!r}; a small letter, then small letters, digits, - or _ are wanted")
    if file.suffix.lower() not in (".avsc", *SUFFIXES):
        raise DataError(f"{file}: found {file.suffix or 'no suffix'}; wanted: .avsc, {', '.join(SUFFIXES)}")
    schema, text = out.with_suffix(".avsc"), None
    if file.suffix.lower() == ".avsc":
        schema, guess = file, _of_schema(load_schema(file).fields, label, str(file))
    elif file.suffix.lower() == ".avro":
        given = _avro_schema(file)
        guess = _of_schema(load_schema(given).fields, label, str(file))
        text = json.dumps(given, indent=1) + "\n"
    else:
        guess = guess_of_sample(read_sample(file, told), label, file)
        text = _schema_text(name, guess)
    notes = [f"id: {guess.id}: {guess.id_why}", f"time: {guess.time}: {guess.time_why}"]
    notes.append(f"task: {guess.task}: {guess.task_why}")
    return Draft(name, _spec_text(name, guess, schema, out, file), schema, text, notes)


def write(draft: Draft, out: Path, force: bool = False) -> list[Path]:
    """Put the drafts down, the schema first; what was written. Raises DataError for files that are there."""
    wanted = {draft.schema: draft.schema_text} if draft.schema_text is not None else {}
    there = [str(path) for path in (*wanted, out) if path.exists()]
    if there and not force:
        raise DataError(f"{', '.join(there)}: there already; --force overwrites")
    _check(draft, out)
    texts: dict[Path, str] = {path: text for path, text in wanted.items() if text is not None}
    texts[out] = draft.spec_text
    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w" if force else "x", encoding="utf-8") as to:
                to.write(text)
        except OSError as e:
            raise StorageError(f"{path}: can't be written: {e.strerror}") from None
    return list(texts)


def _check(draft: Draft, out: Path) -> None:
    """Hold the invariant before anything is written."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec, schema = folder / "spec.yaml", folder / "event.avsc"
        text = draft.schema_text if draft.schema_text is not None else draft.schema.read_text()
        schema.write_text(text, encoding="utf-8")
        raw = yaml.safe_load(draft.spec_text)
        raw["event"]["schema"] = str(schema)
        spec.write_text(yaml.safe_dump(raw), encoding="utf-8")
        try:
            load_spec(spec)
        except SpecError as e:
            raise DataError(f"no spec can be drafted for {out}: {'; '.join(e.problems)}") from None


def _avro_schema(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as source:
            found = fastavro.reader(source).writer_schema
    except OSError as e:
        raise DataError(f"{file}: can't be read: {e.strerror}") from None
    except Exception as e:  # whatever fastavro meets in a damaged file
        raise DataError(f"{file}: no Avro file: {e}") from None
    if not isinstance(found, dict) or found.get("type") != "record":
        raise DataError(f"{file}: records are wanted, with a schema of type record")
    return {k: v for k, v in found.items() if not k.startswith("__")}


def _of_schema(given: tuple[Field, ...], label: str | None, source: str) -> Guess:
    """Guesses from names and types alone; a schema that producers use is never changed."""
    known = {f.name: f for f in given}
    if label is not None and label not in known:
        raise DataError(f"--label: found {label!r}; the fields are {', '.join(known)}")
    label = label or next((n for n in known if n.lower() in LABELS), None)
    rest = [f for f in given if f.name != label]
    ids = [f for f in rest if f.kind in ("string", "long", "enum")]
    ids.sort(key=lambda f: (not ID.search(f.name), f.nullable, bool(_UNIT.search(f.name)), f.kind == "enum"))
    times = [f for f in rest if f.unit == "millis" or f.kind == "long"]
    times.sort(key=lambda f: (f.unit is None, not TIME.search(f.name), f.nullable))
    times = [f for f in times if f.name != ids[0].name] if ids else times
    for what, found, kinds in (
        ("id", ids, "string, long or enum"),
        ("time", times, "timestamp-millis or long"),
    ):
        if not found:
            raise DataError(f"{source}: no field can be the event's {what}; one of type {kinds} is wanted")
    roles = (ids[0].name, times[0].name)
    fields = [_typed_field(f, *(f.name == role for role in roles)) for f in rest if f.unit in (None, "millis")]
    sure, unsure = "its name and type fit best", "NO NAME LOOKS LIKE ONE; change it unless this is right"
    id_why = sure if ID.search(roles[0]) else unsure
    time_why = sure if times[0].unit or TIME.search(roles[1]) else unsure
    task, classes, task_why = "binary", [], "no label's field is known; regression and classes are the others"
    if label is not None:
        kind, symbols = known[label].kind, list(known[label].type.bare.symbols)
        task = {"boolean": "binary", "long": "regression", "double": "regression"}.get(kind, "classes")
        classes = (symbols or ["first", "second"]) if task == "classes" else []
        task_why = f"{label} is a {kind}" + ("; WRITE THE NAMES OF THE CLASSES" if classes and not symbols else "")
    chosen = usable(fields, source)
    return Guess(chosen, roles[0], id_why, roles[1], time_why, task, task_why, classes, label)


def _typed_field(given: Field, is_id: bool, is_time: bool) -> Found:
    if is_id or is_time:
        return Found(given.name, given.kind, "" if is_id else "time")
    guess = _SPEC_TYPE.get(given.kind, "ignore")
    if given.kind == "long" and CODE.search(given.name):
        return Found(given.name, given.kind, "category", "looks like a code")
    if given.kind == "string" and TEXT.search(given.name):
        guess = "text"
    return Found(given.name, given.kind, guess, f"a {given.kind}" if guess == "ignore" else "")


def _schema_text(name: str, guess: Guess) -> str:
    fields: list[dict[str, Any]] = []
    for f in guess.fields:
        kind: Any = {"type": "long", "logicalType": "timestamp-millis"} if f.kind == "timestamp" else f.kind
        if f.name in (guess.id, guess.time):
            fields.append({"name": f.name, "type": kind})
        else:
            fields.append({"name": f.name, "type": ["null", kind], "default": None})
    lines = ",\n".join("  " + json.dumps(f) for f in fields)
    head = json.dumps({"type": "record", "name": "Event", "namespace": field_name(name)})
    return f'{head[:-1]}, "fields": [\n{lines}]}}\n'


def _yaml(value: str) -> str:
    """A string as YAML takes it, on one line."""
    text: str = yaml.safe_dump(value, default_style=None, width=1 << 30, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


_ARMS = {
    "binary": (("linear", "linear.logistic"), ("tree", "tree.hoeffding")),
    "regression": (("linear", "linear.regression"),),
    "classes": (("tree", "tree.hoeffding"),),
}


def _spec_text(name: str, guess: Guess, schema: Path, out: Path, file: Path) -> str:
    where = os.path.relpath(schema, out.parent)
    rows = [(f"{_yaml(f.name)}: {{type: {f.type}}}", f.why) for f in guess.fields if f.type]
    wide = max(len(row) for row, _ in rows)
    fields = "\n".join(f"    {row:<{wide}}  # {_flat(why)}".rstrip(" #") for row, why in rows)
    arms = "\n".join(f"  {arm}:\n    model: {model}\n    weight: 1" for arm, model in _ARMS[guess.task])
    listed = yaml.safe_dump(guess.classes, default_flow_style=True, width=1 << 30, allow_unicode=True)
    classes = f"classes: {listed}" if guess.classes else ""
    units = [f.name for f in guess.fields if _UNIT.search(f.name) and f.type == "category"]
    unit = f"  # unit: {_yaml(units[0])}  # who keeps the same arm; absent: the event's id\n" if units else ""
    published = "my.jsonl" if file.suffix == ".avsc" else file.name
    option = f" --label {guess.label}" if guess.label else ""
    return f"""\
# Drafted by `headwater init {_flat(file.name)}`. What is guessed says so; change what you know better.
# headwater check {_flat(out.name)}
# headwater topics create {_flat(out.name)}
# headwater run {_flat(out.name)} clean encode join learn
# headwater publish {_flat(out.name)} {_flat(published + option)}
{_row(f"name: {_yaml(name)}", "begins the names of the topics")}
{_row(f"task: {guess.task}", f"guessed: {guess.task_why}")}
{classes}
event:
{_row(f"  schema: {_yaml(where)}", "Avro schema of an event, relative to this file")}
{_row(f"  id: {_yaml(guess.id)}", f"guessed: {guess.id_why}")}
{_row(f"  time: {_yaml(guess.time)}", f"guessed: {guess.time_why}")}
  fields:                       # numeric, category, boolean, time, text or ignore; nothing known only later
{fields}

label:
  window: 1d                    # a label that comes later, by its own time, is counted but not learned
  timeout: drop                 # negative: an event without a label in time is learned as false

arms:                           # models that compete; weight: share of the predictions
{arms}

experiment:
  name: default
  salt: "1"                     # another salt deals the arms out anew
  assignment: 2                 # of its shares, a ramp moves no more units than it must
{unit}
snapshot: {{every: 500ms, keep: 3}}
metrics:  {{window_rows: 1000}}
topics:   {{events: 2, predictions: 2}}  # partitions
"""


def _row(text: str, comment: str) -> str:
    return f"{text:<30}  # {_flat(comment)}"


def _flat(text: str) -> str:
    """Safe inside a comment."""
    return "".join(c if c.isprintable() else " " for c in text)
