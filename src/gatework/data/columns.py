"""Which part each column of a table has."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from gatework.errors import InputError
from gatework.settings import Checked

__all__ = ["Columns", "Name", "Names"]

Name = Annotated[str, Field(min_length=1, max_length=1000)]
Names = Annotated[tuple[Name, ...], Field(max_length=100_000)]


class Columns(Checked):
    """How a table or a set of arrays is read; a name that is not given is found by itself."""

    id: Name | None = None
    """Column that tells which sequence a row belongs to: `unique_id` where there is one."""
    time: Name | None = None
    """Column by which the rows of a sequence are in order: `ds` where there is one."""
    target: Names = ()
    """Column or columns to be predicted: `y` where there is one."""
    inputs: Names = ()
    """Columns that are known up to each row; without any, all that have no other part."""
    future: Names = ()
    """Of a forecast: columns that are known ahead, such as holidays."""
    static: Names = ()
    """Columns that hold for a whole sequence."""
    ignore: Names = ()
    """Columns that are left out."""
    steps_first: bool = False
    """Whether arrays are [cases, steps, channels], as torch and Keras have them; else [cases,
    channels, steps], as aeon and sktime."""

    @model_validator(mode="after")
    def _each_column_has_one_part(self) -> Columns:
        alone = [name for name in (self.id, self.time) if name is not None]
        named = [*alone, *self.target, *self.future, *self.static, *self.ignore]
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise InputError(
                f"column {twice[0]!r} given two parts",
                "one of --id, --time, --target, --future, --static and --ignore for a column",
                "name it once",
            )
        return self
