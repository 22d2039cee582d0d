"""Hyper-parameters that are a name, or a mapping of a name and what it uses; each refusal says what it found."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from stream.learn.linear.schedules import OPTIMAL, SCHEDULES, first_rows


class _Choice(BaseModel):
    """A named way of doing something; only what that way uses may be given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def _only(self, chosen: str, allowed: tuple[str, ...]) -> None:
        for name in sorted(self.model_fields_set - {"schedule", "name"} - set(allowed)):
            raise PydanticCustomError(
                "unused",
                "{found}",
                {"found": f"{name} is nothing to {chosen}; it has {', '.join(allowed) or 'no parameters'}"},
            )


class Scaler(_Choice):
    """How numbers are scaled: a name alone, or with parameters. River's names and defaults."""

    name: Literal["standard", "min_max", "max_abs", "none", "robust"]
    with_centering: bool = True
    with_scaling: bool = True
    q_inf: float = Field(default=0.25, gt=0, lt=1)
    q_sup: float = Field(default=0.75, gt=0, lt=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._only(self.name, ("q_inf", "q_sup", "with_centering", "with_scaling") if self.name == "robust" else ())
        if self.q_inf >= self.q_sup:
            found = {"low": self.q_inf, "high": self.q_sup}
            raise PydanticCustomError("quantiles", "q_inf {low} is not below q_sup {high}", found)
        return self

    def numbers(self) -> tuple[float, float, float, float]:
        """As the kernels read them."""
        return self.q_inf, self.q_sup, float(self.with_centering), float(self.with_scaling)


class Schedule(_Choice):
    """A learning rate that falls with the rows learned, t: rate / (t + 1)^power, or Bottou's 1 / (alpha (t0 + t))."""

    schedule: Literal["constant", "inverse_scaling", "optimal"]
    rate: float = Field(default=0.01, gt=0, le=100)
    power: float = Field(default=0.5, ge=0, le=10)
    alpha: float = Field(default=1e-4, gt=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        used = {"constant": ("rate",), "inverse_scaling": ("rate", "power"), "optimal": ("alpha",)}
        self._only(self.schedule, used[self.schedule])
        return self

    def numbers(self) -> tuple[float, float, float]:
        """As the kernels read it."""
        kind = SCHEDULES[self.schedule]
        if kind == OPTIMAL:
            return float(kind), self.alpha, first_rows(self.alpha)
        return float(kind), self.rate, self.power


class Optimizer(_Choice):
    """How a gradient moves a weight: a name alone, or with parameters. River's defaults but for `lr`, given apart."""

    name: Literal["sgd", "ada_grad", "rms_prop", "adam", "ftrl"]
    eps: float = Field(default=1e-8, ge=1e-12, le=1)
    rho: float = Field(default=0.9, ge=0, lt=1)
    beta_1: float = Field(default=0.9, ge=0, lt=1)
    beta_2: float = Field(default=0.999, ge=0, lt=1)
    alpha: float = Field(default=0.05, gt=0, le=100)
    beta: float = Field(default=1.0, ge=1e-12, le=100)
    l1: float = Field(default=0.0, ge=0, le=1e6)
    l2: float = Field(default=1.0, ge=0, le=1e6)

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._only(self.name, _USED[self.name])
        return self

    def numbers(self) -> tuple[float, float, float, float]:
        """As the kernels read them."""
        values = [float(getattr(self, name)) for name in _USED[self.name]]
        a, b, c, d = [*values, 0.0, 0.0, 0.0, 0.0][:4]
        return a, b, c, d


_USED = {
    "sgd": (),
    "ada_grad": ("eps",),
    "rms_prop": ("rho", "eps"),
    "adam": ("beta_1", "beta_2", "eps"),
    "ftrl": ("alpha", "beta", "l1", "l2"),
}


def _either(short: Any, full: type[_Choice]) -> PlainValidator:
    """A plain value or a mapping; one message for what is wrong, with its path inside the mapping."""
    plain: TypeAdapter[Any] = TypeAdapter(short)

    def parse(value: Any) -> Any:
        if isinstance(value, full):
            return value
        try:
            return full.model_validate(value) if isinstance(value, dict) else plain.validate_python(value)
        except ValidationError as e:
            error = e.errors()[0]
            where = ".".join(map(str, error["loc"]))
            message = f"{where}: {error['msg']}" if where else error["msg"]
            raise PydanticCustomError("choice", "{message}", {"message": message}) from None

    return PlainValidator(parse)


_SIMPLE = PlainSerializer(lambda value: value.model_dump() if isinstance(value, BaseModel) else value)
Rate = Annotated[float | Schedule, _either(Annotated[float, Field(gt=0, le=100)], Schedule), _SIMPLE]
InterceptRate = Annotated[float | Schedule, _either(Annotated[float, Field(ge=0, le=100)], Schedule), _SIMPLE]
_Names = Literal["sgd", "ada_grad", "rms_prop", "adam", "ftrl"]
Optimiser = Annotated[str | Optimizer, _either(_Names, Optimizer), _SIMPLE]
_Scales = Literal["standard", "min_max", "max_abs", "none", "robust"]
Scale = Annotated[str | Scaler, _either(_Scales, Scaler), _SIMPLE]
