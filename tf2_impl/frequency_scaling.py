"""Gradient rows of an embedding table, scaled by how rare their ids are.

    mean      = Σ count / (number of ids that occur), the padding's id 0 left out
    weight_id = max(1, mean / count_id), and 0 for the padding

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

from tf2_impl.checks import check_dtype, check_floating, check_integers, check_values
from tf2_impl.precision import single, widened

Gradient: TypeAlias = tf.Tensor | tf.IndexedSlices | None


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
