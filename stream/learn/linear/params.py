"""Hyper-parameters of the linear models, with River's names and defaults; each refusal says what it found."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from stream.learn.linear.choices import InterceptRate, Optimiser, Optimizer, Rate, Scale, Scaler, Schedule
from stream.learn.linear.losses import QUANTILE
from stream.learn.linear.optimise import MEMORY, OPTIMIZERS
from stream.learn.linear.scaling import SCALES
from stream.learn.linear.table import EVICT
from stream.learn.linear.types import Rules
from stream.limits import CATEGORIES_MAX


class RowParams(BaseModel):
    """What every linear model has: the scale of its numbers, and how many keys it holds.

    At the bound `evict` drops the key seen least often (`rare`) or least lately (`oldest`) for a new one; `none`
    refuses the new one. `rare` is the default: a flood of ids seen once then drives out none that keeps coming.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    scale: Scale = "standard"
    categories_max: int = Field(default=CATEGORIES_MAX, ge=1, le=CATEGORIES_MAX)
    evict: Literal["none", "oldest", "rare"] = "rare"

    @property
    def scaler(self) -> Scaler:
        """The scale with its parameters."""
        return self.scale if isinstance(self.scale, Scaler) else Scaler(name=self.scale)  # type: ignore[arg-type]

    def rules(self, loss: int) -> Rules:
        """As the kernels read them; what no model has is 0."""
        scaler, none = self.scaler, (0.0, 0.0, 0.0)
        rows = SCALES[scaler.name], scaler.numbers(), self.categories_max, EVICT[self.evict]
        return Rules(loss, 0.0, 0, (*none, 0.0), none, none, 0.0, 0.0, 1e12, *rows)


class StepParams(RowParams):
    """What every model that follows gradients has."""

    optimizer: Optimiser = "sgd"
    lr: Rate = 0.01
    l2: float = Field(default=0.0, ge=0, le=100)

    @property
    def chosen(self) -> Optimizer:
        """The optimiser with its parameters."""
        return self.optimizer if isinstance(self.optimizer, Optimizer) else Optimizer(name=self.optimizer)  # type: ignore[arg-type]

    @field_validator("lr")
    @classmethod
    def _ftrl_has_its_own_rate(cls, lr: Any, given: ValidationInfo) -> Any:
        if _name(given) == "ftrl":
            raise PydanticCustomError("lr", "lr is nothing to ftrl; it has optimizer.alpha")
        return lr

    def memory(self) -> int:
        """Numbers that are remembered of each weight."""
        return MEMORY[OPTIMIZERS[self.chosen.name]]

    def rules(self, loss: int) -> Rules:
        """As the kernels read them."""
        chosen, rate = self.chosen, _numbers(self.lr)
        steps = super().rules(loss)._replace(optimizer=OPTIMIZERS[chosen.name], hyper=chosen.numbers())
        return steps._replace(rate=rate, intercept_rate=rate, l2=self.l2)


class LinearParams(StepParams):
    """Of models with one output."""

    intercept_lr: InterceptRate = 0.01
    l1: float = Field(default=0.0, ge=0, le=100)
    clip_gradient: float = Field(default=1e12, gt=0, le=1e12)
    epsilon: float = Field(default=0.1, ge=0, le=1e12)
    quantile: float = Field(default=0.5, gt=0, lt=1)

    @field_validator("l1")
    @classmethod
    def _one_penalty(cls, l1: float, given: ValidationInfo) -> float:
        l2 = given.data.get("l2", 0.0)
        if l1 > 0 and l2 > 0:
            raise PydanticCustomError(
                "l1", "l1 and l2 exclude each other; found l1 {l1}, l2 {l2}", {"l1": l1, "l2": l2}
            )
        if l1 > 0 and _name(given) == "ftrl":
            raise PydanticCustomError("l1", "l1 is nothing to ftrl; it has optimizer.l1")
        return l1

    def memory(self) -> int:
        """See StepParams; the cumulative penalty comes last."""
        return super().memory() + (self.l1 > 0)

    def rules(self, loss: int) -> Rules:
        """See StepParams."""
        return (
            super()
            .rules(loss)
            ._replace(
                loss_parameter=self.quantile if loss == QUANTILE else self.epsilon,
                intercept_rate=_numbers(self.intercept_lr),
                l1=self.l1,
                clip=self.clip_gradient,
            )
        )

    def plain(self) -> bool:
        """Whether the fast kernel does all that these ask, given a loss that it knows."""
        return (
            self.chosen.name == "sgd"
            and self.scaler.name == "standard"
            and self.l1 == 0
            and not isinstance(self.lr, Schedule)
            and not isinstance(self.intercept_lr, Schedule)
        )


class RegressionParams(LinearParams):
    """`epsilon` is Huber's and the epsilon-insensitive loss's half width, `quantile` the quantile loss's aim."""

    loss: Literal["squared", "absolute", "huber", "quantile", "epsilon_insensitive", "poisson"] = "squared"


class LogisticParams(LinearParams):
    """The hinge loss gives a linear support vector machine; scores are a sigmoid of the raw output all the same."""

    loss: Literal["log", "hinge"] = "log"


def _name(given: ValidationInfo) -> str:
    """The optimiser that was chosen before this field was read."""
    chosen = given.data.get("optimizer")
    return chosen.name if isinstance(chosen, Optimizer) else str(chosen)


def _numbers(rate: float | Schedule) -> tuple[float, float, float]:
    """A schedule as the kernels read it; a number is a constant."""
    return rate.numbers() if isinstance(rate, Schedule) else (0.0, rate, 0.0)
