"""Rows of an embedding table learn at a rate that grows with how rare their ids are.

    mean      = Σ count / (number of ids that occur), the padding's id 0 left out
    weight_id = max(1, mean / count_id), and 0 for the padding

    scaled gradient    gradient_id · weight_id, before the optimizer's step
    scaled update      before_id + weight_id · (after_id − before_id), around the step

With plain gradient descent the two are the same. Adam, Adagrad, RMSprop, SMORMS3 and every other
rule that divides a gradient by its own past size give the same step for any constant multiple of
it: a scaled gradient changes nothing there, and a scaled update is the way.

Word2vec drops frequent words, which damps what they learn. Here nothing is damped: an id that
occurs as often as the average, or more often, keeps its gradient, and a rarer one gets the total
of an average one. Over all tokens the weights have a mean between 1 and 2 (Σ max(count, mean) is
at most 2 Σ count), so the learning rate may stay, and none is above the mean count.

Source: seed topic, challenges with real-world embeddings (their gradients are scaled by inverse
frequency; the floor at 1 is what keeps the frequent ids from being damped).
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


def inverse_frequency_weights(counts: np.ndarray) -> np.ndarray:
    """(vocabulary,) weights, one for each id, in Theano's `floatX`: an array, made once.

    counts: (vocabulary,) integers, how often each id occurs, such as `np.bincount` gives.
    Padding may be among them: what stands at id 0 does not count, and its weight is 0. An id
    that never occurs has the weight of one that occurs once. ValueError for a negative count and
    when no id occurs, TypeError for counts that are not integers.
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
    """The gradients, with row `id` of each multiplied by weights[id].

    It works with gradient descent, with or without momentum. It cancels in every rule that divides
    the gradient by its own past size (Adam, Adagrad, RMSprop, SMORMS3 and the like): use
    `scale_updates_by_frequency` with these.

    gradients: those of `T.grad` for embedding tables, (vocabulary, dim). weights: (vocabulary,),
    of the gradients' dtype. A gradient that adds rows to zeros, which is what `T.grad` makes of
    `table[ids]` with ids along one axis, stays one: its rows are scaled before they are added. So
    do sums of such gradients. TypeError for a table of another dtype than the weights, and
    AssertionError, when it runs, for one of another vocabulary.
    """
    weights = T.as_tensor_variable(weights)
    check_floating("weights", weights, ndim=1)
    found = []
    for place, gradient in enumerate(gradients):
        check_dtype("weights", weights, gradient.dtype)
        fits = T.eq(weights.shape[0], gradient.shape[0])
        wanted = f"one for each row of gradient {place}"
        found.append(_scaled(gradient, check_values(weights, fits, "weights", wanted)))
    return found


def scale_updates_by_frequency(
    updates: Mapping[SharedVariable, TensorVariable]
    | Sequence[tuple[SharedVariable, TensorVariable]],
    params: SharedVariable | Sequence[SharedVariable],
    weights: np.ndarray | TensorVariable,
) -> OrderedDict[SharedVariable, TensorVariable]:
    """The updates, with row `id` of each table moved by weights[id] times as much.

    It works with every optimizer, as what is scaled is what a step does: rows that momentum moves
    without a gradient and the decay of weights inside the step, too. Weights of 1 leave a row's
    step as it is, to the bit, and weights of 0 leave the row.

    updates: those of a step, as an optimizer's `updates` or pairs of a shared variable and its new
    value. params: embedding tables, (vocabulary, dim), among them. weights: (vocabulary,), of the
    tables' dtype. A step that sets or increments some rows, as SMORMS3 does after a lookup, stays
    one and costs what its rows cost. ValueError for a param without an update, TypeError for a
    table of another dtype than the weights, and AssertionError, when it runs, for one of another
    vocabulary.

        updates = optimizer.updates(loss)
        weights = inverse_frequency_weights(counts)
        updates = scale_updates_by_frequency(updates, [embed.table], weights)
        train = theano.function(inputs, loss, updates=updates)
    """
    weights = T.as_tensor_variable(weights)
    check_floating("weights", weights, ndim=1)
    found = OrderedDict(updates)
    tables = [params] if isinstance(params, SharedVariable) else list(params)
    for place, table in enumerate(tables):
        if table not in found:
            raise ValueError(f"params: expected those that updates move, got another at {place}")
        check_dtype("weights", weights, table.dtype)
        fits = T.eq(weights.shape[0], table.shape[0])
        own = check_values(weights, fits, "weights", f"one for each row of param {place}")
        found[table] = _scaled_update(table, T.as_tensor_variable(found[table]), own)
    return found


def _scaled_update(
    table: SharedVariable, after: TensorVariable, weights: TensorVariable
) -> TensorVariable:
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
    node = gradient.owner
    op = None if node is None else node.op
    if isinstance(op, Elemwise) and isinstance(op.scalar_op, Add):
        return T.add(*(_scaled(one, weights) for one in node.inputs))
    if isinstance(op, AdvancedIncSubtensor1) and not op.set_instead_of_inc:
        start, rows, ids = node.inputs
        if _is_zero(start):
            return op(start, rows * _column(weights[ids], start.ndim), ids)
    return gradient * _column(weights, gradient.ndim)


def _is_zero(x: TensorVariable) -> bool:
    try:
        return T.get_scalar_constant_value(x) == 0
    except T.NotScalarConstantError:
        return False


def _column(weights: TensorVariable, rank: int) -> TensorVariable:
    return weights.dimshuffle(0, *["x"] * (rank - 1))
