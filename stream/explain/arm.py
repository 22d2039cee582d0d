"""From an arm of a pipeline to its explanation."""

from stream.errors import DataError
from stream.explain.explainable import Explainable
from stream.explain.linear import LinearExplained
from stream.explain.names import Names
from stream.explain.tree import ForestExplained, TreeExplained
from stream.learn.arms import Models
from stream.learn.check import Checked
from stream.learn.forest_arm import ForestArm
from stream.learn.linear.model import Hashed
from stream.learn.tree_arm import RegressorArm, TreeArm
from stream.spec import Spec


def explained(spec: Spec, arms: Models, arm: str, names: Names) -> Explainable:
    """The arm's model as it is now. DataError for one that is not there, or a model that can't be explained."""
    if arm not in arms.models:
        raise DataError(f"arm: found {arm!r}; the spec has {', '.join(arms.models)}")
    model, layout = arms.models[arm], arms.views[arm].layout
    inner = model.inner if isinstance(model, Checked) else model
    outputs = {"binary": ("0", "1"), "regression": ("value",)}.get(spec.task, spec.classes)
    if isinstance(inner, Hashed):
        return LinearExplained(inner, layout, names, outputs if spec.task == "classes" else ("value",))
    if isinstance(inner, TreeArm | RegressorArm):
        arrays = inner.arrays() if isinstance(inner, RegressorArm) else inner.state().arrays
        return TreeExplained(inner, [arrays], layout, names, outputs)
    if isinstance(inner, ForestArm):
        return ForestExplained(inner, inner.trees(), layout, names, outputs)
    raise DataError(f"arm {arm}: its model is {spec.arms[arm].model}; linear, tree and forest models can be explained")
