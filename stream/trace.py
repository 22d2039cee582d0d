"""One trace id for all that becomes of an event: a pure function of the pipeline's name and the event's id.

So nothing has to carry it through blocks, joins and topics, a replay gives the same one, and a producer in any
language can compute it: XXH3 (128 bits, seed 0) of the name, a zero byte and the id, both in UTF-8. Invariant: 32 hex
digits, not all zero. Source: W3C Trace Context, https://www.w3.org/TR/trace-context/
"""

import re
from collections.abc import Iterable, Iterator

import xxhash

_LOWER = (1 << 64) - 1
_TRACE = re.compile(r"[0-9a-f]{32}")
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")


def trace_id(pipeline: str, event_id: str) -> str:
    """The trace id of an event."""
    given = f"{pipeline}\0{event_id}".encode(errors="surrogatepass")
    return f"{xxhash.xxh3_128_intdigest(given) or 1:032x}"


def root_span_id(trace: str) -> str:
    """The span that all spans of a trace hang from: the last 16 hex digits of the trace id, or 1 where they are 0."""
    return f"{int(trace[16:], 16) or 1:016x}"


def is_trace_id(text: str) -> bool:
    """Whether a text can be a trace id."""
    return bool(_TRACE.fullmatch(text)) and int(text, 16) != 0


def sampled(trace: str, ratio: float) -> bool:
    """Whether a trace is of a sample of this share: the same ones in each process, as OpenTelemetry's ratio sampler."""
    return int(trace[16:], 16) < round(ratio * (1 << 64))


def sample(pipeline: str, ids: Iterable[str], ratio: float) -> Iterator[tuple[int, str, str]]:
    """Those of the events that are `sampled`: number, id, trace id; the others cost a hash each."""
    before, bound, digest = f"{pipeline}\0".encode(), round(ratio * (1 << 64)), xxhash.xxh3_128_intdigest
    for number, event_id in enumerate(ids):
        found = digest(before + event_id.encode(errors="surrogatepass")) or 1
        if found & _LOWER < bound:
            yield number, event_id, f"{found:032x}"


def key_of_trace(pipeline: str, trace: str, keys: Iterable[bytes]) -> str | None:
    """The first of these keys that is the id, in UTF-8, of the event with this trace; None where none is."""
    before, wanted, digest = f"{pipeline}\0".encode(), int(trace, 16), xxhash.xxh3_128_intdigest
    for key in keys:
        if digest(before + key) == wanted:
            try:
                return key.decode()
            except UnicodeDecodeError:
                return None
    return None


def caller_of(traceparent: str) -> tuple[str, str] | None:
    """Trace and span of whoever called, from a W3C `traceparent`; None where it is none."""
    found = _PARENT.fullmatch(traceparent.strip())
    if found is None or not int(found[1], 16) or not int(found[2], 16):
        return None
    return found[1], found[2]
