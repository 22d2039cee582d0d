"""From an arm of a pipeline to an ONNX file that answers as the arm does now."""

import json
from dataclasses import dataclass

from stream.errors import DataError
from stream.explain.names import Names
from stream.export.categories import By, Categories
from stream.export.graph import Graph
from stream.export.linear import linear_graph
from stream.export.trees import TreeGraph, grown_of
from stream.learn.arms import Models
from stream.learn.check import Checked
from stream.learn.forest_arm import ForestArm, RegressorForestArm
from stream.learn.linear.model import Hashed
from stream.learn.tree_arm import RegressorArm, TreeArm
from stream.spec import Spec

LEARNED = (Hashed, TreeArm, RegressorArm, ForestArm)


@dataclass(frozen=True, slots=True)
class Exported:
    """body: the file; unnamed: values of categories that were left out, since no name is known of their ids."""

    body: bytes
    unnamed: int


def export_arm(
    spec: Spec, arms: Models, arm: str, names: Names | None = None, by: By = "name", swappable: bool = False
) -> Exported:
    """The arm's model as it is now. names: of categories, needed where they go in by name.

    Inputs: `numeric` float64[n, f], NaN where absent; `categories` string[n, c] ("" where absent), or with `by` "id"
    int64[n, c] (0 where absent); the metadata `headwater.columns` says which columns. Output: `score` float64[n], or
    [n, classes]. swappable: a linear model's weights are inputs too, with those of now as defaults.
    Raises DataError for an arm that is not there, or has no way into ONNX.
    """
    if arm not in arms.models:
        raise DataError(f"arm: found {arm!r}; the spec has {', '.join(arms.models)}")
    held, layout, kind = arms.models[arm], arms.views[arm].layout, spec.arms[arm].model
    model = held.inner if isinstance(held, Checked) else held
    if not isinstance(model, LEARNED):
        raise DataError(f"arm {arm}: its model is {kind}; linear, tree and forest models can be exported")
    if swappable and not isinstance(model, Hashed):
        raise DataError(f"arm {arm}: its model is {kind}; only a linear model's weights can be inputs")
    if layout.tokens and isinstance(model, Hashed):
        raise DataError(
            f"arm {arm}: it sees the text {', '.join(layout.tokens)}, and ONNX is given numbers and categories; "
            f"`without: [{', '.join(layout.tokens)}]` makes an arm that can be exported"
        )
    if not layout.numeric and not layout.categories:
        raise DataError(f"arm {arm}: it sees no number and no category")
    graph = Graph()
    categories = Categories(graph, layout, by, names)
    metadata: dict[str, str] = {}
    try:
        if isinstance(model, Hashed):
            score, metadata = linear_graph(graph, layout, categories, model, spec.task, swappable)
        else:
            trees = TreeGraph(graph, layout, categories, grown_of(model.state()))
            score = trees.values() if isinstance(model, RegressorArm | RegressorForestArm) else trees.classes(spec.task)
    except DataError as e:
        raise DataError(f"arm {arm}: {e}") from None
    columns = {"numeric": layout.numeric, "categories": layout.categories}
    metadata |= {"headwater.columns": json.dumps(columns), "headwater.spec": spec.hash, "headwater.arm": arm}
    metadata |= {"headwater.model": kind, "headwater.rows": str(arms.rows), "headwater.task": spec.task}
    body = graph.model(score, len(spec.classes), f"{spec.name}-{arm}", metadata)
    return Exported(body, len(categories.unnamed))
