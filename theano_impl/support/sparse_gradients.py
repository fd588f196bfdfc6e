"""Which rows of a table a gradient touches, read off its graph.

Theano's gradient of table[ids] is a dense array: zeros, incremented at the ids. While it is only a
graph, the ids and the increments can still be taken out of it, and a sum over several lookups, or
a cast, does not hide them. Any other operation on the whole gradient, such as scaling it, makes
it dense: scale the loss, or the increments.
"""

from __future__ import annotations

from typing import NamedTuple

import theano.tensor as T
from theano.scalar.basic import Add, Cast
from theano.tensor.elemwise import Elemwise
from theano.tensor.extra_ops import Unique
from theano.tensor.subtensor import AdvancedIncSubtensor1
from theano.tensor.var import TensorVariable


class Rows(NamedTuple):
    """ids: (n,) int64, no two alike and none negative; values: (n, *row), the gradient there."""

    ids: TensorVariable
    values: TensorVariable


def sparse_rows(gradient: TensorVariable) -> Rows | None:
    """The rows of a table that its gradient touches, their increments summed; None if dense."""
    increments = _increments(gradient)
    if not increments:
        return None
    # Theano counts a negative id from the end; here each row is to have one number.
    size = gradient.shape[0]
    every = T.concatenate([T.cast(ids, "int64") for ids, _ in increments])
    every = T.switch((every < 0) & (every >= -size), every + size, every)
    ids, places = Unique(return_inverse=True)(every)
    row = [gradient.shape[axis] for axis in range(1, gradient.ndim)]
    values = T.zeros((ids.shape[0], *row), gradient.dtype)
    start = 0
    for own, increment in increments:
        stop = start + own.shape[0]
        values = T.inc_subtensor(values[places[start:stop]], T.cast(increment, gradient.dtype))
        start = stop
    return Rows(ids, values)


def _increments(gradient: TensorVariable) -> list[tuple[TensorVariable, TensorVariable]] | None:
    """(ids, increments) of every lookup that a gradient sums; None if there is anything else."""
    if is_zero(gradient):
        return []
    op, inputs = _made_by(gradient)
    if isinstance(op, AdvancedIncSubtensor1) and not op.set_instead_of_inc:
        zeros, increment, ids = inputs
        before = _increments(zeros)
        return None if before is None else [*before, (ids, increment)]
    if isinstance(op, Elemwise) and isinstance(op.scalar_op, Add | Cast):
        if any(one.broadcastable != gradient.broadcastable for one in inputs):
            return None
        parts = [_increments(one) for one in inputs]
        return None if None in parts else [pair for part in parts for pair in part or ()]
    return None


def is_zero(x: TensorVariable) -> bool:
    """Whether a graph is zeros of any shape."""
    try:
        return T.get_scalar_constant_value(x) == 0
    except T.NotScalarConstantError:
        return False


def _made_by(x: TensorVariable) -> tuple[object, list[TensorVariable]]:
    return (x.owner.op, x.owner.inputs) if x.owner else (None, [])
