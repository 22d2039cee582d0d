"""Named values → an event, just as decoding it from Kafka would have given it.

Training and serving can't skew if they see the same Python values: so each value is held to the event's Avro
type, narrowed as Avro would (a `float` has 32 bits), and an absent field takes the schema's default.
Invariant: what `read` returns, the schema could have carried. Nothing here keeps state.
"""

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from stream.arrive.node import Field, Node
from stream.arrive.schema import EventSchema
from stream.predict.refuse import InvalidRequest
from stream.spec import Spec

Scalar = float | int | str | bool | None
_WORDS = {float: "double", int: "int64", str: "string", bool: "bool"}
_LONG = 1 << 63
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_SHOWN = 40  # names that a message lists


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """A field that a caller may give. type: the spec's, or id or time; avro: the schema's."""

    name: str
    type: str
    avro: str
    required: bool
    has_default: bool
    min: float | None = None
    max: float | None = None
    outside: str = ""
    symbols: tuple[str, ...] = ()


def _wrong(name: str, given: Any, allowed: str) -> InvalidRequest:
    shown = repr(given) if len(repr(given)) <= 80 else f"{repr(given)[:77]}..."
    return InvalidRequest("field.wrong_type", f"{name}: found {shown} ({_word(given)}); {allowed} is wanted")


def _word(given: Any) -> str:
    return _WORDS.get(type(given), type(given).__name__)


def _discreet(name: str, given: Any, wrong: InvalidRequest) -> InvalidRequest:
    """The same refusal of a private value, which tells its type and no more."""
    if wrong.reason != "field.wrong_type":
        return wrong
    return InvalidRequest(wrong.reason, f"{name}: found a private {_word(given)}; {str(wrong).rpartition('); ')[2]}")


def _whole(bits: int) -> Callable[[str, Any], int]:
    bound = 1 << (bits - 1)

    def check(name: str, given: Any) -> int:
        if type(given) is not int or not -bound <= given < bound:
            raise _wrong(name, given, f"a whole number of {bits} bits")
        return given

    return check


def _double(name: str, given: Any) -> float:
    if type(given) is float:
        return given
    if type(given) is not int or not -_LONG <= given < _LONG:
        raise _wrong(name, given, "a number")
    return float(given)


def _float(name: str, given: Any) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", _double(name, given)))[0])
    except OverflowError:
        raise _wrong(name, given, "a number that fits 32 bits") from None


def _boolean(name: str, given: Any) -> bool:
    if type(given) is not bool:
        raise _wrong(name, given, "true or false")
    return given


def _text(name: str, given: Any) -> str:
    if type(given) is not str:
        raise _wrong(name, given, "a string")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise _wrong(name, given, "a string of valid Unicode") from None
    return given


def _symbol(symbols: tuple[str, ...]) -> Callable[[str, Any], str]:
    def check(name: str, given: Any) -> str:
        if given not in symbols:
            raise _wrong(name, given, f"one of {', '.join(symbols)}")
        return str(given)

    return check


def _checker(node: Node) -> Callable[[str, Any], Any] | None:
    """What holds a value to an Avro type; None for types that can't be given by name."""
    simple = {"double": _double, "float": _float, "boolean": _boolean, "string": _text}
    if node.type in ("int", "long"):
        return _whole(32 if node.type == "int" else 64)
    return _symbol(node.symbols) if node.type == "enum" else simple.get(node.type)


class EventReader:
    """Reads events under one spec and its schema."""

    def __init__(self, spec: Spec, schema: EventSchema) -> None:
        self._id, self._time = spec.event.id, spec.event.time
        self._private = spec.event.private
        self._checks = {f.name: (_checker(f.type.bare), f.nullable) for f in schema.fields}
        self._id_type = next(f for f in schema.fields if f.name == self._id).type.bare.type
        used = {n for n, f in spec.event.fields.items() if f.type != "ignore"} | {spec.experiment.unit}
        rest = [f for f in schema.fields if f.name in used and f.name not in (self._id, self._time)]
        self._defaults = {f.name: f.default for f in rest if f.has_default and f.default is not None}
        self._needed = [f.name for f in rest if not f.nullable and not f.has_default]
        self.fields = tuple(_info(spec, f) for f in schema.fields if f.name in used | {self._id, self._time})

    def read(self, given: Mapping[str, Scalar], event_id: str, now_ms: int) -> dict[str, Any]:
        """The event. A None is a null; an absent time is now, an absent id is made. Raises InvalidRequest."""
        event: dict[str, Any] = dict(self._defaults)
        for name, value in given.items():
            try:
                event[name] = self._checked(name, value)
            except InvalidRequest as wrong:
                if name in self._private:
                    raise _discreet(name, value, wrong) from None
                raise
        for name in self._needed:
            if name not in event:
                raise InvalidRequest("value.missing", f"{name}: missing; the event's schema gives no default")
        return self.complete(event, event_id, now_ms)

    def _checked(self, name: str, value: Scalar) -> Any:
        known = self._checks.get(name)
        if known is None:
            raise self.unknown(name)
        check, nullable = known
        if check is None:
            raise _wrong(name, value, "no value by name (this pipeline makes no use of the field), or `avro`")
        if value is not None:
            return check(name, value)
        if not nullable:
            raise InvalidRequest("value.missing", f"{name}: null; the event's schema allows no null here")
        return None

    def unknown(self, name: str) -> InvalidRequest:
        """What to say of a field that the event does not have."""
        shown = ", ".join(list(self._checks)[:_SHOWN]) + (", …" if len(self._checks) > _SHOWN else "")
        return InvalidRequest("field.unknown", f"{name[:80]!r}: no such field; the event has {shown}")

    def complete(self, event: dict[str, Any], event_id: str, now_ms: int) -> dict[str, Any]:
        """The event with an id and a time; `event_id`, if any, must be the id inside it, if any."""
        inside = event.get(self._id)
        if event_id and inside is not None and event_id != str(inside):
            raise InvalidRequest(
                "request.wrong", f"event_id: found {event_id[:80]!r}, but {self._id} is {str(inside)[:80]!r}"
            )
        if inside is None:
            event = {**event, self._id: self._own_id(event_id)}
        return event if event.get(self._time) is not None else {**event, self._time: now_ms}

    def _own_id(self, event_id: str) -> Any:
        """The id as the schema's type holds it, so that its text is the one that a label will name."""
        if self._id_type in ("int", "long"):
            if not event_id:
                return uuid4().int >> (65 if self._id_type == "long" else 97)
            number = int(event_id) if _INTEGER.fullmatch(event_id) else None
            if str(number) != event_id:
                raise _wrong("event_id", event_id, f"a whole number, as {self._id} is,")
            return _whole(64 if self._id_type == "long" else 32)("event_id", number)
        if not event_id and self._id_type != "enum":
            return str(uuid4())
        check = self._checks[self._id][0]
        assert check is not None
        return check("event_id", event_id)


def _info(spec: Spec, field: Field) -> FieldInfo:
    """What a caller should know of a field."""
    given, node = spec.event.fields.get(field.name), field.type.bare
    own = "id" if field.name == spec.event.id else "time" if field.name == spec.event.time else None
    required = not own and ((given is not None and given.required) or not (field.nullable or field.has_default))
    kind = given.type if given else own or "ignore"
    low, high, outside = (None, None, "")
    if given is not None and given.type == "numeric":
        low, high, outside = given.min, given.max, given.outside
    return FieldInfo(field.name, kind, node.type, required, field.has_default, low, high, outside, node.symbols)
