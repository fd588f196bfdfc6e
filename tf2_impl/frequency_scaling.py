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
    """(vocabulary,) weights, one for each id, in Keras's `floatx`.

    counts: (vocabulary,) integers, how often each id occurs, such as `tf.math.bincount` gives.
    Padding may be among them: what stands at id 0 does not count, and its weight is 0. An id
    that never occurs has the weight of one that occurs once. ValueError for a negative count and
    when no id occurs, TypeError for counts that are not integers.
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
    """The gradients, with row `id` of each multiplied by weights[id].

    It works with gradient descent, with or without momentum. It cancels in every rule that divides
    the gradient by its own past size (Adam, Adagrad, RMSprop, SMORMS3 and the like): use
    `scale_updates_by_frequency` with these.

    gradients: of embedding tables, (vocabulary, dim); None stays None. weights: (vocabulary,), of
    the gradients' dtype, or float32 for gradients in half precision. An IndexedSlices stays one and
    costs what its rows cost, whether or not an id comes several times. ValueError for a table of
    another vocabulary, and TypeError for one of another dtype than the weights.
    """
    weights = widened(tf.convert_to_tensor(weights))
    check_floating("weights", weights, ndim=1)
    return [
        None if one is None else _scaled(one, weights, place) for place, one in enumerate(gradients)
    ]


def scale_updates_by_frequency(
    optimizer: keras.optimizers.Optimizer,
    variables: Variable | Sequence[Variable],
    weights: tf.Tensor,
) -> None:
    """From now on, steps of an optimizer move row `id` of a table by weights[id] times as much.

    It works with every optimizer, as what is scaled is what a step has done: rows that momentum
    moves without a gradient, too. `SparseDenseOptimizer`, `LossScaleOptimizer`, schedules, `fit`
    and `tf.function` are as before. Weights of 1 leave a row's step as it is, to the bit, and
    weights of 0 leave the row. Keras takes weight decay off before the step, and moving averages
    and constraints come after it: these are not scaled.

    variables: built embedding tables, (vocabulary, dim). weights: (vocabulary,), of the tables'
    dtype, or float32 for tables in half precision. A step with IndexedSlices costs what its rows
    cost with SMORMS3 and SGD without momentum; with the others, which compute over the whole table,
    the table is copied. Call it before the first step: a step that is already compiled stays as it
    is. What is saved is the optimizer without it: set it again on one that is loaded. ValueError
    for a table of another vocabulary, TypeError for one of another dtype than the weights.

        optimizer = keras.optimizers.Adam()
        weights = inverse_frequency_weights(counts)
        scale_updates_by_frequency(optimizer, embedding.embeddings, weights)
        model.compile(optimizer, ...)
    """
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TypeError(f"optimizer: expected a Keras optimizer, got {type(optimizer).__name__}")
    weights = widened(tf.convert_to_tensor(weights))
    check_floating("weights", weights, ndim=1)
    tables = variables if isinstance(variables, list | tuple) else [variables]
    for place, table in enumerate(tables):
        check_dtype("weights", weights, single(tf.as_dtype(table.dtype)))
        if not weights.shape.is_compatible_with(table.shape[:1]):
            raise ValueError(
                f"weights: expected one for each row of variable {place}, {tuple(table.shape)}, "
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
    """Replace the step of one variable by itself and the scaling of what it has done.

    That of an instance, not of a class: a wrapper would have to be every optimizer's twin in
    state, schedule and saving, and Keras calls nothing else between decay and moving averages.
    """
    step = optimizer.update_step
    keys = {optimizer._var_key(table) for table in tables}
    plain = isinstance(optimizer, keras.optimizers.SGD) and optimizer.momentum == 0
    by_rows = plain or isinstance(optimizer, SMORMS3)  # these leave absent rows alone

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
    gradient: tf.Tensor | tf.IndexedSlices, weights: tf.Tensor, place: int
) -> tf.Tensor | tf.IndexedSlices:
    check_dtype("weights", weights, single(gradient.dtype))
    if not weights.shape.is_compatible_with(gradient.shape[:1]):
        raise ValueError(
            f"weights: expected one for each row of gradient {place}, {gradient.shape}, "
            f"got shape {weights.shape}"
        )
    if isinstance(gradient, tf.IndexedSlices):
        rows = _scaled_rows(gradient.values, tf.gather(weights, gradient.indices))
        return tf.IndexedSlices(rows, gradient.indices, gradient.dense_shape)
    return _scaled_rows(gradient, weights)


def _scaled_rows(rows: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    scaled = widened(rows) * tf.reshape(weights, [-1] + [1] * (rows.shape.rank - 1))
    return tf.cast(scaled, rows.dtype)
