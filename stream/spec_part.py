"""What the parts of a spec are made of: frozen, nothing unknown in them, durations as people write them."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


def duration_ms(value: Any) -> Any:
    """'500ms', '36h', '2d' → milliseconds; a bare whole number is milliseconds already."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", value)
        if not match:
            raise ValueError("a duration such as 500ms, 5s, 10m, 36h or 2d is wanted")
        return round(float(match[1]) * _UNITS_MS[match[2]])
    return value


Duration = Annotated[int, BeforeValidator(duration_ms), Field(gt=0)]
DurationOrZero = Annotated[int, BeforeValidator(duration_ms), Field(ge=0)]


class Part(BaseModel):
    """One mapping of a spec."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
