"""What makes one variable of several: sums, products and extremes, entry by entry, and joined ones.

Entry by entry, an axis of size 1 is repeated, as in a gate (batch, channels, 1, 1) of
(batch, channels, height, width): which axes have size 1 is seen when a function runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import theano.tensor as T
from theano.compile.ops import Rebroadcast
from theano.ifelse import ifelse
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import check_count, check_dtype, check_floating, check_values
from theano_impl.support.layer import Layer

__all__ = ["Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract"]


class Add(Layer):
    """The sum of two or more."""

    def __init__(self, *values: TensorVariable) -> None:
        super().__init__(*values, config={})
        self.output = _combined(T.add, values)


class Multiply(Layer):
    """The product of two or more."""

    def __init__(self, *values: TensorVariable) -> None:
        super().__init__(*values, config={})
        self.output = _combined(T.mul, values)


class Maximum(Layer):
    """The largest of two or more, with the gradient of a tie to the first; NaN where one is NaN."""

    def __init__(self, *values: TensorVariable) -> None:
        super().__init__(*values, config={})
        # T.maximum sends the gradient of a tie to both.
        self.output = _combined(lambda x, y: T.switch(T.ge(x, y) | T.isnan(x), x, y), values)


class Minimum(Layer):
    """The smallest of two or more, with the gradient of a tie to the first; NaN where one is."""

    def __init__(self, *values: TensorVariable) -> None:
        super().__init__(*values, config={})
        self.output = _combined(lambda x, y: T.switch(T.le(x, y) | T.isnan(x), x, y), values)


class Average(Layer):
    """The mean of two or more."""

    def __init__(self, *values: TensorVariable) -> None:
        super().__init__(*values, config={})
        total = _combined(T.add, values)
        self.output = total / T.constant(len(values), dtype=total.dtype)


class Subtract(Layer):
    """The first less the second."""

    def __init__(self, x: TensorVariable, subtracted: TensorVariable) -> None:
        super().__init__(x, subtracted, config={})
        self.output = _combined(T.sub, (x, subtracted))


class Concatenate(Layer):
    """Two or more, one behind the other along the last axis, or along the channels, axis 1."""

    def __init__(self, *values: TensorVariable, axis: int = -1) -> None:
        axis = check_count("axis", axis, least=-1, most=1)
        if axis == 0:
            raise ValueError("axis: expected -1 or 1, got 0")
        super().__init__(*values, config={"axis": axis})
        _check_alike(values)
        check_count("values[0].ndim", values[0].ndim, least=2)
        self.output = T.concatenate(values, axis % values[0].ndim)


def _combined(
    operation: Callable[[TensorVariable, TensorVariable], TensorVariable],
    values: tuple[TensorVariable, ...],
) -> TensorVariable:
    _check_alike(values)
    return functools.reduce(lambda x, y: operation(*_broadcast(x, y)), values)


def _broadcast(x: TensorVariable, y: TensorVariable) -> list[TensorVariable]:
    """Both with the sizes of the larger one: Theano repeats no axis that its type leaves open."""
    if x.broadcastable == y.broadcastable and all(x.broadcastable[1:]):
        return [x, y]
    same = T.all(T.eq(x.shape, y.shape))
    fits = T.all(T.eq(x.shape, y.shape) | T.eq(x.shape, 1) | T.eq(y.shape, 1))
    x = check_values(x, fits, "values", "equal sizes, or 1 on an axis")
    repeated = [x, y]
    for axis in range(1, x.ndim):
        size = T.maximum(x.shape[axis], y.shape[axis])
        # Entry 0 again and again, or each in its turn.
        repeated = [
            one.take(T.arange(size) * T.neq(one.shape[axis], 1), axis=axis) for one in repeated
        ]
    # T.patternbroadcast fails where it would be moved before an operation of one variable.
    opened = Rebroadcast(*[(axis, False) for axis in range(x.ndim)])
    pairs = zip((x, y), repeated, strict=True)
    return [ifelse(same, opened(whole), opened(other)) for whole, other in pairs]


def _check_alike(values: tuple[TensorVariable, ...]) -> None:
    """Errors unless all are floating, of one dtype, and have as many axes."""
    check_count("len(values)", len(values), least=2)
    for place, one in enumerate(values):
        check_floating(f"values[{place}]", one, ndim=values[0].ndim if place else None)
        check_dtype(f"values[{place}]", one, values[0].dtype)
