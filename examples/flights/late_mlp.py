"""The small network of late_mlp.onnx: trained beforehand, on December alone, for an arm that never learns.

    pip install 'headwater[demo,sklearn,onnx]' skl2onnx
    python examples/flights/late_mlp.py examples/flights/late_mlp.onnx

Flights are replayed from January on, so whatever part of the year a demo shows before December, the network has seen
none of it; of all flights, the last month is what it was trained on. Inputs are called as the columns of flights.yaml.
Categories go in as ids, so that the arm needs no more than onnxruntime; an airport it never met weighs nothing.
"""

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from consumers.demo.flights import Flight, read_flights
from stream.clean.cleaner import Cleaner, Position
from stream.encode.encoder import Encoder
from stream.spec import Spec
from stream.spec_load import load_spec

SPEC = Path(__file__).parents[1] / "flights.yaml"
DECEMBER_MS = 1_385_856_000_000  # 2013-12-01, UTC
NUMBERS = ("distance", "sched_dep_minute", "sched_arr_minute")
CATEGORIES = ("carrier", "origin", "dest")
HIDDEN, EPOCHS = (64, 32), 12


def columns(spec: Spec, flights: list[Flight]) -> tuple[pandas.DataFrame, Any]:
    """The columns as an arm's model is given them, and whether each flight was late; those that never arrived are left
    out."""
    known = [f for f in flights if f.late is not None]
    where = [Position(0, i, f.event["scheduled"]) for i, f in enumerate(known)]
    cleaned, encoder = Cleaner(spec).clean([f.event for f in known], where), Encoder(spec)
    block, layout = encoder.encode(cleaned.columns), encoder.layout
    frame = {n: block.numeric[:, layout.numeric.index(n)].astype(np.float32) for n in NUMBERS}
    ids = block.categories.view(np.int64)
    frame |= {n: ids[:, layout.categories.index(n)] for n in CATEGORIES}
    return pandas.DataFrame(frame), np.array([known[i].late for i in cleaned.rows])


def fitted(rows: pandas.DataFrame, late: Any, hidden: tuple[int, ...] = HIDDEN, epochs: int = EPOCHS) -> Any:
    """A pipeline of scikit-learn: what is absent becomes the mean, numbers are standardised, ids one-hot."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="ignore", min_frequency=50)
    encoded = ColumnTransformer([("n", numbers, list(NUMBERS)), ("c", one_hot, list(CATEGORIES))])
    network = MLPClassifier(hidden, alpha=1e-3, batch_size=256, max_iter=epochs, random_state=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that so few epochs don't converge is meant
        return make_pipeline(encoded, network).fit(rows, late)


def converted(pipeline: Any) -> bytes:
    """The model file."""
    inputs = [(n, FloatTensorType([None, 1])) for n in NUMBERS] + [(n, Int64TensorType([None, 1])) for n in CATEGORIES]
    options = {MLPClassifier: {"zipmap": False}}
    return bytes(convert_sklearn(pipeline, "late_mlp", inputs, options=options).SerializeToString())


if __name__ == "__main__":
    december = [f for f in read_flights() if f.event["scheduled"] >= DECEMBER_MS]
    Path(sys.argv[1]).write_bytes(converted(fitted(*columns(load_spec(SPEC), december))))
