"""Every linear model, loss, optimiser, schedule, penalty and scale against River, each on a stream that suits it."""

from time import perf_counter
from typing import Any

import numpy as np

from stream.block import F64
from stream.encode.ids import Ids
from stream.learn.learner import Learner
from stream.learn.linear.losses import BINARY, REGRESSION
from stream.learn.linear.model import Linear
from stream.learn.linear.params import LogisticParams, RegressionParams
from stream.learn.linear.passive import Passive, PassiveParams
from stream.learn.linear.softmax import Softmax, SoftmaxParams
from stream.learn.linear.types import INTERCEPT
from tests.equivalence._linear_river import event, told, twin
from tests.equivalence._linear_streams import Rows, stream
from tests.equivalence._table import Equal, difference

LOGISTIC, REGRESS, SOFTMAX = "linear.logistic", "linear.regression", "linear.softmax"
PASSIVE = "linear.passive_aggressive"
INVERSE = {"schedule": "inverse_scaling", "rate": 0.05, "power": 0.4}
OPTIMAL = {"schedule": "optimal", "alpha": 0.02}
Case = tuple[str, str, str, dict[str, Any]]
CASES: list[Case] = [
    ("flights", LOGISTIC, "binary", {"lr": 0.02}),
    ("SEA", LOGISTIC, "binary", {"scale": "robust", "optimizer": "ada_grad", "lr": 0.1}),
    ("flights", LOGISTIC, "binary", {"optimizer": "ftrl"}),
    ("flights", PASSIVE, "binary", {"c": 0.05}),
    ("flights", SOFTMAX, "classes", {}),
    ("SEA", LOGISTIC, "binary", {"loss": "hinge", "l2": 0.003, "clip_gradient": 0.5}),
    ("Agrawal", LOGISTIC, "binary", {"optimizer": "adam", "l2": 0.01}),
    ("Hyperplane", LOGISTIC, "binary", {"scale": {"name": "robust", "q_inf": 0.1, "q_sup": 0.9}, "lr": 0.1}),
    ("Mixed", LOGISTIC, "binary", {"lr": OPTIMAL, "intercept_lr": OPTIMAL}),
    ("Hyperplane", LOGISTIC, "binary", {"optimizer": "rms_prop", "scale": "max_abs"}),
    ("Hyperplane", PASSIVE, "binary", {"mode": 2, "learn_intercept": False}),
    ("Phishing", LOGISTIC, "binary", {"l1": 0.0005, "lr": 0.02}),
    ("Bananas", LOGISTIC, "binary", {"scale": "min_max", "optimizer": {"name": "ftrl", "alpha": 0.5, "l1": 0.1}}),
    ("LED", SOFTMAX, "classes", {"optimizer": "ada_grad", "lr": 0.1}),
    ("RandomRBFDrift", SOFTMAX, "classes", {"optimizer": "adam", "lr": INVERSE}),
    ("RandomRBFDrift", SOFTMAX, "classes", {"l2": 0.01, "lr": INVERSE, "scale": "robust"}),
    ("ImageSegments", SOFTMAX, "classes", {"optimizer": "ftrl"}),
    ("ImageSegments", SOFTMAX, "classes", {"optimizer": "rms_prop", "lr": 0.01}),
    ("FriedmanDrift", REGRESS, "regression", {"lr": 0.005}),
    ("FriedmanDrift", REGRESS, "regression", {"loss": "huber", "epsilon": 0.7, "l2": 0.01}),
    ("FriedmanDrift", REGRESS, "regression", {"loss": "poisson", "lr": 0.001, "intercept_lr": 0.001}),
    ("Planes2D", REGRESS, "regression", {"loss": "quantile", "quantile": 0.8, "lr": INVERSE}),
    ("Planes2D", REGRESS, "regression", {"optimizer": "rms_prop", "lr": INVERSE, "intercept_lr": INVERSE}),
    ("TrumpApproval", REGRESS, "regression", {"loss": "absolute", "lr": 0.02}),
    ("TrumpApproval", REGRESS, "regression", {"optimizer": {"name": "adam", "beta_1": 0.8}, "l1": 0.001, "lr": 0.01}),
    ("TrumpApproval", PASSIVE, "regression", {"c": 0.01, "scale": "robust"}),
    ("ChickWeights", REGRESS, "regression", {"loss": "epsilon_insensitive", "epsilon": 0.2}),
    ("ChickWeights", REGRESS, "regression", {"optimizer": "ada_grad", "lr": 0.1, "scale": "max_abs"}),
    ("ChickWeights", REGRESS, "regression", {"optimizer": {"name": "ftrl", "alpha": 0.2, "l1": 0.1}}),
    ("ChickWeights", PASSIVE, "regression", {"mode": 0, "eps": 0.5}),
]


