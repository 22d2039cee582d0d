"""One function per cleaning rule. Each takes a column and says what it rejects and what it changed.

A rule never changes the array it was given. Order matters and is fixed in `cleaner.RULES`: finite before
magnitude before range, so that the reason given is the first true one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.limits import MAGNITUDE_MAX, STRING_CHARS_MAX
from stream.spec import FieldSpec


@dataclass(slots=True)
class Findings:
    """What the rules found in one batch: first reject of each row wins; changes add up."""

    rejects: dict[int, tuple[str, str]] = field(default_factory=dict)
    changes: dict[int, list[str]] = field(default_factory=dict)

    def reject(self, row: int, code: str, detail: str) -> None:
        """Refuse a row, unless it is refused already."""
        self.rejects.setdefault(row, (code, detail))

    def change(self, rows: NDArray[np.bool_], what: str) -> None:
        """Record that these rows were changed."""
        for row in np.flatnonzero(rows).tolist():
            self.changes.setdefault(row, []).append(what)


def said(spec: FieldSpec, value: Any) -> str:
    """A number for a message; of a private field only that it is one."""
    return "a private number" if spec.private else f"{value:g}"


Rule = Callable[[str, FieldSpec, NDArray[Any], Findings], NDArray[Any]]


def finite(name: str, spec: FieldSpec, values: NDArray[Any], found: Findings) -> NDArray[Any]:
    """NaN and ±inf given as values are refused (a missing number is a null, and arrives here masked)."""
    for row in np.flatnonzero(np.isinf(values)).tolist():
        found.reject(row, "value.not_finite", f"{name}: found {said(spec, values[row])}; a finite number is wanted")
    return values


def magnitude(name: str, spec: FieldSpec, values: NDArray[Any], found: Findings) -> NDArray[Any]:
    """Numbers too large to compute with are refused."""
    for row in np.flatnonzero(np.abs(values) > MAGNITUDE_MAX).tolist():
        found.reject(
            row, "value.too_large_number", f"{name}: found {said(spec, values[row])}; at most ±{MAGNITUDE_MAX:g}"
        )
    return values


def in_range(name: str, spec: FieldSpec, values: NDArray[Any], found: Findings) -> NDArray[Any]:
    """Numbers outside min..max are refused or clipped, as the spec says."""
    if spec.min is None and spec.max is None:
        return values
    low, high = spec.min, spec.max
    outside = (values < low if low is not None else False) | (values > high if high is not None else False)
    if not np.any(outside):
        return values
    if spec.outside == "clip":
        found.change(np.asarray(outside), f"{name}:clipped")
        clipped: NDArray[Any] = np.clip(values, low, high)
        return clipped
    for row in np.flatnonzero(outside).tolist():
        found.reject(row, "value.out_of_range", f"{name}: found {said(spec, values[row])}; {low} to {high} is allowed")
    return values


def imputed_number(name: str, spec: FieldSpec, values: NDArray[Any], found: Findings) -> NDArray[Any]:
    """A missing number is refused where required, or replaced where the spec gives a value."""
    missing = np.isnan(values)
    if not missing.any():
        return values
    if spec.required:
        for row in np.flatnonzero(missing).tolist():
            found.reject(row, "value.missing", f"{name}: missing; it is required")
    elif spec.impute is not None:
        found.change(missing, f"{name}:imputed")
        return np.where(missing, float(spec.impute), values)
    return values


def unified(name: str, spec: FieldSpec, values: NDArray[Any], found: Findings) -> NDArray[Any]:
    """Text is stripped, cased and unified; empty text is missing. Values repeat, so each is looked at once."""
    listed = values.tolist()
    tidy = {raw: _tidy(raw, spec) for raw in set(listed) if raw is not None}
    moved = {raw for raw, text in tidy.items() if text != str(raw)}
    if moved:
        found.change(np.fromiter((raw in moved for raw in listed), bool, len(listed)), f"{name}:unified")
    elif all(isinstance(raw, str) for raw in tidy):
        return values
    tidy[None] = None
    return _texts([tidy[raw] for raw in listed])


def _texts(values: list[str | None]) -> NDArray[Any]:
    out = np.empty(len(values), object)
    out[:] = values
    return out


def _tidy(raw: Any, spec: FieldSpec) -> str | None:
    text = raw if isinstance(raw, str) else str(raw)
    text = text.strip() if spec.strip else text
    text = text.lower() if spec.case == "lower" else text.upper() if spec.case == "upper" else text
    return spec.unify.get(text, text) or None


def short_text(name: str, spec: FieldSpec, values: NDArray[Any], found: Findings) -> NDArray[Any]:
    """A category longer than the limit is refused; free text is not a category."""
    if spec.type != "category":
        return values
    listed = values.tolist()
    if any(v is not None and len(v) > STRING_CHARS_MAX for v in set(listed)):
        for row, value in enumerate(listed):
            if value is not None and len(value) > STRING_CHARS_MAX:
                detail = f"{name}: {len(value)} characters; at most {STRING_CHARS_MAX}"
                found.reject(row, "value.too_long", detail)
    return values


def imputed_text(name: str, spec: FieldSpec, values: NDArray[Any], found: Findings) -> NDArray[Any]:
    """Missing text is refused where required, or replaced where the spec gives a value."""
    if not spec.required and spec.impute is None:
        return values
    missing = np.array([v is None for v in values.tolist()], bool)
    if not missing.any():
        return values
    if spec.required:
        for row in np.flatnonzero(missing).tolist():
            found.reject(row, "value.missing", f"{name}: missing; it is required")
        return values
    found.change(missing, f"{name}:imputed")
    out = values.copy()
    out[missing] = spec.impute
    return out
