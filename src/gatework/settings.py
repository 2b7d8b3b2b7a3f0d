"""Settings whose errors say what came, what was expected and how to mend it."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gatework.errors import InputError
from gatework.printable import brief

__all__ = ["Checked", "Count"]

Count = Annotated[int, Field(gt=0, le=2**62)]
"""A whole number that no run reaches the end of."""
MOST_FAULTS = 4
"""Fields that an error names."""


class Checked(BaseModel):
    """A frozen set of fields whose errors say what came, what was expected, how to mend it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def of(cls, /, **settings: Any) -> Self:
        """Make it from settings.

        Raises:
            InputError: naming every field that is wrong.
        """
        try:
            return cls(**settings)
        except ValidationError as error:
            faults = error.errors(include_url=False)
        for fault in faults:
            cause = fault.get("ctx", {}).get("error")
            if isinstance(cause, InputError):
                raise cause
        faults = faults[:MOST_FAULTS]
        names = [".".join(str(part)[:40] for part in fault["loc"]) for fault in faults]
        limits = [fault["msg"].removeprefix("Input should be ")[:300] for fault in faults]
        raise InputError(
            "; ".join(
                f"{n} = {brief(fault['input'])}" for n, fault in zip(names, faults, strict=True)
            ),
            "; ".join(f"{n} {limit}" for n, limit in zip(names, limits, strict=True)),
            f"correct {', '.join(names)}",
        )