def ours(case: Case, features: int, classes: int) -> Any:
    """Our model of a case."""
    _, name, task, given = case
    if name == SOFTMAX:
        return Softmax(features, classes, SoftmaxParams(**given))
    if name == PASSIVE:
        return Passive(features, task, PassiveParams(**given))
    if name == LOGISTIC:
        chosen = LogisticParams(**given)
        return Linear(features, BINARY[chosen.loss], chosen)
    params = RegressionParams(**given)
    return Linear(features, REGRESSION[params.loss], params)


def rivers(case: Case, data: Rows) -> tuple[F64, Any, float]:
    """River's scores one event at a time, its model, and the seconds it took."""
    _, name, task, given = case
    theirs, model = twin(name, task, given)
    classes = int(data.label.max()) + 1 if task == "classes" else 1
    scores = np.zeros((len(data.events), classes))
    events = [event(x, c) for x, c in data.events]
    labels = [int(y) if task == "classes" else bool(y) if task == "binary" else told(given, y) for y in data.label]
    begin = perf_counter()
    for row, (x, y) in enumerate(zip(events, labels, strict=True)):
        if task == "regression":
            scores[row, 0] = theirs.predict_one(x)
        elif task == "binary":
            scores[row, 0] = theirs.predict_proba_one(x)[True]
        else:
            for known, p in theirs.predict_proba_one(x).items():
                scores[row, known] = p
        theirs.learn_one(x, y)
    return scores, model, perf_counter() - begin


def weights(model: Learner, data: Rows) -> dict[str, F64]:
    """Our weights by River's names, each as an array of one or of one for each class."""
    arrays = model.state().arrays
    named = dict(zip(data.numbers, np.atleast_1d(arrays["weights"]), strict=True))
    slots = {key: slot for slot, key in enumerate(arrays["keys"].tolist())}
    for name in data.categories:
        ids = Ids(name)
        for value in {c[name] for _, c in data.events if name in c}:
            slot = slots.get(ids.of(value))
            named[f"{name}={value}"] = (
                arrays["table"][slot] if slot is not None else np.zeros(arrays["table"].shape[1:])
            )
    return {k: np.atleast_1d(w) for k, w in named.items()}


def versus(case: Case, rows: int) -> Equal:
    """One case over its stream."""
    name, model_name, task, given = case
    data = stream(name, rows)
    block, label = data.block(), data.label
    classes = int(label.max()) + 1 if task == "classes" else 1
    ours(case, len(data.numbers), classes).score_learn(block, label)  # compiled, for the clock
    model = ours(case, len(data.numbers), classes)
    begin = perf_counter()
    scores = model.score_learn(block, label).reshape(len(label), -1)
    ours_s = perf_counter() - begin
    expected, theirs, river_s = rivers(case, data)
    known = ~np.isnan(expected).any(axis=1)
    assert (~known).sum() <= (len(data.numbers) if given.get("scale") == "min_max" else 0), "River has no first minimum"
    assert np.ptp(expected[known]) > 0.1, f"{case}: a constant score would prove nothing"
    own = weights(model, data)
    if task == "classes":
        pairs = [(own[n][k], w) for k, by_name in theirs.weights.items() for n, w in by_name.items()]
    else:
        pairs = [(own[n][0], w) for n, w in theirs.weights.items()]
        pairs.append((model.state().arrays["scalars"][INTERCEPT], theirs.intercept))
    off = difference(scores[known].ravel().tolist(), expected[known].ravel().tolist())
    apart = difference([a for a, _ in pairs], [b for _, b in pairs])
    title = " ".join([model_name, *(f"{k}={_short(v)}" for k, v in given.items())])
    return Equal(name, title, len(label), off, apart, river_s, ours_s)


def _short(value: Any) -> str:
    return "(" + " ".join(map(str, value.values())) + ")" if isinstance(value, dict) else str(value)


def check(rows: int) -> list[Equal]:
    """Every case."""
    return [versus(case, rows) for case in CASES]
