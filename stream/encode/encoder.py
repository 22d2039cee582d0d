"""columns → a feature block. Stateless: the same event gives the same numbers anywhere, at any time.

What adapts (means, variances, vocabularies) lives in the learner. Hence encoders scale out freely, and
training and serving can't skew: the server runs this very class.
"""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.block import I64, U64, Block, Columns, Layout
from stream.encode.ids import Ids
from stream.encode.owner import ARM, owners_of
from stream.limits import TOKENS_MAX
from stream.spec import FieldSpec, Spec

_WORD = re.compile(r"\w+")
_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
PARTS_MAX = 32  # no part of a time is as large
_PERIOD = {"hour": 24, "weekday": 7, "month": 12, "day": 31}


def layout_of(spec: Spec) -> Layout:
    """Names of the block's columns under this spec."""
    numeric: list[str] = []
    categories: list[str] = []
    tokens: list[str] = []
    for name, field in spec.event.fields.items():
        if field.type in ("numeric", "boolean"):
            numeric.append(name)
        elif field.type == "category":
            categories.append(name)
        elif field.type == "text":
            tokens.append(name)
        elif field.type == "time":
            for part in field.parts:
                numeric += [f"{name}.{part}"] if "number" in field.as_ else []
                numeric += [f"{name}.{part}.sin", f"{name}.{part}.cos"] if "cycle" in field.as_ else []
                categories += [f"{name}.{part}"] if "category" in field.as_ else []
    numeric += [ARM] if spec.experiment.training == "own" else []
    return Layout(tuple(numeric), tuple(categories), tuple(tokens))


def time_part(time_ms: I64, part: str) -> I64:
    """hour 0–23, weekday 0–6 (Monday 0), month 1–12, day 1–31, all UTC."""
    days = time_ms // _DAY_MS
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    if part == "hour":
        found: I64 = (time_ms % _DAY_MS) // _HOUR_MS
    elif part == "weekday":
        found = (days + 3) % 7
    elif part == "month":
        found = months.astype(np.int64) % 12 + 1
    else:
        found = (dates - months).astype(np.int64) + 1
    return found


class Encoder:
    """Encodes under one spec."""

    def __init__(self, spec: Spec) -> None:
        self.layout = layout_of(spec)
        self._spec_hash = spec.hash
        self._fields = list(spec.event.fields.items())
        self._owners = owners_of(spec)
        self._ids = {name: Ids(name) for name in self.layout.categories + self.layout.tokens}
        parts = {f"{name}.{part}" for name, field in self._fields if field.type == "time" for part in field.parts}
        self._part_ids = {p: Ids(p).column(map(str, range(PARTS_MAX))) for p in parts}

    def encode(self, columns: Columns) -> Block:
        """The block of these events, row for row."""
        n = len(columns)
        numeric: list[NDArray[Any]] = []
        categories: list[U64] = []
        texts: list[tuple[str, NDArray[Any]]] = []
        for name, field in self._fields:
            values = columns.values.get(name)
            if values is None:
                continue
            if field.type in ("numeric", "boolean"):
                numeric.append(values)
            elif field.type == "category":
                categories.append(values if values.dtype == np.uint64 else self._ids[name].column(values))
            elif field.type == "time":
                self._encode_time(name, field, values, numeric, categories)
            elif field.type == "text":
                texts.append((name, values))
        if self._owners is not None:
            numeric.append(self._owners.numbers(columns))
        tokens, ends = self._encode_texts(texts, n)
        return Block(
            self._spec_hash,
            columns.ids,
            columns.time_ms,
            columns.partition,
            columns.offset,
            np.column_stack(numeric).astype(np.float64, copy=False) if numeric else np.zeros((n, 0)),
            np.column_stack(categories) if categories else np.zeros((n, 0), np.uint64),
            tokens,
            ends,
        )

    def _encode_time(
        self, name: str, field: FieldSpec, values: NDArray[Any], numeric: list[NDArray[Any]], categories: list[U64]
    ) -> None:
        missing = np.isnan(values)
        time_ms = np.where(missing, 0, values).astype(np.int64)
        for part in field.parts:
            number = time_part(time_ms, part)
            if "number" in field.as_:
                numeric.append(np.where(missing, np.nan, number))
            if "cycle" in field.as_:
                angle = number * (2 * np.pi / _PERIOD[part])
                numeric += [np.where(missing, np.nan, np.sin(angle)), np.where(missing, np.nan, np.cos(angle))]
            if "category" in field.as_:
                categories.append(np.where(missing, np.uint64(0), self._part_ids[f"{name}.{part}"][number]))

    def _encode_texts(self, texts: list[tuple[str, NDArray[Any]]], n: int) -> tuple[U64, I64]:
        if not texts:
            return np.zeros(0, np.uint64), np.zeros(n, np.int64)
        tokens: list[int] = []
        ends = np.zeros(n, np.int64)
        for row in range(n):
            for name, values in texts:
                words = _WORD.findall(values[row].lower())[:TOKENS_MAX] if values[row] else ()
                tokens += (self._ids[name].of(word) for word in words)
            ends[row] = len(tokens)
        return np.array(tokens, np.uint64), ends
