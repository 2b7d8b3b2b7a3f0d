"""A small writer of LLVM IR: types and values are text, control flow is `with` blocks.

Integers are i64 throughout; a Python int stands for a constant and is folded where that is
trivial, so that strides known at compile time leave no instructions behind.

>>> module = Module()
>>> with module.function("twice", [("ptr", "p")]) as (b, (p,)):
...     v = b.load(p, "float")
...     b.store(b.fadd(v, v), p)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from gatework.backends.cpu.vector.errors import CodegenError
from gatework.backends.cpu.vector.values import Index, Value, Vector

Relation = Literal["eq", "ne", "slt", "sle", "sgt", "sge"]  # of signed integers
FloatRelation = Literal["olt", "ole", "ogt", "oge", "oeq", "ugt", "uge", "une", "uno"]
"""Of numbers; those with u hold beside NaN."""


class Module:
    """Functions and the declarations that they need."""

    def __init__(self) -> None:
        self._declared: dict[str, str] = {}
        self._functions: list[str] = []

    def declare(self, name: str, returns: str, params: Sequence[str]) -> None:
        """Make an outer function known; declaring it twice is fine."""
        self._declared[name] = f"declare {returns} @{name}({', '.join(params)})"

    @contextmanager
    def function(
        self,
        name: str,
        params: Sequence[tuple[str, str]],
        *,
        exported: bool = False,
        inline: bool = False,
    ) -> Iterator[tuple[Builder, tuple[Value, ...]]]:
        """Write a function that returns nothing; its body is the `with` block."""
        builder = Builder(self)
        yield builder, tuple(Value(f"%{n}", t) for t, n in params)
        linkage = "" if exported else "internal "
        listed = ", ".join(f"{t} %{n}" for t, n in params)
        inlining = "alwaysinline" if inline else "noinline"
        self._functions.append(
            f"define {linkage}void @{name}({listed}) {inlining} #0 {{\n{builder.text()}}}\n"
        )

    def text(self, vector_bits: int, *, freestanding: bool = False) -> str:
        """The module as LLVM IR; freestanding, no loop becomes a call of the C library."""
        alone = '"no-builtins" ' if freestanding else ""
        attributes = (
            f'attributes #0 = {{ nounwind {alone}"min-legal-vector-width"="{vector_bits}" '
            f'"prefer-vector-width"="{vector_bits}" }}\n'
        )
        return "\n".join([*self._declared.values(), *self._functions, attributes])


class Builder:
    """Writes the body of one function, block after block."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self._slots: list[str] = []  # stack slots, all at the entry, so that LLVM can promote them
        self._lines: list[str] = []
        self._count = 0
        self._block = "entry"

    def text(self) -> str:
        """The body written so far, closed by a return."""
        return "entry:\n" + "".join(f"  {s}\n" for s in [*self._slots, *self._lines, "ret void"])

    # ---- plumbing ------------------------------------------------------------------------------

    def _name(self) -> str:
        self._count += 1
        return f"%v{self._count}"

    def op(self, text: str, type_: str) -> Value:
        """Write an instruction that gives a value."""
        name = self._name()
        self._lines.append(f"{name} = {text}")
        return Value(name, type_)

    def do(self, text: str) -> None:
        """Write an instruction that gives none."""
        self._lines.append(text)

    def _label(self) -> str:
        self._count += 1
        return f"b{self._count}"

    def _open(self, label: str) -> None:
        self._lines.append(f"\n{label}:")
        self._block = label

    def call(self, name: str, returns: str, *args: Value) -> Value:
        """Call a function; intrinsics and outer functions are declared on the way."""
        self.module.declare(name, returns, [a.type for a in args])
        return self.op(f"call {returns} @{name}({_typed(args)})", returns)

    def call_local(self, name: str, *args: Index) -> None:
        """Call a function of this module."""
        self.do(f"call void @{name}({_typed([self.index(a) for a in args])})")

    # ---- integers and addresses ----------------------------------------------------------------

    def index(self, value: Index) -> Value:
        """An i64 operand, of a constant too."""
        return Value(str(value), "i64") if isinstance(value, int) else value

    def add(self, a: Index, b: Index) -> Index:
        """a + b."""
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if a == 0 or b == 0:
            return b if a == 0 else a
        return self._integer("add", a, b)

    def sub(self, a: Index, b: Index) -> Index:
        """a - b."""
        if isinstance(a, int) and isinstance(b, int):
            return a - b
        return a if b == 0 else self._integer("sub", a, b)

    def mul(self, a: Index, b: Index) -> Index:
        """a * b."""
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        if a == 0 or b == 0:
            return 0
        if a == 1 or b == 1:
            return b if a == 1 else a
        return self._integer("mul", a, b)

    def div(self, a: Index, b: Index) -> Index:
        """a // b of numbers that are not negative."""
        if isinstance(a, int) and isinstance(b, int):
            return a // b
        return a if b == 1 else self._integer("udiv", a, b)

    def smaller(self, a: Index, b: Index) -> Index:
        """The smaller of two."""
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b)
        return self.call("llvm.smin.i64", "i64", self.index(a), self.index(b))

    def _integer(self, operation: str, a: Index, b: Index) -> Value:
        return self.op(f"{operation} i64 {self.index(a).text}, {self.index(b).text}", "i64")

    def compare(self, relation: Relation, a: Index, b: Index) -> Value:
        """Truth of a relation of integers."""
        return self.op(f"icmp {relation} i64 {self.index(a).text}, {self.index(b).text}", "i1")

    def given(self, address: Value) -> Value:
        """Whether an address is one, and not null."""
        return self.op(f"icmp ne ptr {address.text}, null", "i1")

    def at(self, base: Value, element: str, offset: Index) -> Value:
        """The address `offset` elements after `base`."""
        if offset == 0:
            return base
        return self.op(
            f"getelementptr {element}, ptr {base.text}, i64 {self.index(offset).text}", "ptr"
        )

    # ---- memory --------------------------------------------------------------------------------

    def load(self, address: Value, type_: str, align: int = 4) -> Value:
        """What lies at an address."""
        return self.op(f"load {type_}, ptr {address.text}, align {align}", type_)

    def store(self, value: Value, address: Value, align: int = 4) -> None:
        """Put a value at an address."""
        self.do(f"store {value.type} {value.text}, ptr {address.text}, align {align}")

    def prefetch(self, address: Value, *, to_write: bool = False) -> None:
        """Ask for what is at an address, or behind the end of everything, in the nearest cache."""
        self.module.declare("llvm.prefetch.p0", "void", ["ptr", "i32", "i32", "i32"])
        what = f"ptr {address.text}, i32 {int(to_write)}, i32 3, i32 1"
        self.do(f"call void @llvm.prefetch.p0({what})")

    def slot(self, type_: str, align: int = 64) -> Value:
        """A place on the stack, which LLVM turns into a register where it can."""
        name = self._name()
        self._slots.append(f"{name} = alloca {type_}, align {align}")
        return Value(name, "ptr")

    # ---- arithmetic of vectors and scalars -----------------------------------------------------

    def binary(self, operation: str, a: Value, b: Value) -> Value:
        """An instruction of two operands of one type, such as "and" or "shl"."""
        return self.op(f"{operation} {a.type} {a.text}, {b.text}", a.type)

    def fadd(self, a: Value, b: Value) -> Value:
        """a + b."""
        return self.binary("fadd contract", a, b)

    def fsub(self, a: Value, b: Value) -> Value:
        """a - b."""
        return self.binary("fsub contract", a, b)

    def fmul(self, a: Value, b: Value) -> Value:
        """a * b."""
        return self.binary("fmul contract", a, b)

    def fdiv(self, a: Value, b: Value) -> Value:
        """a / b."""
        return self.binary("fdiv", a, b)

    def fneg(self, a: Value) -> Value:
        """-a."""
        return self.op(f"fneg {a.type} {a.text}", a.type)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a * b + c, rounded once."""
        return self.call(f"llvm.fma.{_suffix(a.type)}", a.type, a, b, c)

    def fmaximum(self, a: Value, b: Value) -> Value:
        """The larger of two, NaN passed on."""
        return self.call(f"llvm.maximum.{_suffix(a.type)}", a.type, a, b)

    def shuffle(self, a: Value, b: Value, lanes: Iterable[int]) -> Value:
        """Some lanes of two vectors, those of the second numbered on from those of the first."""
        chosen = [f"i32 {lane}" for lane in lanes]
        element = a.type[1:-1].split()[-1]
        mask = f"<{len(chosen)} x i32> <{', '.join(chosen)}>"
        return self.op(f"shufflevector {_typed([a, b])}, {mask}", f"<{len(chosen)} x {element}>")

    def fcmp(self, relation: FloatRelation, a: Value, b: Value) -> Value:
        """Truth of a relation of numbers, a lane each."""
        return self.op(f"fcmp {relation} {a.type} {a.text}, {b.text}", _truth(a.type))

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        """`a` where the condition holds, `b` elsewhere."""
        return self.op(f"select {_typed([condition, a, b])}", a.type)

    def bitcast(self, a: Value, type_: str) -> Value:
        """The same bits as another type."""
        return self.op(f"bitcast {a.type} {a.text} to {type_}", type_)

    def broadcast(self, scalar: Value, vector: Vector) -> Value:
        """A number in every lane."""
        first = self.op(
            f"insertelement {vector.type} poison, {scalar.type} {scalar.text}, i64 0", vector.type
        )
        zeros = f"<{vector.lanes} x i32> zeroinitializer"
        return self.op(
            f"shufflevector {vector.type} {first.text}, {vector.type} poison, {zeros}", vector.type
        )

    # ---- control flow --------------------------------------------------------------------------

    @contextmanager
    def loop(self, stop: Index, start: Index = 0, step: Index = 1) -> Iterator[Value]:
        """For i in range(start, stop, step); the step is positive."""
        before, head, body, latch, after = self._block, *(self._label() for _ in range(4))
        self.do(f"br label %{head}")
        self._open(head)
        following = self._name()
        i = self.op(
            f"phi i64 [{self.index(start).text}, %{before}], [{following}, %{latch}]", "i64"
        )
        going = self.compare("slt", i, stop)
        self.do(f"br i1 {going.text}, label %{body}, label %{after}")
        self._open(body)
        yield i
        self.do(f"br label %{latch}")
        self._open(latch)
        self.do(f"{following} = add nsw i64 {i.text}, {self.index(step).text}")
        self.do(f"br label %{head}")
        self._open(after)

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Run the `with` block only where the condition (i1) holds."""
        inside, after = self._label(), self._label()
        self.do(f"br i1 {condition.text}, label %{inside}, label %{after}")
        self._open(inside)
        yield
        self.do(f"br label %{after}")
        self._open(after)

    def cases(self, value: Value, numbers: Sequence[int]) -> Iterator[int]:
        """For each number, write what follows for the case that the value equals it."""
        after, labels = self._label(), {n: self._label() for n in numbers}
        listed = " ".join(f"i64 {n}, label %{label}" for n, label in labels.items())
        self.do(f"switch i64 {value.text}, label %{after} [{listed}]")
        for number, label in labels.items():
            self._open(label)
            yield number
            self.do(f"br label %{after}")
        self._open(after)

    @contextmanager
    def repeat(self) -> Iterator[Repeat]:
        """Run the `with` block again and again until its `leave` holds."""
        head, after = self._label(), self._label()
        self.do(f"br label %{head}")
        self._open(head)
        repeat = Repeat()
        yield repeat
        if repeat.leave is None:
            raise CodegenError("a repeated block must set when it leaves")
        self.do(f"br i1 {repeat.leave.text}, label %{after}, label %{head}")
        self._open(after)


class Repeat:
    """Says when a repeated block ends: the i1 to be set in it."""

    leave: Value | None = None


def _typed(values: Sequence[Value]) -> str:
    return ", ".join(f"{v.type} {v.text}" for v in values)


def _suffix(type_: str) -> str:
    bits = {"float": "f32", "double": "f64"}
    if not type_.startswith("<"):
        return bits[type_]
    lanes, _, element = type_[1:-1].split()
    return f"v{lanes}{bits[element]}"


def _truth(type_: str) -> str:
    return f"<{type_[1:].split()[0]} x i1>" if type_.startswith("<") else "i1"
