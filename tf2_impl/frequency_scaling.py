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

from collections.abc import Sequence
from typing import TypeAlias

import keras
import tensorflow as tf

from tf2_impl.smorms3 import SMORMS3
from tf2_impl.sparse_dense_optimizer import SparseDenseOptimizer
from tf2_impl.support.checks import check_dtype, check_floating, check_integers, check_values
from tf2_impl.support.precision import single, widened

Gradient: TypeAlias = tf.Tensor | tf.IndexedSlices | None
Variable: TypeAlias = keras.Variable | tf.Variable


def inverse_frequency_weights(counts: tf.Tensor) -> tf.Tensor:
    """One weight for each id of a vocabulary: the rarer an id, the larger its weight.

        weight_id = max(1, mean / count_id), and 0 for the padding's id 0

    Args:
        counts: (vocabulary,) integers, how often each id occurs, as from `tf.math.bincount`. The
            count of id 0 is ignored. An id that never occurs has the weight of one that occurs
            once.
    Returns:
        (vocabulary,) floating, in Keras's `floatx`.
    Raises:
        TypeError: counts that are not integers. ValueError: a negative count, no id that occurs.
    Example:
        >>> inverse_frequency_weights(tf.constant([9, 1, 2, 6])).numpy().tolist()  # the mean is 3
        [0.0, 3.0, 1.5, 1.0]
    """
    counts = tf.convert_to_tensor(counts)
    check_integers("counts", counts, ndim=1)
    negative = tf.boolean_mask(counts, counts < 0)
    check_values(tf.size(negative) == 0, "counts", "no negative numbers", negative)
    found = tf.cast(tf.boolean_mask(counts[1:], counts[1:] > 0), tf.float64)
    check_values(tf.size(found) > 0, "counts", "an id above 0 that occurs", counts)
    weights = tf.reduce_mean(found) / tf.maximum(tf.cast(counts, tf.float64), 1)
    weights = tf.concat([[0.0], tf.maximum(weights[1:], 1)], axis=0)
    return tf.cast(weights, keras.config.floatx())


def scale_gradients_by_frequency(
    gradients: Sequence[Gradient], weights: tf.Tensor
) -> list[Gradient]:
    """The gradients of tables, row `id` of each multiplied by weights[id].

        gradient_id · weight_id

    For gradient descent, with or without momentum. It cancels in every rule that divides the
    gradient by its own past size (Adam, Adagrad, RMSprop, SMORMS3 and others): use
    `scale_updates_by_frequency` with these.

    Args:
        gradients: of embedding tables, (vocabulary, dim); None stays None. IndexedSlices stay
            IndexedSlices, and cost what their rows cost.
        weights: (vocabulary,), of the gradients' dtype, or float32 for half gradients.
    Returns:
        The scaled gradients, in their order.
    Raises:
        TypeError: weights of another dtype. ValueError: a table of another vocabulary.
    Example:
        >>> scaled = scale_gradients_by_frequency([tf.ones((3, 2))], tf.constant([0.0, 3.0, 1.0]))
        >>> scaled[0].numpy().tolist()
        [[0.0, 0.0], [3.0, 3.0], [1.0, 1.0]]
    """
    weights = widened(tf.convert_to_tensor(weights))
    check_floating("weights", weights, ndim=1)
    return [
        None if one is None else _scaled(one, weights, index) for index, one in enumerate(gradients)
    ]


