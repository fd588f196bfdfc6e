"""Feedback network: from coarse classes to fine ones, by a GRU that is fed the same features.

    features = relu(layer_norm(x·W + b))
    h_l      = GRU(features, h_{l−1}), from h_{−1} = 0, for the levels l = 0, 1, … of a taxonomy
    p_l      = softmax(h_l·W_l + b_l)
    loss     = Σ_l w_l · mean of −log p_l[label at level l]

The state carries what the network has predicted at one level to the next, finer one. All w_l are 1,
or follow a curriculum in which one level joins after the other.

Sources: Zamir et al. (2016), Feedback networks, arXiv 1612.09508; an article that applies them to
the genres, sub-genres and themes of movies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tf2_impl.layers.normalization import layer_norm
from tf2_impl.layers.recurrent import hidden_gates, input_gates, make_gru, next_state
from tf2_impl.support.checks import (
    check_count,
    check_counts,
    check_dtype,
    check_floating,
    check_integers,
    check_not_empty,
    check_number,
    check_size,
    check_values,
    check_width,
    size,
)
from tf2_impl.support.initializers import GlorotUniform
from tf2_impl.support.layer import Layer
from tf2_impl.support.linear import make_linear
from tf2_impl.support.precision import in_compute_dtype, in_single_precision


@in_single_precision
def level_losses(labels: tf.Tensor, *log_probabilities: tf.Tensor) -> tf.Tensor:
    """Mean negative log-likelihood of the labels at each level; their sum is the loss.

        loss_l = mean of −log p_l[label at level l]

    Args:
        labels: (batch, levels) integers, the class at each level.
        log_probabilities: (batch, classes) for each level, as from a `FeedbackNetwork`. Halves
            compute in float32.
    Returns:
        (levels,), the loss of each level.
    Raises:
        TypeError: labels that are not integers; integer or different dtypes at the levels.
        ValueError: an empty batch, sizes that differ, a label that is no class of its level.
    Example:
        >>> even = tf.math.log([[0.5, 0.5]])
        >>> level_losses(tf.constant([[1, 0]]), even, even).numpy().round(4)
        array([0.6931, 0.6931], dtype=float32)
    """
    labels = tf.convert_to_tensor(labels)
    check_integers("labels", labels, ndim=2)
    check_not_empty("labels", labels)
    if not log_probabilities:
        raise ValueError("log_probabilities: expected at least one level, got none")
    check_size("labels", labels, 1, len(log_probabilities), "columns")
    labels = tf.cast(labels, tf.int64)  # a narrow dtype may not hold the number of classes
    levels = [tf.convert_to_tensor(log_p) for log_p in log_probabilities]
    _check_levels(labels, levels)
    return tf.stack(
        [
            -tf.reduce_mean(tf.gather(log_p, labels[:, level], batch_dims=1))
            for level, log_p in enumerate(levels)
        ]
    )


def _check_levels(labels: tf.Tensor, log_probabilities: Sequence[tf.Tensor]) -> None:
    """One dtype, a row for each label, and the labels among the classes, at every level."""
    for level, log_p in enumerate(log_probabilities):
        check_floating(f"level {level}", log_p, ndim=2)
        check_dtype(f"level {level}", log_p, log_probabilities[0].dtype)
        check_size(f"level {level}", log_p, 0, size(labels, 0), "rows")
        label, classes = labels[:, level], tf.shape(log_p, out_type=tf.int64)[1]
        outside = tf.boolean_mask(label, (label < 0) | (label >= classes))
        check_values(tf.size(outside) == 0, "labels", f"classes of level {level}", outside)


@in_single_precision
def curriculum_loss(losses: tf.Tensor, step: float | tf.Tensor, *, span: float) -> tf.Tensor:
    """The losses of the levels, weighted so that one level joins after the other.

        Σ_l w_l · loss_l,  w_l = min(1, max(0, 1 + step / span − l))

    The first level counts from the start, and level l joins between (l − 1)·span and l·span.

    Args:
        losses: (levels,), as from `level_losses`. Halves compute in float32.
        step: how many steps or epochs have been done, at least 0. In a graph it is a tensor or a
            variable, such as an optimizer's `iterations`.
        span: how many steps or epochs it takes for one level to join, above 0.
    Returns:
        A scalar.
    Raises:
        TypeError: losses that are not floating.
        ValueError: other than one axis, a negative step, a span that is not positive.
    Example:
        >>> loss = curriculum_loss(tf.ones(3), step=5, span=10)
        >>> float(loss)  # the weights are 1, 0.5 and 0
        1.5
    """
    losses = tf.convert_to_tensor(losses)
    check_floating("losses", losses, ndim=1)
    span = check_number("span", span, above=0)
    if not tf.is_tensor(step):
        step = check_number("step", step, least=0)
    step = tf.cast(step, losses.dtype)
    check_values(step >= 0, "step", "a number of at least 0", step)
    levels = tf.cast(tf.range(tf.shape(losses)[0]), losses.dtype)
    weights = tf.clip_by_value(1 + step / span - levels, 0, 1)
    return tf.reduce_sum(weights * losses)


@keras.saving.register_keras_serializable("fourfold")
class FeedbackNetwork(Layer):
    """Log-probabilities of the classes at each level of a taxonomy, coarse levels first.

    Args:
        in_features: width of x.
        classes: the number of classes at each level.
        hidden: width of the features and of the GRU's state.
        seed: of the initial weights.
    Raises:
        TypeError, ValueError: an argument of the wrong kind or out of range.
    Example:
        >>> [level.shape for level in FeedbackNetwork(7, classes=[2, 3])(tf.ones((5, 7)))]
        [TensorShape([5, 2]), TensorShape([5, 3])]
    """

    def __init__(
        self,
        in_features: int,
        classes: Sequence[int],
        *,
        hidden: int = 64,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        in_features = check_count("in_features", in_features)
        classes = check_counts("classes", classes)
        hidden = check_count("hidden", hidden)
        self.config = {"in_features": in_features, "classes": classes, "hidden": hidden}
        glorot, dtype = GlorotUniform(seed), self.dtype_policy
        self.projection = make_linear(in_features, hidden, glorot=glorot, dtype=dtype)
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=dtype)
        self.norm.build((None, hidden))
        self.gru = make_gru(hidden, hidden, glorot=glorot, dtype=dtype)
        self.levels = [make_linear(hidden, n, glorot=glorot, dtype=dtype) for n in classes]

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> list[tf.Tensor]:
        """x: (batch, in_features). Returns (batch, classes) for each level.

        TypeError for another dtype than the weights'; ValueError for a wrong width.
        """
        check_floating("x", x, ndim=2)
        check_dtype("x", x, self.compute_dtype)
        check_width("x", x, self.config["in_features"])
        x = tf.ensure_shape(x, (None, self.config["in_features"]))
        features = tf.nn.relu(layer_norm(self.norm, self.projection(x)))  # (batch, hidden)
        # The features are the same at every level, so that their product is computed once.
        x_gates = input_gates(self.gru, features)
        h, log_probabilities = tf.zeros_like(features), []
        for level in self.levels:
            h = next_state(x_gates, hidden_gates(self.gru, h), h)
            log_probabilities.append(tf.nn.log_softmax(level(h)))
        return log_probabilities
