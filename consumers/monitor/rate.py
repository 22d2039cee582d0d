"""How fast something grows, over the last seconds."""

from collections import deque

OVER_S = 5.0


class Rate:
    """Give it a count now and then. What falls (a topic was made anew) begins anew."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, int]] = deque()

    def add(self, now_s: float, count: int) -> None:
        """The count at a moment."""
        if self._kept and count < self._kept[-1][1]:
            self._kept.clear()
        self._kept.append((now_s, count))
        while len(self._kept) > 2 and now_s - self._kept[1][0] >= OVER_S:
            self._kept.popleft()

    @property
    def per_s(self) -> float | None:
        """Over about the last OVER_S; None before there are two counts."""
        if len(self._kept) < 2:
            return None
        (first_s, first), (last_s, last) = self._kept[0], self._kept[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else None


class Progress:
    """A Rate by name, and when each last grew."""

    def __init__(self) -> None:
        self._rates: dict[str, Rate] = {}
        self._counts: dict[str, int] = {}
        self._moved_s: dict[str, float] = {}

    def add(self, name: str, now_s: float, count: int) -> None:
        """See Rate."""
        self._rates.setdefault(name, Rate()).add(now_s, count)
        if self._counts.get(name) != count:
            self._counts[name], self._moved_s[name] = count, now_s

    def per_s(self, name: str) -> float | None:
        """See Rate; None for a name without counts."""
        return self._rates[name].per_s if name in self._rates else None

    def still_s(self, name: str, now_s: float) -> float:
        """Seconds since it last grew, or was first seen."""
        return now_s - self._moved_s.get(name, now_s)

    def forget(self) -> None:
        """What was not watched for a while is no rate."""
        self._rates = {}
