"""What each form of an ONNX file costs and loses on a person's rows, and the promotion of one.

The first rows calibrate, and no figure is of them; all others are what quality and time are measured on. A form that
loses more than the bound is never written where an arm reads.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from consumers._rows import Rows
from consumers._session_memory import memory_bytes
from consumers.publish import _Typist
from stream.block import F64, Block, Layout, take
from stream.clean.cleaner import Cleaner, Position
from stream.encode.encoder import Encoder
from stream.errors import DataError, LimitReached, StorageError
from stream.learn.onnx_arm import model_of
from stream.learn.onnx_model import OnnxModel, OnnxParams
from stream.learn.view import view_of
from stream.optimise import ORIGINAL, Loss, Pace, Variant, paces, quality, variants
from stream.spec import Spec

ROWS_MAX, ROWS_MIN = 20_000, 100
CALIBRATION_SHARE, CALIBRATION_MAX = 0.2, 1000
PIECE = 100  # rows of one calibration call
Told = Callable[[int, int | None], object]


@dataclass(frozen=True, slots=True)
class Effort:
    """How thoroughly it is measured."""

    batch: int = 64
    rounds: int = 7
    processes: int = 3  # in which memory is measured, of each form


@dataclass(frozen=True, slots=True)
class Form:
    """One form and its figures. paces: by rows a call; lost: the worst first, empty for the original."""

    variant: Variant
    paces: dict[int, Pace]
    memory_mib: float
    values: dict[str, float]
    lost: list[Loss]

    @property
    def file_kb(self) -> float:
        """Size of the file."""
        return len(self.variant.body) / 1000


@dataclass(frozen=True, slots=True)
class Optimised:
    """All forms, the original first; refused: those that couldn't be made, with the reason."""

    forms: list[Form]
    refused: list[Variant]
    judged: int
    calibrated: int
    labelled: bool

    def form(self, name: str) -> Form:
        """One of them. Raises DataError for one that there is not."""
        found = {f.variant.name: f for f in self.forms}
        if name in found:
            return found[name]
        why = next((f": {v.refused}" for v in self.refused if v.name == name), "")
        raise DataError(f"found {name!r}{why}; there are {', '.join(found)}")


def arm_of(spec: Spec, arm: str | None) -> str:
    """The arm that reads an ONNX file, by name, or the only one. Raises DataError."""
    frozen = [name for name, given in spec.arms.items() if given.model.startswith("onnx:")]
    if arm is None and len(frozen) == 1:
        return frozen[0]
    shown = ", ".join(frozen) or "none"
    if arm is None:
        raise DataError(f"--arm: not given; it names one of the arms that read an ONNX file: {shown}")
    if arm not in frozen:
        raise DataError(f"--arm: found {arm!r}; the arms that read an ONNX file are {shown}")
    return arm


def params_of(spec: Spec, arm: str) -> OnnxParams:
    """The arm's own."""
    given = spec.arms[arm]
    return OnnxParams.model_validate({**given.params, "name": given.model.partition(":")[2]})


def rows_of(spec: Spec, arm: str, file: Path, label: str | None, limit: int) -> tuple[Block, F64 | None]:
    """The first rows of the file that cleaning lets through, as the arm sees them, and their labels if there are any.

    label: its column; None: the column `label`, if the file has it. Rows without a label are left out then. Raises
    DataError.
    """
    if label is None:
        with Rows(file) as rows:
            first = next(iter(rows), (0, {}))[1]
        label = "label" if "label" in first else None
    pairs = list(islice(_labelled(spec, file, label), limit))
    events = [e for e, _ in pairs]
    latest = max((e[spec.event.time] or 0 for e in events), default=0)
    cleaned = Cleaner(spec).clean(events, [Position(0, i, latest) for i in range(len(events))])
    if len(cleaned.rows) < ROWS_MIN:
        raise DataError(f"{file}: {len(cleaned.rows)} rows that can be used; at least {ROWS_MIN} are wanted")
    block = view_of(spec, arm).of(Encoder(spec).encode(cleaned.columns))
    if label is None:
        return block, None
    return block, np.array([pairs[i][1] for i in cleaned.rows], np.float64)


