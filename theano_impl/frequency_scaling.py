"""Rows of an embedding table learn at a rate that grows with how rare their ids are.

    mean      = Σ count / (number of ids that occur), the padding's id 0 left out
    weight_id = max(1, mean / count_id), and 0 for the padding

    scaled gradient    gradient_id · weight_id, before the optimizer's step
    scaled update      before_id + weight_id · (after_id − before_id), around the step

For plain gradient descent both are the same. Adam, Adagrad, RMSprop, SMORMS3 and every other rule
that divides a gradient by its own past size make the same step for any constant multiple of it: a
scaled gradient changes nothing there, and a scaled update is the way.

Word2vec drops frequent words, which reduces what they learn. Here nothing is reduced: an id that
occurs as often as the average, or more often, keeps its gradient, and a rarer id gets the total
gradient of an average one. The mean of the weights over all tokens is between 1 and 2, because
Σ max(count, mean) is at most 2 Σ count: the learning rate can stay. No weight is above the mean.

Source: gradients scaled by the inverse frequency of the words, from a fixed table of one weight for
each id, as a remedy for rare words that get few updates. The lower bound of 1 is added here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
import theano
import theano.tensor as T
from theano.compile.sharedvalue import SharedVariable
from theano.scalar import Add
from theano.tensor.elemwise import Elemwise
from theano.tensor.subtensor import AdvancedIncSubtensor1
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import check_dtype, check_floating, check_values
from theano_impl.support.sparse_gradients import is_zero


def inverse_frequency_weights(counts: np.ndarray) -> np.ndarray:
    """One weight for each id of a vocabulary: the rarer an id, the larger its weight.

        weight_id = max(1, mean / count_id), and 0 for the padding's id 0

    Args:
        counts: (vocabulary,) integers, how often each id occurs, as from `np.bincount`. The
            count of id 0 is ignored. An id that never occurs has the weight of one that occurs
            once.
    Returns:
        (vocabulary,) floating, an array in Theano's `floatX`.
    Raises:
        TypeError: counts that are not integers. ValueError: a negative count, no id that occurs.
    Example:
        >>> inverse_frequency_weights(np.array([9, 1, 2, 6])).tolist()  # the mean is 3
        [0.0, 3.0, 1.5, 1.0]
    """
    counts = np.asarray(counts)
    if counts.dtype.kind not in "iu":
        raise TypeError(f"counts: expected integers, got {counts.dtype}")
    if counts.ndim != 1:
        raise ValueError(f"counts: expected 1 axes, got shape {counts.shape}")
    if (counts < 0).any():
        raise ValueError(f"counts: expected no negative numbers, got {counts.min()}")
    found = counts[1:][counts[1:] > 0]
    if not found.size:
        raise ValueError(f"counts: expected an id above 0 that occurs, got {counts.tolist()!s:.99}")
    weights = np.maximum(found.mean() / np.maximum(counts, 1), 1)
    weights[0] = 0
    return weights.astype(theano.config.floatX)


def scale_gradients_by_frequency(
    gradients: Sequence[TensorVariable], weights: np.ndarray | TensorVariable
) -> list[TensorVariable]:
    """The gradients of tables, row `id` of each multiplied by weights[id].

        gradient_id · weight_id

    For gradient descent, with or without momentum. It cancels in every rule that divides the
    gradient by its own past size (Adam, Adagrad, RMSprop, SMORMS3 and others): use
    `scale_updates_by_frequency` with these.

    Args:
        gradients: of embedding tables, (vocabulary, dim), as from `T.grad`. A gradient that adds
            rows to zeros, as that of `table[ids]` with ids along one axis, stays so: its rows are
            scaled before they are added. So are sums of such gradients.
        weights: (vocabulary,), of the gradients' dtype.
    Returns:
        The scaled gradients, in their order.
    Raises:
        TypeError: weights of another dtype. AssertionError: when it runs, for a table of another
            vocabulary.
    Example:
        >>> scaled = scale_gradients_by_frequency([T.ones((3, 2))], np.array([0.0, 3.0, 1.0]))
        >>> scaled[0].eval().tolist()
        [[0.0, 0.0], [3.0, 3.0], [1.0, 1.0]]
    """
    weights = T.as_tensor_variable(weights)
    check_floating("weights", weights, ndim=1)
    found = []
    for index, gradient in enumerate(gradients):
        check_dtype("weights", weights, gradient.dtype)
        fits = T.eq(weights.shape[0], gradient.shape[0])
        wanted = f"one for each row of gradient {index}"
        found.append(_scaled(gradient, check_values(weights, fits, "weights", wanted)))
    return found


def scale_updates_by_frequency(
    updates: Mapping[SharedVariable, TensorVariable]
    | Sequence[tuple[SharedVariable, TensorVariable]],
    params: SharedVariable | Sequence[SharedVariable],
    weights: np.ndarray | TensorVariable,
) -> OrderedDict[SharedVariable, TensorVariable]:
    """The updates of a step, row `id` of each table moved by weights[id] times as much.

        row_id ← before_id + weight_id · (after_id − before_id)

    For every optimizer, because the result of a step is scaled: also rows that momentum moves
    without a gradient, and weight decay inside the step. A weight of 1 keeps a row's step to the
    bit, and a weight of 0 keeps the row. A step that sets or increments some rows, as SMORMS3 does
    after a lookup, stays so and costs what its rows cost.

    Args:
        updates: of a step, as from an optimizer's `updates`, or pairs of a shared variable and its
            new value.
        params: embedding tables among them, (vocabulary, dim).
        weights: (vocabulary,), of the tables' dtype.
    Returns:
        The updates, in their order, for `theano.function(..., updates=...)`.
    Raises:
        TypeError: weights of another dtype. ValueError: a param without an update. AssertionError:
            when it runs, for a table of another vocabulary.
    Example:
        >>> table = theano.shared(np.zeros((3, 1)))
        >>> weights = np.array([0.0, 3.0, 1.0])
        >>> updates = scale_updates_by_frequency([(table, table + 0.1)], table, weights)
        >>> theano.function([], [], updates=updates)()
        []
        >>> table.get_value().ravel().tolist()
        [0.0, 0.3..., 0.1...]
    """
    weights = T.as_tensor_variable(weights)
    check_floating("weights", weights, ndim=1)
    found = OrderedDict(updates)
    tables = [params] if isinstance(params, SharedVariable) else list(params)
    for index, table in enumerate(tables):
        if table not in found:
            raise ValueError(f"params: expected those that updates move, got another at {index}")
        check_dtype("weights", weights, table.dtype)
        fits = T.eq(weights.shape[0], table.shape[0])
        own = check_values(weights, fits, "weights", f"one for each row of param {index}")
        found[table] = _scaled_update(table, T.as_tensor_variable(found[table]), own)
    return found


def _scaled_update(
    table: SharedVariable, after: TensorVariable, weights: TensorVariable
) -> TensorVariable:
    """The new value of a table; only the rows that a step sets or increments, if it does that."""
    node = after.owner
    if node and isinstance(node.op, AdvancedIncSubtensor1) and node.inputs[0] is table:
        _, rows, ids = node.inputs
        if node.op.set_instead_of_inc:
            return node.op(table, _between(table[ids], rows, weights[ids]), ids)
        return node.op(table, rows * _column(weights[ids], table.ndim), ids)
    return _between(table, after, weights)


def _between(
    before: TensorVariable, after: TensorVariable, weights: TensorVariable
) -> TensorVariable:
    """before + weight · (after − before) of each row, exact for weights of 0 and 1."""
    own, change = _column(weights, before.ndim), after - before
    one, half = (np.asarray(number, weights.dtype) for number in (1, 0.5))
    return T.switch(own < half, before + own * change, after - (one - own) * change)


def _scaled(gradient: TensorVariable, weights: TensorVariable) -> TensorVariable:
    """A gradient with scaled rows, taken into sums and into increments of zeros."""
    node = gradient.owner
    op = None if node is None else node.op
    if isinstance(op, Elemwise) and isinstance(op.scalar_op, Add):
        return T.add(*(_scaled(one, weights) for one in node.inputs))
    if isinstance(op, AdvancedIncSubtensor1) and not op.set_instead_of_inc:
        start, rows, ids = node.inputs
        if is_zero(start):
            return op(start, rows * _column(weights[ids], start.ndim), ids)
    return gradient * _column(weights, gradient.ndim)


def _column(weights: TensorVariable, rank: int) -> TensorVariable:
    return weights.dimshuffle(0, *["x"] * (rank - 1))
