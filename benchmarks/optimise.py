"""int8 against float32: a network of scikit-learn on the flights, in every form that `headwater optimise` makes.

    python -m benchmarks.optimise [--short] [--json]

Two hidden layers, three numbers and three one-hot categories by id, converted by skl2onnx. It is trained on the first
flights; of those that come after, the first thousand calibrate and all others are measured on. Goals are the
reference that is to be beaten: half the latency, 47 % less memory, with less than 1.2 points of accuracy lost. Latency
is onnxruntime's call at its p50, forms in turn, medians of rounds; memory is what a new process grew by; all are
compared with float32 as skl2onnx wrote it, without graph optimisation. No session has an arena (`arena: false`).
"""

import argparse
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._report import Row, report
from benchmarks._rows import EXAMPLE, Rows, flights
from consumers._optimise import Effort, Form, optimised
from stream.block import take
from stream.learn.onnx_model import OnnxParams
from stream.optimise import ORIGINAL
from stream.spec_load import load_spec

NUMBERS = ("distance", "sched_dep_minute", "sched_arr_minute")
CATEGORIES = ("carrier", "origin", "dest")
FULL, SHORT = (30_000, 20_000, (512, 512), 4, Effort(64, 15, 5)), (1_500, 1_000, (64, 64), 1, Effort(64, 1, 1))
LATENCY, MEMORY, ACCURACY = -50.0, -47.0, 1.2  # the reference: percent, percent, points lost


def network(rows: Rows, hidden: tuple[int, ...], epochs: int) -> bytes:
    """Trained on these rows, as an ONNX file."""
    import pandas
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = {n: rows.block.numeric[:, rows.layout.numeric.index(n)].astype(np.float32) for n in NUMBERS}
    ids = rows.block.categories.view(np.int64)
    categories = {n: ids[:, rows.layout.categories.index(n)] for n in CATEGORIES}
    one_hot = OneHotEncoder(handle_unknown="ignore")
    encoded = ColumnTransformer([("n", StandardScaler(), list(NUMBERS)), ("c", one_hot, list(CATEGORIES))])
    model = MLPClassifier(hidden, batch_size=256, alpha=1e-3, max_iter=epochs, random_state=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that so few epochs don't converge is meant
        fitted = make_pipeline(encoded, model).fit(pandas.DataFrame(numbers | categories), rows.label > 0)
    inputs: list[Any] = [(n, FloatTensorType([None, 1])) for n in NUMBERS]
    inputs += [(n, Int64TensorType([None, 1])) for n in CATEGORIES]
    made = convert_sklearn(fitted, "late", inputs, options={MLPClassifier: {"zipmap": False}})
    return bytes(made.SerializeToString())


def compared(train: int, judge: int, hidden: tuple[int, ...], epochs: int, effort: Effort) -> list[Row]:
    """The figures of each form, and of int8 against the reference."""
    rows, spec = flights(train + judge), load_spec(EXAMPLE)
    block, label = take(rows.block, range(train, len(rows))), rows.label[train:]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "late.onnx"
        file.write_bytes(network(rows.head(train), hidden, epochs))
        params = OnnxParams(name=file.name, missing=0.0, arena=False)
        found = optimised(file, spec, rows.layout, params, (block, label), effort)
    for variant in found.refused:
        sys.stderr.write(f"{variant.name}: not made: {variant.refused}\n")
    original = found.form(ORIGINAL)
    lines = [row for form in found.forms for row in _figures(form)]
    for form in found.forms:
        if form.variant.name.startswith("int8"):
            lines += _against(original, form)
    return lines


def _figures(form: Form) -> list[Row]:
    name = form.variant.name
    times = [
        Row(f"{name}, {n} a call: {which}", us, "µs/row")
        for n, pace in form.paces.items()
        for which, us in (("p50", pace.p50_us), ("p99", pace.p99_us))
    ]
    rest = [Row(f"{name}: memory", form.memory_mib, "MiB"), Row(f"{name}: file", form.file_kb, "kB")]
    return [*times, *rest, *(Row(f"{name}: {what}", value, "") for what, value in form.values.items())]


def _against(original: Form, form: Form) -> list[Row]:
    name = form.variant.name

    def change(now: float, before: float) -> float:
        return 100.0 * (now / before - 1.0)

    lines = [
        Row(
            f"{name}, {n} a call: latency against fp32",
            change(pace.p50_us, original.paces[n].p50_us),
            "%",
            LATENCY,
            True,
        )
        for n, pace in form.paces.items()
    ]
    lost = original.values["accuracy %"] - form.values["accuracy %"]
    growth = change(form.values["log loss"], original.values["log loss"])
    return [
        *lines,
        Row(f"{name}: memory against fp32", change(form.memory_mib, original.memory_mib), "%", MEMORY, True),
        Row(f"{name}: file against fp32", change(form.file_kb, original.file_kb), "%"),
        Row(f"{name}: accuracy lost to fp32", lost, "points", ACCURACY, True),
        Row(f"{name}: log loss against fp32", growth, "%"),
    ]


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a small network and few flights, at most 60 s")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    size = SHORT if given.short else FULL
    hidden = " × ".join(map(str, size[2]))
    return report(f"Forms of a network of {hidden} units, {size[1]:,} flights", compared(*size), given.json)


if __name__ == "__main__":
    sys.exit(main())
