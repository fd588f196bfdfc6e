"""What has no entry of its own in a file, and becomes part of one: the values of `Symbol`s.

What attention is made of (heads, scores, a mask) is followed by these, until a product with the
values makes an Attention of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pytorch_impl.interchange.graph_values import Symbol, Value
from pytorch_impl.interchange.operations.recurrent import Half, Memory, States


@dataclass(frozen=True)
class Constant(Symbol):
    """A parameter or a buffer that the forward reads; times: whether it was cut to a length."""

    tensor: Tensor
    path: str
    cut: bool = False


@dataclass(frozen=True)
class Kind(Symbol):
    """The dtype or the device of a tensor, as `name` says."""

    name: str


@dataclass(frozen=True)
class Positions(Symbol):
    """A table's row for each time: memory in the shape (positions, dim)."""

    table: Tensor
    path: str
    cut: bool


@dataclass(frozen=True)
class Mask(Symbol):
    """Which times count: where a value is not 0, or with `padding` where it is.

    axes: of the mask. additive: whether it is far below 0 elsewhere, to be added to scores.
    boolean: whether it is of bools, which leave keys out where numbers would be added to scores.
    """

    value: Value
    padding: bool = False
    axes: str = "bt"  # "bt1" as a factor, "b11t" or "b1t" beside scores
    additive: bool = False
    boolean: bool = False


@dataclass(frozen=True)
class Heads(Symbol):
    """Features in equal parts: axes "bthd" as viewed, "bhtd" moved, "bhdt" turned."""

    value: Value
    count: int
    axes: str = "bthd"


@dataclass(frozen=True)
class Scores(Symbol):
    """Products of queries and keys; shares: whether they have become shares by a softmax."""

    query: Value
    key: Value
    heads: int
    single: bool  # whether they have no axis of heads
    scale: float = 1.0
    mask: Mask | None = None
    causal: bool = False
    shares: bool = False


@dataclass(frozen=True)
class Masked(Symbol):
    """A sequence times a mask; total: whether it has been summed over time."""

    value: Value
    mask: Mask
    total: bool = False


@dataclass(frozen=True)
class Count(Symbol):
    """How many times a mask leaves, (batch, 1)."""

    mask: Mask


class Unread(Symbol):
    """The shares of an nn.MultiheadAttention, which no file has."""


def unused(symbol: Symbol, by: str) -> str:
    """Why a symbol is an obstacle to a call."""
    if isinstance(symbol, Constant):
        kind = type(symbol.tensor).__name__
        return f"{kind} {symbol.path}, which no layer of files reads"
    if isinstance(symbol, Memory | Half):
        return f"{by} of a state of one direction, or of a memory,"
    names = {Mask: "a mask", Positions: "positions", States: "states of a recurrent layer"}
    what = names.get(type(symbol), "a part of attention")
    return f"{by} of {what}, where files have attention, masked means and sums with positions,"
