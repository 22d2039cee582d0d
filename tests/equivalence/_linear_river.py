"""River's twin of a linear model with our parameters: a scaler beside one-hot categories, then the model."""

from typing import Any

from river import compose, linear_model, optim, preprocessing

SCALERS: dict[str, Any] = {
    "standard": preprocessing.StandardScaler,
    "min_max": preprocessing.MinMaxScaler,
    "max_abs": preprocessing.MaxAbsScaler,
    "robust": preprocessing.RobustScaler,
}


class Regressor(linear_model.PARegressor):
    """River's, with a loss that takes y as it is, not as 2y - 1."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.loss = lambda y, p: max(abs(p - y) - self.eps, 0)


def twin(name: str, task: str, given: dict[str, Any]) -> tuple[Any, Any]:
    """(pipeline, model in it) for a model of MODELS; given: our parameters."""
    if name == "linear.softmax":
        model: Any = linear_model.SoftmaxRegression(_optimizer(given), l2=given.get("l2", 0))
    elif name == "linear.passive_aggressive":
        same = {n: given[n] for n in ("mode", "learn_intercept") if n in given} | {"C": given.get("c", 0.1)}
        model = linear_model.PAClassifier(**same) if task == "binary" else Regressor(**same, eps=given.get("eps", 0.1))
    else:
        kind = linear_model.LogisticRegression if task == "binary" else linear_model.LinearRegression
        same = {n: given[n] for n in ("l1", "l2", "clip_gradient") if n in given}
        rate = _schedule(given.get("intercept_lr", 0.01))
        model = kind(_optimizer(given), _loss(task, given), intercept_lr=rate, **same)
    return pipeline(model, given.get("scale", "standard")), model


def pipeline(model: Any, scale: Any) -> Any:
    """The numbers (float) scaled beside the categories (int), then the model."""
    name, own = (scale, {}) if isinstance(scale, str) else (scale["name"], {**scale})
    own.pop("name", None)
    numbers = compose.SelectType(float)
    scaled = numbers if name == "none" else numbers | SCALERS[name](**own)
    return (scaled + compose.SelectType(int)) | model


def told(given: dict[str, Any], label: float) -> float:
    """The label as River wants it: its epsilon-insensitive loss takes y for 2y - 1, as if it were a class."""
    return (label + 1) / 2 if given.get("loss") == "epsilon_insensitive" else label


def event(x: dict[str, float], c: dict[str, Any]) -> dict[str, Any]:
    """Numbers and one-hot categories in one dict."""
    return {**x, **{f"{name}={value}": 1 for name, value in c.items()}}


def _schedule(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    if given["schedule"] == "optimal":
        return optim.schedulers.Optimal(optim.losses.Squared(), given["alpha"])
    return optim.schedulers.InverseScaling(given["rate"], given["power"])


def _optimizer(given: dict[str, Any]) -> Any:
    chosen = given.get("optimizer", "sgd")
    name, own = (chosen, {}) if isinstance(chosen, str) else (chosen["name"], {**chosen})
    own.pop("name", None)
    if name == "ftrl":
        return optim.FTRLProximal(**own)
    kind = {"sgd": optim.SGD, "ada_grad": optim.AdaGrad, "rms_prop": optim.RMSProp, "adam": optim.Adam}[name]
    return kind(_schedule(given.get("lr", 0.01)), **own)


def _loss(task: str, given: dict[str, Any]) -> Any:
    name = given.get("loss", "log" if task == "binary" else "squared")
    if name == "huber":
        return optim.losses.Huber(given["epsilon"])
    if name == "quantile":
        return optim.losses.Quantile(given["quantile"])
    if name == "epsilon_insensitive":
        return optim.losses.EpsilonInsensitiveHinge(given["epsilon"])
    return getattr(optim.losses, name.title())()