def _labelled(spec: Spec, file: Path, label: str | None) -> Iterator[tuple[dict[str, Any], float]]:
    """Events with their labels as numbers, NaN where none is asked for."""
    with Rows(file) as rows:
        typist = _Typist(spec, rows, label, None)
        for line, row in rows:
            event = typist.event(line, row)
            found = typist.label(line, row, event)
            if found is not None:
                value = found["value"]
                yield event, float(spec.classes.index(value) if spec.task == "classes" else value)
            elif label is None:
                yield event, float("nan")


def optimised(
    file: Path,
    spec: Spec,
    layout: Layout,
    params: OnnxParams,
    rows: tuple[Block, F64 | None],
    effort: Effort,
    told: Told = lambda done, total: None,
) -> Optimised:
    """Make and measure all forms of the file. Raises DataError for a file that doesn't fit the arm."""
    (block, label), done = rows, 0
    model_of(file, layout, spec, params)
    count = min(CALIBRATION_MAX, int(len(block) * CALIBRATION_SHARE))
    judged, label = take(block, range(count, len(block))), None if label is None else label[count:]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)

        def opened(variant: Variant) -> OnnxModel:
            path = folder / f"{variant.name}.onnx"
            path.write_bytes(variant.body)
            return model_of(path, layout, spec, params.model_copy(update={"level": variant.level}))

        original = opened(Variant(ORIGINAL, file.read_bytes(), "none"))
        pieces = [original.feeds(take(block, range(at, min(count, at + PIECE)))) for at in range(0, count, PIECE)]
        made: list[Variant] = []
        refused: list[Variant] = []
        models: dict[str, OnnxModel] = {}
        for variant in variants(file.read_bytes(), original.output, pieces, folder):
            try:
                models.update({} if variant.refused else {variant.name: opened(variant)})
            except DataError as e:
                variant = Variant(variant.name, b"", refused=str(e))
            (refused if variant.refused else made).append(variant)
        total = len(made) * (2 * effort.rounds + effort.processes)

        def tell() -> None:
            nonlocal done
            done += 1
            told(done, total)

        quick = {n: paces(models, judged, n, effort.rounds, time.perf_counter, tell) for n in (1, effort.batch)}
        bodies = {v.name: (v.body, v.level) for v in made}
        feeds = original.feeds(take(judged, range(min(len(judged), effort.batch))))
        memory = memory_bytes(bodies, feeds, effort.processes, params.arena, tell)
        first = models[ORIGINAL].score(judged)
        qualities = {name: quality(spec.task, model.score(judged), label, first) for name, model in models.items()}
    forms = [
        Form(
            v, {n: each[v.name] for n, each in quick.items()}, memory[v.name] / 2**20,
            dict(qualities[v.name].values), qualities[ORIGINAL].lost(qualities[v.name]) if v.name != ORIGINAL else [],
        )
        for v in made
    ]  # fmt: skip
    return Optimised(forms, refused, len(judged), count, label is not None)


def written(found: Optimised, file: Path, folder: Path) -> list[Path]:
    """Every form as FOLDER/<file's name>-<form>.onnx. Raises StorageError."""
    paths = []
    for form in found.forms:
        paths.append(folder / f"{file.stem}-{form.variant.name}.onnx")
        _write(paths[-1], form.variant.body)
    return paths


def promoted(found: Optimised, name: str, most_percent: float, to: Path) -> Path | None:
    """Write a form where an arm reads; returns where the file before it is kept.

    Raises LimitReached, with nothing written, when it loses more than `most_percent`.
    """
    form = found.form(name)
    if form.lost and form.lost[0].percent > most_percent:
        worst = form.lost[0]
        raise LimitReached(
            f"{name} is not promoted: found a loss of {worst.percent:.3g} % ({worst.measure} {worst.value:.5g}, over "
            f"{found.judged:,} rows); allowed is {most_percent:g} % (--max-loss); {to} is as it was"
        )
    kept = to.with_name(f"{to.name}.before") if to.exists() else None
    try:
        if kept is not None:
            shutil.copy2(to, kept)
        _write(to, form.variant.body)
    except OSError as e:
        raise StorageError(f"{to}: can't be written: {e.strerror}") from e
    return kept


def _write(path: Path, body: bytes) -> None:
    scratch = path.with_name(f".{path.name}.writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as f:
            f.write(body)
            f.flush()
            os.fsync(f.fileno())
        scratch.replace(path)
    except OSError as e:
        scratch.unlink(missing_ok=True)
        raise StorageError(f"{path}: can't be written: {e.strerror}") from e
