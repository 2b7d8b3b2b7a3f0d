"""What the page may ask, checked: whatever else comes is answered with what was expected."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from gatework.studio.models import MOST_STEPS

__all__ = [
    "CellBody",
    "ReadBody",
    "TextBody",
    "UnitBody",
    "number",
    "parsed",
    "wrong",
]

MOST_SEQUENCES = 10**8
"""Numbers of sequences and steps, so that no other is looked up."""

Hold = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
Name = Annotated[str, Field(min_length=1, max_length=64)]
Whole = Annotated[int, Field(ge=0, le=MOST_SEQUENCES)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ReadBody(_Body):
    """Read a text, or a held-out sequence from some step on."""

    model: Annotated[int, Field(ge=0)]
    text: Annotated[str, Field(min_length=1, max_length=MOST_STEPS)] | None = None
    sequence: Whole | None = None
    first: Whole = 0
    hold: Annotated[dict[Name, Hold], Field(max_length=16)] = {}


class TextBody(_Body):
    """Divide a text into characters."""

    text: Annotated[str, Field(max_length=MOST_STEPS)]


class CellBody(_Body):
    """Draw a model's cell."""

    model: Annotated[int, Field(ge=0)]
    hold: Annotated[dict[Name, Hold], Field(max_length=16)] = {}


class UnitBody(_Body):
    """Find where a unit fires."""

    model: Annotated[int, Field(ge=0)]
    layer: Annotated[int, Field(ge=0)]
    value: Name
    unit: Annotated[int, Field(ge=0)]


def parsed(kind: type[Any], body: bytes) -> Any:
    """Return what a body says.

    Raises:
        HTTPException: it is none of that kind.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(p)[:20] for p in f['loc']) or 'body'}: {f['msg']}"
            for f in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise wrong("; ".join(faults[:4])[:400], (kind.__doc__ or "").strip()) from None


def number(request: Request, name: str, highest: int) -> int:
    """Return a whole number from 0 to `highest` in the question.

    Raises:
        HTTPException: there is none.
    """
    text = request.query_params.get(name, "")
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) > highest:
        raise wrong(f"{name} = {text[:20]!r}", f"a whole number from 0 to {highest}")
    return int(text)


def wrong(came: str, expected: str, status: int = 400) -> HTTPException:
    """Return an error that says what came and what was expected."""
    return HTTPException(status, json.dumps({"came": came, "expected": expected}))
