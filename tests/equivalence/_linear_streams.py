"""Streams for the linear models, as River's dicts: flights, River's bundled data (over and over) and its generators.

All have gaps, and a category of which new values keep coming.
"""

import random
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain, islice, repeat
from typing import Any, NamedTuple

import numpy as np
from river import datasets
from river.datasets import synth

from consumers.demo.flights import read_flights
from stream.block import F64, Block
from stream.encode.ids import Ids

GAPS = 0.05
Event = tuple[dict[str, float], dict[str, str]]  # numbers, categories


class Rows(NamedTuple):
    """A stream; label float64[n]: 0 or 1, a class's number, or a value."""

    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    events: list[Event]
    label: F64

    def block(self) -> Block:
        """The events as our encoder would give them."""
        n = len(self.events)
        ids = {name: Ids(name) for name in self.categories}
        numeric = np.array([[x.get(name, np.nan) for name in self.numbers] for x, _ in self.events])
        keys = np.array(
            [[ids[n].of(c[n]) if n in c else 0 for n in self.categories] for _, c in self.events], np.uint64
        )
        zeros, none = np.zeros(n, np.int64), np.zeros(0, np.uint64)
        return Block(
            "h", [""] * n, zeros, zeros.astype(np.int32), zeros, numeric.reshape(n, -1), np.array(keys, np.uint64),
            none, zeros,
        )  # fmt: skip


def _flights(rows: int) -> Iterator[tuple[dict[str, Any], Any]]:
    for flight in read_flights(rows + rows // 10 + 1000):  # some never arrived
        if flight.late is not None:
            x = {k: v for k, v in flight.event.items() if k not in ("flight_id", "scheduled") and v is not None}
            yield {**x, "flight": str(x["flight"]), "hour": str(x["sched_dep_minute"] // 60)}, flight.late


def _again(data: Any) -> Iterator[Any]:
    return chain.from_iterable(repeat(list(data)))  # read to its end, since River closes a file only there


SOURCES: dict[str, tuple[Callable[[int], Iterator[Any]], tuple[str, ...]]] = {  # events for so many rows, nominals
    "flights": (_flights, ()),
    "SEA": (lambda _: iter(synth.SEA(variant=1, seed=1, noise=0.1)), ()),
    "Agrawal": (lambda _: iter(synth.Agrawal(seed=2, perturbation=0.1)), ("elevel", "car", "zipcode")),
    "Mixed": (lambda _: iter(synth.Mixed(seed=3)), ()),
    "Hyperplane": (lambda _: iter(synth.Hyperplane(seed=4, n_drift_features=4, mag_change=0.001)), ()),
    "Phishing": (lambda _: _again(datasets.Phishing()), ()),
    "Bananas": (lambda _: _again(datasets.Bananas()), ()),
    "LED": (lambda _: iter(synth.LED(seed=5, noise_percentage=0.1)), tuple(str(i) for i in range(7))),
    "RandomRBFDrift": (lambda _: iter(synth.RandomRBFDrift(6, 6, n_classes=4, n_features=6, change_speed=0.5)), ()),
    "ImageSegments": (lambda _: _again(datasets.ImageSegments()), ()),
    "FriedmanDrift": (lambda _: iter(synth.FriedmanDrift(seed=7, position=(2000, 5000, 8000))), ()),
    "Planes2D": (lambda _: iter(synth.Planes2D(seed=8)), ()),
    "TrumpApproval": (lambda _: _again(datasets.TrumpApproval()), ()),
    "ChickWeights": (lambda _: _again(datasets.ChickWeights()), ("chick", "diet")),
}


@cache
def stream(name: str, rows: int) -> Rows:
    """At most so many rows of a stream of SOURCES."""
    make, nominal = SOURCES[name]
    rng, events, labels = random.Random(name), [], []
    classes: dict[Any, int] = {}
    for i, (given, y) in enumerate(islice(make(rows), rows)):
        kept = {str(k): v for k, v in given.items() if rng.random() >= GAPS}
        text = {k for k, v in kept.items() if isinstance(v, str) or k in nominal}
        x = {k: float(v) for k, v in kept.items() if k not in text}
        c = {k: str(kept[k]) for k in text} | {"fresh": f"f{int(rng.paretovariate(0.6)) % (5 + i // 50)}"}
        events.append((x, c))
        labels.append(float(classes.setdefault(y, len(classes)) if isinstance(y, str) else y))
    names = [tuple(sorted({n for e in events for n in e[part]})) for part in (0, 1)]
    return Rows(names[0], names[1], events, np.array(labels))
