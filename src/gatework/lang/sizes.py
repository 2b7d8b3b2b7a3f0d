"""The arithmetic of sizes: of the names that count units before a layer knows their numbers.

    hidden          a name, for which the layer has a number
    hidden+key      rows laid side by side
    hidden/2        one of equal parts
    4*hidden        a row that holds four
    hidden-3        what is left beside three units
    5               a number; "1" is that of a single number, which fits any row
    head,key,1      the product of several axes

Sizes that are the same for all numbers have the same name: half of "hidden" and half of "hidden"
make "hidden".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from functools import lru_cache

from gatework.lang.keeping import Shared

RECENT = 16  # sizes that are kept beside those in use

Form = Mapping[str, Fraction]  # how many of each name are added up; of "", of single units

_TERM = re.compile(r"([+-])(?:(\d+)\*(?=[^\W\d]))?([^\W\d]\w*|\d+)(?:/(\d+))?")


class Sizes(dict[str, int]):
    """The number of units of each size, by the size's name. Made by `of`; never changed.

    A size that is made of others has its number too, though it stands in no list of them.

    Equal ones are one object, so what a backend prepares for calls of some sizes can be kept with
    them: for as long as a job has them, or they are among those that were asked for last.
    """

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, given: Mapping[str, int]) -> None:
        super().__init__(given)
        self._composed: dict[str, int] = {}

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> Sizes:
        """The one object with these sizes.

        Example:
            >>> Sizes.of({"input": 3, "hidden": 4}) is Sizes.of({"input": 3, "hidden": 4})
            True
            >>> Sizes.of({"head": 2, "key": 3})["head,key,1"]
            6
        """
        return sizes if isinstance(sizes, Sizes) else _sizes(tuple(sizes.items()))

    def __missing__(self, size: str) -> int:
        found = self._composed.get(size)
        if found is None:
            if not names_in(size) <= self.keys():
                raise KeyError(size)
            found = self._composed[size] = units(size, self)
        return found


_shared: Shared[Sizes] = Shared()


@lru_cache(RECENT)
def _sizes(items: tuple[tuple[str, int], ...]) -> Sizes:
    return _shared.get(items, lambda: Sizes(dict(items)))


def units(size: str, sizes: Mapping[str, int], least: int = 1) -> int:
    """The number of units of a size.

    Args:
        size: The size.
        sizes: The numbers of the names in it.
        least: The smallest number that it may be.

    Raises:
        ValueError: If it is no whole number, or too small.

    Example:
        >>> numbers = {"hidden": 8, "key": 3}
        >>> units("hidden/2+key", numbers), units("hidden,key,1", numbers)
        (7, 24)
    """
    if size in sizes:
        return sizes[size]
    counts = [sum(n * (sizes[name] if name else 1) for name, n in f.items()) for f in _forms(size)]
    for n in counts:
        if n.denominator > 1 or n < least:
            given = ", ".join(f"{name}={sizes[name]}" for name in sorted(names_in(size)))
            wanted = "a whole number" if n.denominator > 1 else f"at least {least}"
            raise ValueError(f"the size {size!r} should be {wanted}, and is {n} for {given}")
    return math.prod(map(int, counts))


def names_in(size: str) -> set[str]:
    """The names for which a layer must have numbers.

    Example:
        >>> sorted(names_in("hidden/2+key")), names_in("5")
        (['hidden', 'key'], set())
    """
    return {name for form in _forms(size) for name in form if name}


def checked(size: str) -> str:
    """The size as it is always written.

    Raises:
        ValueError: If it is none.

    Example:
        >>> checked("key + hidden"), checked("hidden/2 + hidden/2")
        ('hidden+key', 'hidden')
    """
    return ",".join(map(_written, _forms(size)))


def together(sizes: Iterable[str]) -> str:
    """The size of rows laid side by side.

    Example:
        >>> together(["key", "hidden/2", "hidden/2", "1"])
        'hidden+key+1'
    """
    return _combined((size, 1) for size in sizes)


def without(size: str, part: str) -> str:
    """What is left of a size beside a part of it; "0" if nothing is.

    Example:
        >>> without("hidden", "hidden/4"), without("hidden", "hidden")
        ('3*hidden/4', '0')
    """
    return _combined([(size, 1), (part, -1)])


def divided(size: str, parts: int) -> str:
    """The size of each of equal parts.

    Example:
        >>> divided("4*hidden", 4), divided("hidden", 4)
        ('hidden', 'hidden/4')
    """
    part = _combined([(size, Fraction(1, parts))])
    if not names_in(size) and "/" in part:
        raise ValueError(f"a row of {size} units cannot be cut into {parts} equal parts")
    return part


def fits(part: str, size: str) -> bool:
    """Whether a part is never larger than a size, whatever the numbers of their names.

    Example:
        >>> fits("hidden/2", "hidden"), fits("hidden", "key")
        (True, False)
    """
    (left,) = _forms(without(size, part))
    least = sum(left.values())  # where every name stands for 1
    return least >= 0 and all(n >= 0 for name, n in left.items() if name)


def renamed(size: str, names: Mapping[str, str]) -> str:
    """The size with other sizes in place of its names.

    Example:
        >>> renamed("hidden/2", {"hidden": "key+input"})
        'input/2+key/2'
    """
    return ",".join(_renamed(slot, names) for slot in size.split(","))


def _renamed(slot: str, names: Mapping[str, str]) -> str:
    if slot in names:
        return names[slot]
    (form,) = _forms(slot)
    return _combined((names.get(name, name) if name else "1", n) for name, n in form.items())


def _combined(terms: Iterable[tuple[str, Fraction | int]]) -> str:
    """The sum of sizes, each so many times."""
    total: dict[str, Fraction] = {}
    for size, times in terms:
        forms = _forms(size)
        if len(forms) > 1:
            raise ValueError(f"a row of the axes {size!r} has no parts; take parts along one axis")
        for name, n in forms[0].items():
            total[name] = total.get(name, Fraction(0)) + n * times
    return _written({name: n for name, n in total.items() if n})


@lru_cache(1024)
def _forms(size: str) -> tuple[Form, ...]:
    """Each axis of a size."""
    return tuple(_form(size, slot) for slot in size.split(","))


def _form(size: str, slot: str) -> Form:
    form: dict[str, Fraction] = {}
    for name, n in _terms(size, slot):
        form[name] = form.get(name, Fraction(0)) + n
    return {name: n for name, n in form.items() if n}


def _terms(size: str, slot: str) -> Iterator[tuple[str, Fraction]]:
    text = re.sub(r"\s*([-+*/])\s*", r"\1", slot.strip())
    text, at = text if text.startswith(("+", "-")) else f"+{text}", 0
    while at < len(text):
        term = _TERM.match(text, at)
        if term is None or int(term[4] or 1) == 0:
            raise ValueError(f"{size!r} is no size; a size is a name, or made of names: 'hidden/2'")
        sign, times, counted, parts = term.groups()
        single = counted[0].isdecimal()
        amount = Fraction(int(counted if single else times or 1), int(parts or 1))
        yield "" if single else counted, -amount if sign == "-" else amount
        at = term.end()


def _written(form: Form) -> str:
    """An axis: what is added before what is taken away, single units last."""
    order = sorted(form, key=lambda name: (form[name] < 0, not name, name))
    text = "".join(f"{'-' if form[n] < 0 else '+'}{_term(n, abs(form[n]))}" for n in order)
    return text.removeprefix("+") or "0"


def _term(name: str, n: Fraction) -> str:
    if not name:
        return str(n)
    times = f"{n.numerator}*" if n.numerator > 1 else ""
    return f"{times}{name}" + (f"/{n.denominator}" if n.denominator > 1 else "")
