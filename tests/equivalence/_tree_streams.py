"""Streams as columns for the trees: River's generators and bundled data, and one with every kind of trouble."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice, repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from river import datasets
from river.datasets import synth

Events = Iterator[tuple[dict[Any, Any], Any]]
Streams = dict[str, tuple[Callable[[int], Events], tuple[Any, ...]]]  # name: (events for so many rows, nominal fields)


class Rows(NamedTuple):
    """A stream as columns; target is int64 for classes, float64 for values."""

    numeric: NDArray[np.float64]
    categories: NDArray[np.uint64]
    target: NDArray[Any]
    weight: NDArray[np.float64] | None = None

    def cut(self, begin: int, end: int) -> "Rows":
        return Rows(*(None if column is None else column[begin:end] for column in self))

    @property
    def shape(self) -> tuple[int, ...]:
        sizes = self.numeric.shape[1], self.categories.shape[1]
        return (*sizes, int(self.target.max()) + 1) if self.target.dtype == np.int64 else sizes


def collect(events: Events, nominal: tuple[Any, ...], regression: bool, count: int) -> Rows:
    """The first `count` events as columns; nominal values become 1, 2, ..., in their own order."""
    taken = list(islice(events, count))
    known = {name: sorted({x[name] for x, _ in taken}) for name in nominal}
    ids = {name: {value: index + 1 for index, value in enumerate(values)} for name, values in known.items()}
    labels = {} if regression else {y: index for index, y in enumerate(sorted({y for _, y in taken}))}
    numbers = [[float(value) for name, value in x.items() if name not in nominal] for x, _ in taken]
    return Rows(
        np.array(numbers).reshape(len(taken), -1),
        np.array([[ids[name][x[name]] for name in nominal] for x, _ in taken], np.uint64).reshape(len(taken), -1),
        np.array([float(y) for _, y in taken]) if regression else np.array([labels[y] for _, y in taken], np.int64),
    )


def _again(data: Any) -> Events:
    return chain.from_iterable(repeat(list(data)))


def _quarters(make: Callable[[int], Any]) -> Callable[[int], Events]:
    """Four concepts, one after the other."""
    return lambda rows: chain.from_iterable(islice(iter(make(part)), rows // 4) for part in range(4))


def _led(rows: int) -> Events:
    return iter(synth.LEDDrift(seed=112, noise_percentage=0.1, irrelevant_features=True, n_drift_features=5))


def _rbf(rows: int, **drift: Any) -> Events:
    shape = {"seed_model": 42, "seed_sample": 7, "n_classes": 4, "n_features": 6, "n_centroids": 30}
    return iter(synth.RandomRBFDrift(**shape, **drift) if drift else synth.RandomRBF(**shape))


def _friedman_drift(rows: int) -> Events:
    places = tuple(rows * part // 4 for part in (1, 2, 3))
    return iter(synth.FriedmanDrift(drift_type="lea", position=places, seed=5))


PHISHING = ("empty_server_form_handler", "ip_in_url")
CLASSES: Streams = {
    "SEA": (lambda rows: iter(synth.SEA(seed=1)), ()),
    "Agrawal": (
        lambda rows: iter(synth.Agrawal(classification_function=7, seed=4, perturbation=0.1)),
        ("elevel", "car", "zipcode"),
    ),
    "LED": (lambda rows: iter(synth.LED(seed=112, noise_percentage=0.1)), tuple(range(7))),
    "RandomRBF": (_rbf, ()),
    "Phishing, again and again": (lambda rows: _again(datasets.Phishing()), PHISHING),
    "Bananas, again and again": (lambda rows: _again(datasets.Bananas()), ()),
}
DRIFTS: Streams = {
    "SEA, four concepts": (_quarters(lambda part: synth.SEA(seed=part, variant=part)), ()),
    "Agrawal, four concepts": (
        _quarters(lambda part: synth.Agrawal(seed=part, classification_function=part)),
        ("elevel", "car", "zipcode"),
    ),
    "LEDDrift": (_led, tuple(range(24))),
    "RandomRBFDrift": (partial(_rbf, change_speed=0.001, n_drift_centroids=30), ()),
    "Phishing, again and again": CLASSES["Phishing, again and again"],
    "Bananas, again and again": CLASSES["Bananas, again and again"],
}
VALUES: Streams = {
    "Friedman": (lambda rows: iter(synth.Friedman(seed=1)), ()),
    "FriedmanDrift": (_friedman_drift, ()),
    "Planes2D": (lambda rows: iter(synth.Planes2D(seed=1)), ()),
    "Mv": (lambda rows: iter(synth.Mv(seed=1)), (3, 7, 8)),
    "TrumpApproval, again and again": (lambda rows: _again(datasets.TrumpApproval()), ()),
    "ChickWeights, again and again": (lambda rows: _again(datasets.ChickWeights()), ("chick", "diet")),
}


def stream(name: str, kind: Streams, rows: int) -> Rows:
    """A stream of CLASSES, DRIFTS or VALUES by its name."""
    make, nominal = kind[name]
    return collect(make(rows), nominal, kind is VALUES, rows)


def ragged(rows: Rows, weighted: bool = True) -> Rows:
    """`rows` less a sixth of the values; one nominal column more, which meets new values; and whole weights."""
    rng = np.random.default_rng(5)
    count = len(rows.target)
    numeric = rows.numeric.copy()
    numeric[rng.random(numeric.shape) < 1 / 6] = np.nan
    late = np.where(rng.random(count) < 0.2, 3 * (np.arange(count) // 1500), 0)
    growing = rng.integers(1, 4, count) + late
    moved = 0 if rows.target.dtype == np.int64 else rows.target + 5 * (growing % 3)
    target = np.where((growing % 3 == 0) & (rng.random(count) < 0.7), moved, rows.target)
    categories = np.hstack([rows.categories, growing.astype(np.uint64)[:, None]])
    categories[rng.random(categories.shape) < 1 / 6] = 0
    return Rows(numeric, categories, target, rng.integers(1, 4, count).astype(np.float64) if weighted else None)
