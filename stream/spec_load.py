"""Reading a spec: YAML → shape → agreement with the Avro schema and the models. Every fault is reported at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from stream.arrive.node import Field as AvroField
from stream.arrive.schema import EventSchema, load_schema
from stream.errors import SchemaError, SpecError
from stream.learn.drift.watch import drift_problems
from stream.learn.models import model_problems
from stream.learn.training import training_problems
from stream.spec import Spec

_KINDS = {
    "numeric": ("double", "long", "boolean"),
    "boolean": ("boolean",),
    "category": ("string", "enum", "long", "boolean"),
    "text": ("string",),
    "time": ("timestamp", "long"),
    "ignore": ("double", "long", "string", "boolean", "enum", "timestamp", "bytes", "array", "map", "record"),
}


def load_spec(path: Path | str) -> Spec:
    """Read and check a spec with the Avro schema it names. Raises SpecError with every fault."""
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text())
    except OSError as e:
        raise SpecError([f"can't be read: {e.strerror}"], str(path)) from e
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise SpecError([f"not YAML: {' '.join(str(e).split())}"], str(path)) from e
    if not isinstance(raw, dict):
        found = type(raw).__name__
        raise SpecError([f"found {found}; a mapping with name, task, event, arms is wanted"], str(path))
    return parse_spec(raw, path.parent, str(path))


def parse_spec(raw: Mapping[str, Any], folder: Path, source: str = "spec") -> Spec:
    """Check an already parsed spec; file names inside it are relative to `folder`."""
    try:
        spec = Spec.model_validate({**raw, "folder": folder})
    except ValidationError as e:
        raise SpecError([_problem(x) for x in e.errors()], source) from e
    problems = _event_problems(spec)
    for arm in spec.arms:
        problems += model_problems(spec, arm) + _arm_fields(spec, arm)
    unit = spec.experiment.unit
    if unit is not None and unit not in spec.event.fields:
        problems.append(f"experiment.unit: found {unit!r}; one of {list(spec.event.fields)} is wanted")
    problems += training_problems(spec) + drift_problems(spec)
    if problems:
        raise SpecError(problems, source)
    return spec


def _event_problems(spec: Spec) -> list[str]:
    """Where the spec and the Avro schema of the event disagree."""
    try:
        schema = load_schema(spec.schema_path)
    except SchemaError as e:
        return [f"event.schema: {e}"]
    known = {f.name: f for f in schema.fields}
    problems = []
    for role, name, kinds in (
        ("id", spec.event.id, ("string", "long", "enum")),
        ("time", spec.event.time, ("timestamp", "long")),
    ):
        problems += _field_problem(f"event.{role}", name, kinds, known)
    for name, field in spec.event.fields.items():
        problems += _field_problem(f"event.fields.{name}", name, _KINDS[field.type], known)
    if all(f.type == "ignore" for f in spec.event.fields.values()):
        problems.append("event.fields: no field is used; at least one must be something other than ignore")
    if spec.event.writers is not None and not (spec.folder / spec.event.writers).exists():
        problems.append(f"event.writers: found {str(spec.event.writers)!r}; there is no such file or folder")
    return problems


def _field_problem(where: str, name: str, kinds: tuple[str, ...], known: dict[str, AvroField]) -> list[str]:
    if name not in known:
        return [f"{where}: found {name!r}; the schema has {', '.join(known)}"]
    kind = known[name].kind
    if kind not in kinds:
        return [f"{where}: the schema's {name} is a {kind}; wanted here: {' or '.join(kinds)}"]
    if kind == "timestamp" and known[name].unit != "millis":
        return [f"{where}: the schema's {name} is in {known[name].unit}; wanted here: timestamp-millis"]
    return []


def _arm_fields(spec: Spec, arm: str) -> list[str]:
    given = spec.arms[arm]
    used = {n for n, f in spec.event.fields.items() if f.type != "ignore"}
    problems = []
    for setting, names in (("fields", given.fields or ()), ("without", given.without)):
        for name in names:
            if name.partition(".")[0] not in used:
                problems.append(f"arms.{arm}.{setting}: found {name!r}; one of {sorted(used)} is wanted")
    return problems


def event_schema(spec: Spec) -> EventSchema:
    """The event's schema as the spec names it."""
    return load_schema(spec.schema_path)


def _problem(error: Any) -> str:
    """One pydantic error as 'path: what was found; what is allowed'."""
    where = ".".join(str(x) for x in error["loc"]) or "(top)"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"{where}: missing; it is required"
    if error["type"] == "extra_forbidden":
        return f"{where}: found {error.get('input')!r}; there is no such setting here"
    found = error.get("input")
    shown = f"found {found!r}; " if not isinstance(found, dict | list) else ""
    return f"{where}: {shown}{message[:1].lower()}{message[1:]}"
