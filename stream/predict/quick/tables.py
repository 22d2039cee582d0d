"""A spec and its schema as the tables that the kernels read; None where the kernel can't do what they ask.

What it leaves to the row form: fields of free text, ids that are no strings, ids that are features, and few more.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from stream.arrive.node import Field
from stream.arrive.schema import EventSchema
from stream.clean.cleaner import RULES
from stream.clean.rules import Findings
from stream.encode.encoder import _PERIOD, PARTS_MAX, layout_of
from stream.encode.ids import Ids, category_id, field_seed
from stream.limits import STRING_CHARS_MAX
from stream.predict.quick import types as k
from stream.predict.quick.types import Row, Tables
from stream.spec import FieldSpec, Spec

_AVRO = {
    "double": k.A_DOUBLE, "float": k.A_FLOAT, "int": k.A_INT, "long": k.A_LONG, "boolean": k.A_BOOL,
    "string": k.A_STRING, "enum": k.A_ENUM,
}  # fmt: skip
_CLEAN = {"ignore": k.IGNORED, "numeric": k.NUMBER, "boolean": k.NUMBER, "category": k.CATEGORY, "time": k.TIME}
_PART = {"hour": k.HOUR, "weekday": k.WEEKDAY, "month": k.MONTH, "day": k.DAY}
BYTES_MAX = 16_384  # a larger request is left to the row form


def tables_of(spec: Spec, schema: EventSchema) -> Tables | None:
    """The tables of a spec; None where the row form is needed."""
    made = _Maker(spec, schema)
    return made.tables() if made.fits() else None


def row_of(tables: Tables, spec: Spec) -> Row:
    """Room for one row."""
    fields, layout = len(tables.fields), layout_of(spec)
    real = np.zeros(fields)
    return Row(
        np.zeros(4 * BYTES_MAX + 64 * fields, np.uint8),
        np.zeros((fields, 3), np.int64),
        real.view(np.uint64),
        real,
        np.zeros((1, len(layout.numeric))),
        np.zeros((1, len(layout.categories)), np.uint64),
        np.zeros(k.PLACES, np.int64),
    )


class _Maker:
    """Collects texts, words and parts, field by field."""

    def __init__(self, spec: Spec, schema: EventSchema) -> None:
        self._spec, self._schema, self._layout = spec, schema, layout_of(spec)
        self._pool = bytearray()
        self._words: list[tuple[int, int, int]] = []
        self._word_ids: list[int] = []
        self._parts: list[list[int]] = []
        self._part_ids: list[NDArray[np.uint64]] = []
        self._cycles: list[NDArray[np.float64]] = []

    def fits(self) -> bool:
        """Whether the kernel can do all that the spec asks."""
        spec, fields = self._spec, self._spec.event.fields
        known = {f.name: f for f in self._schema.fields}
        own = {spec.event.id, spec.event.time}
        columns = [c for name, field in fields.items() for c in _columns(name, field)]
        return (
            known[spec.event.id].type.bare.type == "string"
            and known[spec.event.time].type.bare.type in ("int", "long")
            and fields.get(spec.event.id, _IGNORED).type == "ignore"
            and all(f.type != "text" for f in fields.values())
            and all(f.type != "time" or f.impute is None for f in fields.values())
            and all(len(v) <= STRING_CHARS_MAX for f in fields.values() for v in f.unify.values())
            and all(n in own or _outcome(known[n], f) is not False for n, f in fields.items() if f.type == "category")
            and sorted(columns) == sorted(self._layout.numeric + self._layout.categories)
        )

    def tables(self) -> Tables:
        """The tables."""
        names = [f.name for f in self._schema.fields]
        rows = np.array([self._row(f) for f in self._schema.fields], np.int64).reshape(-1, k.WIDTH)
        places = np.full(1 << (2 * len(names)).bit_length(), -1)
        for number, name in enumerate(names):
            at = xxhash.xxh64_intdigest(name.encode()) & (len(places) - 1)
            while places[at] >= 0:
                at = (at + 1) & (len(places) - 1)
            places[at] = number
        arms = [self._text(arm) for arm in self._spec.arms]
        return Tables(
            rows,
            np.array([self._reals(f) for f in self._schema.fields], np.float64),
            np.array([self._ids(f) for f in self._schema.fields], np.uint64),
            np.frombuffer(bytearray(self._pool or b"\0"), np.uint8),
            places,
            np.array(self._words, np.int64).reshape(-1, 3),
            np.array(self._word_ids, np.uint64),
            np.array(arms, np.int64).reshape(-1, 2),
            np.array(self._parts, np.int64).reshape(-1, k.P_WIDTH),
            np.concatenate([np.zeros(0, np.uint64), *self._part_ids]),
            np.array(self._cycles, np.float64).reshape(-1, 2, PARTS_MAX),
        )

    def _text(self, text: str) -> tuple[int, int]:
        begin = len(self._pool)
        self._pool += text.encode()
        return begin, len(self._pool)

    def _used(self, field: Field) -> FieldSpec:
        return self._spec.event.fields.get(field.name, _IGNORED)

    def _row(self, field: Field) -> list[int]:
        spec, given = self._spec, self._used(field)
        row = [0] * k.WIDTH
        row[k.NAME], row[k.NAME_END] = self._text(field.name)
        row[k.AVRO] = _AVRO.get(field.type.bare.type, k.A_OTHER)
        row[k.NULLABLE] = field.nullable
        row[k.ROLE] = {spec.event.id: k.R_ID, spec.event.time: k.R_TIME}.get(field.name, k.R_NONE)
        row[k.CLEAN], row[k.REQUIRED] = _CLEAN[given.type], given.required
        row[k.HAS_MIN], row[k.HAS_MAX] = given.min is not None, given.max is not None
        row[k.CLIPPED], row[k.IMPUTED] = given.outside == "clip", given.impute is not None
        row[k.STRIP], row[k.CASE] = given.strip, ("keep", "lower", "upper").index(given.case)
        row[k.IS_UNIT] = field.name == spec.experiment.unit
        names = self._layout.categories if given.type == "category" else self._layout.numeric
        row[k.COLUMN] = names.index(field.name) if field.name in names else -1
        if row[k.ROLE] == k.R_NONE and (row[k.CLEAN] != k.IGNORED or row[k.IS_UNIT]):
            row[k.NEEDED] = not field.nullable and not field.has_default
            row[k.DEFAULT] = field.has_default and field.default is not None
        row[k.UNIFY], row[k.UNIFY_END] = self._unified(field.name, given)
        row[k.SYMBOLS], row[k.SYMBOLS_END] = self._listed((symbol, 0, 0) for symbol in field.type.bare.symbols)
        row[k.PARTS] = len(self._parts)
        for part in given.parts if given.type == "time" else ():
            self._part(field.name, given, part)
        row[k.PARTS_END] = len(self._parts)
        return row

    def _listed(self, words: Iterable[tuple[str, int, int]]) -> tuple[int, int]:
        """Enter words, each with its id and whether it stands for a text; their first number and the one past them."""
        first = len(self._words)
        for text, held, is_text in words:
            self._words.append((*self._text(text), is_text))
            self._word_ids.append(held)
        return first, len(self._words)

    def _unified(self, name: str, given: FieldSpec) -> tuple[int, int]:
        seed = field_seed(name)
        return self._listed((f, category_id(seed, to), bool(to)) for f, to in given.unify.items())

    def _part(self, name: str, given: FieldSpec, part: str) -> None:
        row, column = [0] * k.P_WIDTH, f"{name}.{part}"
        row[k.P_KIND] = _PART[part]
        for place, names, wanted in (
            (k.P_NUMBER, self._layout.numeric, column),
            (k.P_CYCLE, self._layout.numeric, f"{column}.sin"),
            (k.P_CATEGORY, self._layout.categories, column),
        ):
            row[place] = names.index(wanted) if wanted in names else -1
        row[k.P_IDS] = PARTS_MAX * len(self._part_ids)
        self._parts.append(row)
        self._part_ids.append(Ids(column).column(map(str, range(PARTS_MAX))))
        angles = [np.array([value]) * (2 * np.pi / _PERIOD[part]) for value in range(PARTS_MAX)]
        self._cycles.append(np.array([[f(a)[0] for a in angles] for f in (np.sin, np.cos)]))

    def _reals(self, field: Field) -> list[float]:
        given = self._used(field)
        number = given.type in ("numeric", "boolean")
        default = field.default if number and field.has_default and field.default is not None else 0
        impute: Any = given.impute if number and given.impute is not None else 0
        return [given.min or 0.0, given.max or 0.0, float(impute), float(default)]

    def _ids(self, field: Field) -> list[int]:
        given = self._used(field)
        if given.type != "category":
            return [0, 0, 0]
        seed = field_seed(field.name)
        imputed = 0 if given.impute is None else category_id(seed, str(given.impute))
        outcome = _outcome(field, given)
        return [seed, imputed, category_id(seed, outcome) if isinstance(outcome, str) else 0]


_IGNORED = FieldSpec(type="ignore")


def _columns(name: str, field: FieldSpec) -> list[str]:
    """Columns of the block that the kernel fills for a field."""
    if field.type != "time":
        return [] if field.type == "ignore" else [name]
    ends = {"number": [""], "cycle": [".sin", ".cos"], "category": [""]}
    return [f"{name}.{part}{end}" for part in field.parts for as_ in field.as_ for end in ends[as_]]


def _outcome(field: Field, given: FieldSpec) -> str | bool | None:
    """What the rules make of a category's default: a text, None where it is missing, False where it is refused."""
    if not field.has_default or field.default is None:
        return None
    column, found = np.empty(1, object), Findings()
    column[0] = field.default
    for rule in RULES[given.type]:
        column = rule(field.name, given, column, found)
    text: str | None = column[0]
    return False if found.rejects else text
