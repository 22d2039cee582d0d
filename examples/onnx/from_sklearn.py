"""A scikit-learn pipeline on the flights → ONNX, whose inputs are called as the columns of examples/flights.yaml.

    pip install 'headwater[demo,sklearn,onnx]' skl2onnx
    python examples/onnx/from_sklearn.py late.onnx

Categories go in as strings. An arm gives it the names that it holds itself, and one it doesn't hold for any other.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from consumers.demo.flights import read_flights

NUMBERS = ("distance", "sched_dep_minute")
CATEGORIES = ("carrier", "origin")


def flights(limit: int) -> tuple[pandas.DataFrame, Any]:
    """The columns, and whether each flight was late, bool[n]."""
    known = [f for f in read_flights(limit) if f.late is not None]
    columns = {name: [f.event[name] for f in known] for name in (*NUMBERS, *CATEGORIES)}
    return pandas.DataFrame(columns), np.array([f.late for f in known])


def fitted(columns: pandas.DataFrame, late: Any) -> Any:
    """Standardised numbers and one-hot categories into a logistic regression."""
    encoded = ColumnTransformer(
        [("n", StandardScaler(), list(NUMBERS)), ("c", OneHotEncoder(handle_unknown="ignore"), list(CATEGORIES))]
    )
    return make_pipeline(encoded, LogisticRegression(max_iter=1000)).fit(columns, late)


def converted(pipeline: Any) -> bytes:
    """The model file. Without `zipmap: False` the probabilities are maps, which an arm can't read."""
    inputs = [(name, DoubleTensorType([None, 1])) for name in NUMBERS]
    inputs += [(name, StringTensorType([None, 1])) for name in CATEGORIES]
    options = {LogisticRegression: {"zipmap": False}}
    return bytes(convert_sklearn(pipeline, initial_types=inputs, options=options).SerializeToString())


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(converted(fitted(*flights(40_000))))
