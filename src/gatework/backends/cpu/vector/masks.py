"""Vectors of which only the first lanes count, and sums over the lanes of a vector."""

from __future__ import annotations

from typing import Literal

from gatework.backends.cpu.vector.ir import Builder
from gatework.backends.cpu.vector.values import Index, Value, Vector

Across = Literal["fadd", "fmaximum"]  # what is made of the lanes of a vector


def lane_mask(b: Builder, vector: Vector, remaining: Index) -> Value:
    """Truth for the first `remaining` lanes; none where it is negative, all where it is large."""
    some = b.smaller(remaining, vector.lanes)
    narrow = b.op(f"trunc i64 {b.index(some).text} to i32", "i32")
    lanes = ", ".join(f"i32 {i}" for i in range(vector.lanes))
    many = f"<{vector.lanes} x i32>"
    first = b.op(f"insertelement {many} poison, i32 {narrow.text}, i64 0", many)
    all_ = b.op(f"shufflevector {many} {first.text}, {many} poison, {many} zeroinitializer", many)
    return b.op(f"icmp slt {many} <{lanes}>, {all_.text}", vector.mask)


def masked_load(b: Builder, vector: Vector, address: Value, mask: Value) -> Value:
    """A vector of which the lanes outside of the mask are zero and not read."""
    name = f"llvm.masked.load.{vector.suffix}.p0"
    b.module.declare(name, vector.type, ["ptr", vector.mask, vector.type])
    return b.op(
        f"call {vector.type} @{name}(ptr align {vector.size} {address.text}, "
        f"{vector.mask} {mask.text}, {vector.type} zeroinitializer)",
        vector.type,
    )


def masked_store(b: Builder, vector: Vector, value: Value, address: Value, mask: Value) -> None:
    """Store the lanes inside of the mask."""
    name = f"llvm.masked.store.{vector.suffix}.p0"
    b.module.declare(name, "void", [vector.type, "ptr", vector.mask])
    b.do(
        f"call void @{name}({value.type} {value.text}, ptr align {vector.size} {address.text}, "
        f"{vector.mask} {mask.text})"
    )


def across(b: Builder, vector: Vector, value: Value, operation: Across) -> Value:
    """The sum ("fadd") or the maximum ("fmaximum") of a vector's lanes."""
    name = f"llvm.vector.reduce.{operation}.{vector.suffix}"
    if operation != "fadd":
        return b.call(name, vector.element, value)
    b.module.declare(name, vector.element, [vector.element, value.type])
    zero = f"{vector.element} -0.0"  # what can be added without changing anything
    return b.op(
        f"call reassoc {vector.element} @{name}({zero}, {value.type} {value.text})", vector.element
    )
