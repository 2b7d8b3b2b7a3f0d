"""Sizes of several named axes: heads, keys and values of a state that is a matrix.

The size of a value with axes is written as a shape, one slot for each axis of the cell in its
order: "head,key,value" of a state, "head,key,1" of a value that lacks the axis "value" and is
repeated along it. A plain size such as "hidden" is a shape of one slot, and "1" is a single number,
which every value may be combined with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SCALAR = "1"


def slots(size: str) -> tuple[str, ...]:
    """The axes of a size, "1" where it lacks one.

    Example:
        >>> slots("head,key,1")
        ('head', 'key', '1')
    """
    return tuple(size.split(","))


def sized(names: Sequence[str]) -> str:
    """The size with these slots; the single number where it has none.

    Example:
        >>> sized(["head", "1"]), sized(["1", "1"])
        ('head,1', '1')
    """
    return SCALAR if set(names) <= {SCALAR} else ",".join(names)


def shape_of(order: Sequence[str], names: Sequence[str]) -> str:
    """The size of a value with some of a cell's axes.

    Example:
        >>> shape_of(("head", "key", "value"), ("value", "head"))
        'head,1,value'
    """
    return sized([axis if axis in names else SCALAR for axis in order])


def has_axes(size: str) -> bool:
    """Whether a size is one of several axes.

    Example:
        >>> has_axes("head,1"), has_axes("hidden")
        (True, False)
    """
    return "," in size


def is_long(size: str) -> bool:
    """Whether a size has all axes of its cell, as matrix memories have.

    Example:
        >>> is_long("head,key,value"), is_long("head,key,1"), is_long("hidden")
        (True, False, False)
    """
    return has_axes(size) and SCALAR not in slots(size)


def shown(size: str) -> str:
    """A size as it is given in a cell: the name, or the names of its axes.

    Example:
        >>> shown("head,key,1"), shown("hidden"), shown("head,1")
        ("('head', 'key')", "'hidden'", "'head'")
    """
    names = tuple(axis for axis in slots(size) if axis != SCALAR)
    return repr(names if len(names) > 1 else names[0] if names else size)


def joint(sizes: Iterable[str]) -> str | None:
    """The size of values combined unit by unit; None where they do not fit.

    Example:
        >>> joint(["key,1", "1,value", "1"]), joint(["input", "hidden"])
        ('key,value', None)
    """
    shapes = [slots(s) for s in dict.fromkeys(sizes) if s != SCALAR]
    if not shapes:
        return SCALAR
    if len({len(s) for s in shapes}) > 1:
        return None
    found = []
    for column in zip(*shapes, strict=True):
        names = set(column) - {SCALAR}
        if len(names) > 1:
            return None
        found.append(names.pop() if names else SCALAR)
    return sized(found)


def within(size: str, other: str) -> bool:
    """Whether a value of a size is repeated to fill another: it has no axis that the other lacks.

    Example:
        >>> within("key,1", "key,value"), within("key,value", "key,1"), within("1", "key,1")
        (True, False, True)
    """
    return joint((size, other)) == other


def common(size: str, other: str) -> str:
    """The axes that two sizes have in common.

    Example:
        >>> common("head,key,value", "head,1,value"), common("hidden", "1")
        ('head,1,value', '1')
    """
    if SCALAR in (size, other):
        return SCALAR
    pairs = zip(slots(size), slots(other), strict=True)
    return sized([a if a == b else SCALAR for a, b in pairs])


def lacking(size: str, other: str) -> str:
    """The axes of a size that another lacks: those over which is summed.

    Example:
        >>> lacking("head,key,value", "head,1,value"), lacking("hidden", "1")
        ('1,key,1', 'hidden')
    """
    if other == SCALAR:
        return size
    pairs = zip(slots(size), slots(other), strict=True)
    return sized([a if a != b else SCALAR for a, b in pairs])


def along(size: str, axis: int) -> str:
    """The slot of a size at the place of an axis.

    Example:
        >>> along("head,key", 1), along("1", 1)
        ('key', '1')
    """
    return SCALAR if size == SCALAR else slots(size)[axis]


def replaced(size: str, axis: int, slot: str, places: int) -> str:
    """The size with another slot at the place of an axis.

    Example:
        >>> replaced("head,key", 1, "key/2", 2), replaced("1", 0, "key", 2)
        ('head,key/2', 'key,1')
    """
    own = list(slots(size)) if size != SCALAR else [SCALAR] * places
    return sized([*own[:axis], slot, *own[axis + 1 :]])


def places(sizes: Iterable[str]) -> int:
    """How many slots the sizes of some values have that fit each other.

    Example:
        >>> places(["1", "head,key"])
        2
    """
    return max(len(slots(size)) for size in sizes)


def named(size: str) -> list[int]:
    """The places of the axes that a size has.

    Example:
        >>> named("1,key,value"), named("1")
        ([1, 2], [])
    """
    return [k for k, slot in enumerate(slots(size)) if slot != SCALAR]


def leads(axis: str, size: str) -> bool:
    """Whether an axis is the first of several in a size, so that what each index has is one piece.

    Example:
        >>> leads("head", "head,key"), leads("key", "head,key"), leads("key", "1,key")
        (True, False, True)
    """
    return has_axes(size) and next((a for a in slots(size) if a != SCALAR), None) == axis


def of_each(size: str, axis: str | None) -> str:
    """What each index of an axis has of a row; the row where no axis is meant.

    Example:
        >>> of_each("head,key", "head"), of_each("head,1", "head"), of_each("hidden", None)
        ('1,key', '1', 'hidden')
    """
    return size if axis is None else sized([a if a != axis else SCALAR for a in slots(size)])
