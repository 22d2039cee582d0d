"""The part of a spec that says what arrives: the event's schema, and how each of its fields is cleaned and encoded."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from stream.spec_part import Part


class FieldSpec(Part):
    """How one field of the event is cleaned, then encoded."""

    type: Literal["numeric", "category", "boolean", "time", "text", "ignore"]
    required: bool = False
    min: float | None = None
    max: float | None = None
    outside: Literal["reject", "clip"] = "reject"
    impute: float | str | bool | None = None
    strip: bool = True
    case: Literal["keep", "lower", "upper"] = "keep"
    unify: dict[str, str] = Field(default_factory=dict)
    parts: tuple[Literal["hour", "weekday", "month", "day"], ...] = ("hour", "weekday", "month")
    as_: tuple[Literal["number", "category", "cycle"], ...] = Field(default=("number", "category"), alias="as")
    private: bool = Field(default=False, description="its values appear in no log, document, trace or refusal")

    @model_validator(mode="after")
    def _fits(self) -> "FieldSpec":
        if (self.min is not None or self.max is not None) and self.type != "numeric":
            raise ValueError(f"min and max go with type numeric, not {self.type}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        kinds: dict[str, tuple[type, ...]] = {"numeric": (int, float), "boolean": (bool,)}
        allowed = kinds.get(self.type, (str,))
        if self.impute is not None and not isinstance(self.impute, allowed):
            raise ValueError(f"impute {self.impute!r} is not a {self.type} value")
        if self.required and self.impute is not None:
            raise ValueError("a required field is rejected when missing, so impute has nothing to do")
        return self


class EventSpec(Part):
    """What arrives: the Avro schema of an event and what its fields mean."""

    schema_: Path = Field(alias="schema", description="Avro schema of an event; relative to the spec")
    writers: Path | None = Field(default=None, description="folder of further schemas that producers may use")
    id: str
    time: str
    fields: dict[str, FieldSpec]

    @model_validator(mode="after")
    def _traceable(self) -> "EventSpec":
        for role, name in (("id", self.id), ("time", self.time)):
            if name in self.fields and self.fields[name].private:
                raise ValueError(f"fields.{name}: private, but it is the event's {role}, which every document carries")
        return self

    @property
    def private(self) -> frozenset[str]:
        """Fields whose values are not to be told."""
        return frozenset(name for name, field in self.fields.items() if field.private)
