"""What the monitor remembers of the topics that it reads: of each topic little, however long it reads.

Each class takes the records of one topic, in the order in which they come, and nothing else; what it can't read it
passes over, as others tell of that. Invariant: memory has a bound that doesn't grow with what a topic holds.
"""

from collections import Counter, OrderedDict, deque
from typing import Any

import schemas
from consumers._pin import pin_key
from consumers.monitor.state import DEAD_MAX, POINTS_MAX, PREDICTIONS_MAX, Letter
from stream.spec import Spec

EVENTS_KEPT = 4_000
SNAPSHOTS_KEPT = 100
CODES_MAX = 200  # a code is ours, but what is on Kafka is anybody's
DETAIL_CHARS_MAX = 500
PARTS_OF_ALL = ("_all", "_fading")  # metrics with these endings are other views of the same one


class Metrics:
    """steps: step → time it last spoke, and rows so far; spoke: kind → time; totals: kind and arm → values."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._arms, self._hash = set(spec.arms), spec.hash
        self.steps: dict[str, tuple[int, int]] = {}
        self.spoke: dict[str, int] = {}
        self.totals: dict[tuple[str, str], dict[str, float]] = {}
        self.windows: dict[str, dict[int, tuple[int, dict[str, float]]]] = {arm: {} for arm in spec.arms}

    def take(self, record: Any) -> None:
        """One record of the metrics topic."""
        m = _decoded("metric", record)
        if m is None or m["spec_hash"] != self._hash:
            return
        kind, arm = m["kind"], m["arm"]
        if kind == "step":
            if arm in ("clean", "encode", "join", "learn"):
                self.steps[arm] = record.timestamp, m["rows"]
            return
        if len(self.spoke) < CODES_MAX:
            self.spoke[kind] = record.timestamp
        if arm not in self._arms:
            return
        if kind in ("served_total", "shadow_total"):
            self.totals[kind, arm] = m["values"]
        elif kind == "prequential":
            kept = self.windows[arm]
            kept[m["window"]] = record.timestamp, m["values"]
            if len(kept) > POINTS_MAX:
                kept.pop(min(kept))

    def series(self, arm: str, names: tuple[str, ...]) -> dict[str, list[list[float]]]:
        """name → [[time, value]], in the order of windows."""
        windows = [found for _, found in sorted(self.windows[arm].items())]
        lines = {n: [[t, float(f"{v[n]:.6g}")] for t, v in windows if n in v] for n in names}
        return {name: points for name, points in lines.items() if points}


class Models:
    """newest: the learner's last announcement; pin: the generation that a person chose; known: generation → record."""

    def __init__(self, spec: Spec) -> None:
        self._pin_key, self._name, self._hash = pin_key(spec), spec.name, spec.hash
        self.newest: dict[str, Any] | None = None
        self.pin: int | None = None
        self.spoke_ms: int | None = None
        self.known: OrderedDict[int, dict[str, Any]] = OrderedDict()

    def take(self, record: Any) -> int | None:
        """One record of the models topic; the last label that the model which it announces has learned, if one is."""
        if record.key == self._pin_key and record.value is None:
            self.pin = None
            return None
        m = _decoded("model", record)
        if m is None or m["pipeline"] != self._name or m["spec_hash"] != self._hash:
            return None
        self.known[m["generation"]] = m
        if m["pinned"]:
            self.pin = m["generation"]
            return None
        self.newest, self.spoke_ms = m, record.timestamp
        self.pin = None if m["pin_generation"] < 0 else m["pin_generation"]
        while len(self.known) > SNAPSHOTS_KEPT:
            self.known.popitem(last=False)
        return None if m["refused"] or self.pin is not None else int(m["label_offset"])

    @property
    def serving(self) -> int | None:
        """The generation that servers go to: a pinned one; else the newest, or the last good one before it."""
        if self.pin is not None:
            return self.pin
        if self.newest is None:
            return None
        found = self.newest["good_generation" if self.newest["refused"] else "generation"]
        return None if found < 0 else int(found)


class Predictions:
    """newest: (place, record) of the last answers served; seen: how many records came; at_ms: when the last did."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, int, int, dict[str, Any]]] = []
        self.seen = 0
        self.at_ms: int | None = None

    def take(self, record: Any) -> dict[str, Any] | None:
        """One record of the predictions topic, and what it says."""
        p = _decoded("prediction", record)
        if p is None:
            return None
        self.seen += 1
        self.at_ms = max(p["served_ms"], self.at_ms or 0)
        if len(self._kept) < PREDICTIONS_MAX or p["served_ms"] >= self._kept[-1][0]:
            self._kept.append((p["served_ms"], record.partition, record.offset, p))
            self._kept.sort(key=lambda kept: kept[:3], reverse=True)
            del self._kept[PREDICTIONS_MAX:]
        return p

    @property
    def newest(self) -> list[tuple[tuple[int, int], dict[str, Any]]]:
        """Place on the topic, and record; the newest first."""
        return [((partition, offset), p) for _, partition, offset, p in self._kept]


class Letters:
    """What lies in `dead`: how many, by reason, and the newest."""

    def __init__(self) -> None:
        self.total = 0
        self.by_code: Counter[str] = Counter()
        self.latest: deque[Letter] = deque(maxlen=DEAD_MAX)

    def take(self, record: Any) -> None:
        """One record of the dead topic."""
        d = _decoded("dead", record)
        if d is None:
            return
        self.total += 1
        code = d["code"] if d["code"] in self.by_code or len(self.by_code) < CODES_MAX else "others"
        self.by_code[code] += 1
        self.latest.append(
            {
                "partition": record.partition,
                "offset": record.offset,
                "at_ms": record.timestamp,
                "code": d["code"],
                "step": d["step"],
                "detail": d["detail"][:DETAIL_CHARS_MAX],
                "topic": d["topic"],
                "source_partition": d["partition"],
                "source_offset": d["offset"],
                "bytes": len(d["value"]),
            }
        )


class Events:
    """The newest events, as they came. `holding` finds those that may have an id, without reading all the others."""

    def __init__(self) -> None:
        self._kept: deque[bytes] = deque(maxlen=EVENTS_KEPT)

    def take(self, record: Any) -> None:
        """One record of the events topic."""
        if record.value:
            self._kept.append(record.value)

    def holding(self, event_id: str) -> list[bytes]:
        """Values that may be of the event with this id, the newest first: they hold it as Avro writes it, a text after
        its length, or a whole number."""
        text = event_id.encode()
        wanted = _zigzag(len(text)) + text
        found = [value for value in reversed(self._kept) if wanted in value]
        if not found and event_id.removeprefix("-").isdecimal() and len(event_id) < 19:
            number = _zigzag(int(event_id))
            found = [value for value in reversed(self._kept) if number in value]
        return found


def _zigzag(number: int) -> bytes:
    """A number as Avro writes it."""
    left, out = (number << 1) ^ (number >> 63), bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*out, left])


def _decoded(name: str, record: Any) -> dict[str, Any] | None:
    try:
        return schemas.codec(name).decode(record.value or b"")
    except ValueError:
        return None