def scale_updates_by_frequency(
    optimizer: keras.optimizers.Optimizer,
    variables: Variable | Sequence[Variable],
    weights: tf.Tensor,
) -> None:
    """Let each step of an optimizer move row `id` of a table by weights[id] times as much.

        row_id ← before_id + weight_id · (after_id − before_id)

    For every optimizer, because the result of a step is scaled: also rows that momentum moves
    without a gradient. `SparseDenseOptimizer`, `LossScaleOptimizer`, schedules, `fit` and
    `tf.function` work as before. A weight of 1 keeps a row's step to the bit, and a weight of 0
    keeps the row. Keras applies weight decay before the step, and moving averages and constraints
    after it: these are not scaled.

    A step with IndexedSlices costs what its rows cost with SMORMS3 and with SGD without momentum.
    Other optimizers compute over the whole table, and it is copied. Call this before the first
    step: a step that is compiled already stays as it is. The optimizer is saved without the
    scaling: set it again on one that is loaded.

    Args:
        optimizer: any Keras optimizer.
        variables: embedding tables, (vocabulary, dim), built.
        weights: (vocabulary,), of the tables' dtype, or float32 for half tables.
    Raises:
        TypeError: no optimizer, weights of another dtype. ValueError: a table of another
            vocabulary.
    Example:
        >>> table = keras.Variable([[0.0], [0.0], [0.0]])
        >>> optimizer = keras.optimizers.Adam(0.1)
        >>> scale_updates_by_frequency(optimizer, table, tf.constant([0.0, 3.0, 1.0]))
        >>> optimizer.apply([-tf.ones((3, 1))], [table])
        >>> table.numpy().flatten().round(4)
        array([0. , 0.3, 0.1], dtype=float32)
    """
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TypeError(f"optimizer: expected a Keras optimizer, got {type(optimizer).__name__}")
    weights = widened(tf.convert_to_tensor(weights))
    check_floating("weights", weights, ndim=1)
    tables = variables if isinstance(variables, list | tuple) else [variables]
    for index, table in enumerate(tables):
        check_dtype("weights", weights, single(tf.as_dtype(table.dtype)))
        if not weights.shape.is_compatible_with(table.shape[:1]):
            raise ValueError(
                f"weights: expected one for each row of variable {index}, {tuple(table.shape)}, "
                f"got shape {weights.shape}"
            )
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        scale_updates_by_frequency(optimizer.inner_optimizer, tables, weights)
    elif isinstance(optimizer, SparseDenseOptimizer):
        scale_updates_by_frequency(optimizer.sparse, tables, weights)
        scale_updates_by_frequency(optimizer.dense, tables, weights)
    else:
        _scale_steps(optimizer, tables, weights)


def _scale_steps(
    optimizer: keras.optimizers.Optimizer, tables: Sequence[Variable], weights: tf.Tensor
) -> None:
    """Let an optimizer's step of one variable be followed by the scaling of its result.

    The method is replaced on the instance. A wrapper class would have to repeat every optimizer's
    state, schedule and saving, and Keras calls nothing else between decay and moving averages.
    """
    step = optimizer.update_step
    keys = {optimizer._var_key(table) for table in tables}
    plain = isinstance(optimizer, keras.optimizers.SGD) and optimizer.momentum == 0
    by_rows = plain or isinstance(optimizer, SMORMS3)  # they leave other rows alone

    def scaled_step(
        gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        if optimizer._var_key(variable) not in keys:
            step(gradient, variable, learning_rate)
        elif isinstance(gradient, tf.IndexedSlices) and by_rows:
            indices = tf.cast(gradient.indices, tf.int64)  # variables take no narrower ones
            gradient = tf.IndexedSlices(gradient.values, indices, gradient.dense_shape)
            ids, _ = tf.unique(indices)
            before = tf.gather(variable, ids)
            step(gradient, variable, learning_rate)
            rows = _between(before, tf.gather(variable, ids), tf.gather(weights, ids))
            optimizer.assign(variable, tf.IndexedSlices(rows, ids))
        else:
            before = tf.identity(variable)
            step(gradient, variable, learning_rate)
            optimizer.assign(variable, _between(before, tf.identity(variable), weights))

    optimizer.update_step = scaled_step


def _between(before: tf.Tensor, after: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """before + weight · (after − before) of each row, exact for weights of 0 and 1."""
    before, after = widened(before), widened(after)
    own = tf.reshape(weights, [-1] + [1] * (before.shape.rank - 1))
    change = after - before
    return tf.where(own < 0.5, before + own * change, after - (1 - own) * change)


def _scaled(
    gradient: tf.Tensor | tf.IndexedSlices, weights: tf.Tensor, index: int
) -> tf.Tensor | tf.IndexedSlices:
    check_dtype("weights", weights, single(gradient.dtype))
    if not weights.shape.is_compatible_with(gradient.shape[:1]):
        raise ValueError(
            f"weights: expected one for each row of gradient {index}, {gradient.shape}, "
            f"got shape {weights.shape}"
        )
    if isinstance(gradient, tf.IndexedSlices):
        rows = _scaled_rows(gradient.values, tf.gather(weights, gradient.indices))
        return tf.IndexedSlices(rows, gradient.indices, gradient.dense_shape)
    return _scaled_rows(gradient, weights)


def _scaled_rows(rows: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    scaled = widened(rows) * tf.reshape(weights, [-1] + [1] * (rows.shape.rank - 1))
    return tf.cast(scaled, rows.dtype)
