"""Names that a spec may give to a model, and what builds each. One seam: everything here is a `Learner`.

`linear.*` and `tree.hoeffding` are ours, compiled. `river:module.Class` is any River estimator, and
`sklearn:module.Class` any of scikit-learn with `partial_fit`; their state is a pickle, so they are off unless the
spec's arm says `params: {trust_pickle: true, ...}`. `onnx:FILE` is a pre-trained model, which never learns.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from stream.block import Layout
from stream.learn.check import Checked
from stream.learn.forest_arm import (
    AdwinBaggingParams,
    BaggingParams,
    ForestArm,
    ForestParams,
    RegressorForestArm,
    RegressorForestParams,
)
from stream.learn.learner import Learner
from stream.learn.linear.losses import BINARY, FAKE_NEGATIVE, REGRESSION
from stream.learn.linear.model import Linear
from stream.learn.linear.params import LogisticParams, RegressionParams
from stream.learn.linear.passive import Passive, PassiveParams
from stream.learn.linear.softmax import Softmax, SoftmaxParams
from stream.learn.onnx_arm import OnnxArm, onnx_problems
from stream.learn.onnx_model import OnnxParams
from stream.learn.pickled import ForeignParams
from stream.learn.river_arm import RiverArm, RiverParams
from stream.learn.sklearn_arm import SklearnArm, SklearnParams
from stream.learn.tree_arm import (
    AdaptiveParams,
    AdaptiveRegressorParams,
    RegressorArm,
    RegressorParams,
    TreeArm,
    TreeParams,
)
from stream.spec import ArmSpec, Spec

_Build = Callable[[Spec, Layout, Any], Learner]


def _linear(losses: Mapping[str, int]) -> _Build:
    def make(spec: Spec, layout: Layout, params: Any) -> Learner:
        loss = FAKE_NEGATIVE if spec.label.timeout == "importance" else losses[params.loss]
        return Linear(len(layout.numeric), loss, params)

    return make


def _forest(spec: Spec, layout: Layout, params: BaggingParams) -> Learner:
    return ForestArm(layout, max(2, len(spec.classes)), spec.task, params)


MODELS: Mapping[str, tuple[tuple[str, ...], type[BaseModel], _Build]] = {
    "linear.logistic": (("binary",), LogisticParams, _linear(BINARY)),
    "linear.regression": (("regression",), RegressionParams, _linear(REGRESSION)),
    "linear.softmax": (
        ("binary", "classes"),
        SoftmaxParams,
        lambda spec, layout, params: Softmax(len(layout.numeric), max(2, len(spec.classes)), params, spec.task),
    ),
    "linear.passive_aggressive": (
        ("binary", "regression"),
        PassiveParams,
        lambda spec, layout, params: Passive(len(layout.numeric), spec.task, params),
    ),
    "tree.hoeffding": (
        ("binary", "classes"),
        TreeParams,
        lambda spec, layout, params: TreeArm(layout, max(2, len(spec.classes)), spec.task, params),
    ),
    "tree.adaptive": (
        ("binary", "classes"),
        AdaptiveParams,
        lambda spec, layout, params: TreeArm(layout, max(2, len(spec.classes)), spec.task, params),
    ),
    "tree.regressor": (
        ("regression",),
        RegressorParams,
        lambda spec, layout, params: RegressorArm(layout, params),
    ),
    "tree.adaptive_regressor": (
        ("regression",),
        AdaptiveRegressorParams,
        lambda spec, layout, params: RegressorArm(layout, params),
    ),
    "forest.adaptive": (("binary", "classes"), ForestParams, _forest),
    "forest.bagging": (("binary", "classes"), BaggingParams, _forest),
    "forest.adwin_bagging": (("binary", "classes"), AdwinBaggingParams, _forest),
    "forest.regressor": (
        ("regression",),
        RegressorForestParams,
        lambda spec, layout, params: RegressorForestArm(layout, params),
    ),
}
FOREIGN: Mapping[str, tuple[type[BaseModel], Callable[[Layout, Spec, Any], Learner]]] = {
    "river": (RiverParams, RiverArm),
    "sklearn": (SklearnParams, SklearnArm),
    "onnx": (OnnxParams, OnnxArm),
}
_TASKS = ("binary", "regression", "classes")


def runs_as(model: str) -> str:
    """How a model of this name learns, for people."""
    if model.startswith("onnx:"):
        return "pre-trained, in onnxruntime; it never learns"
    return "compiled" if model in MODELS else "one event at a time in Python"


def model_problems(spec: Spec, arm: str) -> list[str]:
    """What is wrong with an arm's model and parameters; each line starts with its path in the spec."""
    given = spec.arms[arm]
    library, _, name = given.model.partition(":")
    tasks: tuple[str, ...] = _TASKS
    params_type: type[BaseModel]
    if given.model in MODELS:
        tasks, params_type, _ = MODELS[given.model]
    elif name and library in FOREIGN:
        params_type = FOREIGN[library][0]
    else:
        allowed = ", ".join(
            [*MODELS, *(f"{known}:<module>.<Class>" for known in FOREIGN if known != "onnx"), "onnx:<file>"]
        )
        return [f"arms.{arm}.model: found {given.model!r}; allowed: {allowed}"]
    problems = []
    if spec.label.timeout == "importance" and not _weighs(given):
        problems.append(
            f"arms.{arm}.model: found {given.model}; with label.timeout: importance linear.logistic with loss log is "
            "wanted, which weighs its rows, or a pre-trained ONNX file"
        )
    if spec.task not in tasks:
        problems.append(f"arms.{arm}.model: {given.model} is for {' or '.join(tasks)}; the task is {spec.task}")
    try:
        params = params_type.model_validate({**given.params, **({"name": name} if name else {})})
        if isinstance(params, ForeignParams):
            problems += [f"arms.{arm}.params: {p}" for p in params.problems(spec.task)]
        if isinstance(params, OnnxParams):
            problems += [f"arms.{arm}.{p}" for p in onnx_problems(spec, arm, params)]
    except ValidationError as e:
        for x in e.errors():
            where = ".".join(map(str, x["loc"]))
            problems.append(f"arms.{arm}.params.{where}: found {x.get('input')!r}; {x['msg']}")
    return problems


def _weighs(arm: ArmSpec) -> bool:
    """Whether what would bias this arm under label.timeout importance does not."""
    return arm.model.startswith("onnx:") or (arm.model == "linear.logistic" and arm.params.get("loss", "log") == "log")


def maker(spec: Spec, arm: str, layout: Layout) -> Callable[[], Checked]:
    """What makes new, untrained models for an arm that sees `layout`, time and again; its parameters are read once."""
    given = spec.arms[arm]
    library, _, name = given.model.partition(":")
    if name:
        foreign_type, wrap = FOREIGN[library]
        params = foreign_type.model_validate({**given.params, "name": name})
        return lambda: Checked(wrap(layout, spec, params), layout, spec.task, spec.classes)
    _, params_type, make = MODELS[given.model]
    own = params_type.model_validate(given.params)
    return lambda: Checked(make(spec, layout, own), layout, spec.task, spec.classes)


def build(spec: Spec, arm: str, layout: Layout) -> Checked:
    """A new, untrained model for an arm that sees `layout`; it refuses wrong blocks and labels."""
    return maker(spec, arm, layout)()
