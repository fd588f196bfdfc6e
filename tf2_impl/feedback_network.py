"""From coarse classes to fine ones: a network that is fed the same features once per level.

    f   = relu(layer norm(x·W + b))
    h_l = GRU(f, h_{l−1}), from h_{−1} = 0, for the levels l = 0, 1, … of a taxonomy
    p_l = softmax(h_l·W_l + b_l)
    loss = Σ_l w_l · mean of −log p_l[label at level l]

Each level sees what those before it have found. All w_l are 1, or follow a curriculum in which one
level joins after the other.

Sources: Zamir et al. 2016 (feedback networks, arXiv 1612.09508); seed topic, feedback networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tf2_impl.layers.recurrent import make_gru
from tf2_impl.support.checks import (
    check_count,
    check_counts,
    check_dtype,
    check_floating,
    check_integers,
    check_not_empty,
    check_number,
    check_seed,
    check_values,
    check_width,
    size,
)
from tf2_impl.support.initializers import GlorotUniform
from tf2_impl.support.layer import Layer
from tf2_impl.support.linear import make_linear
from tf2_impl.support.precision import in_compute_dtype, in_single_precision, widened


@in_single_precision
def level_losses(labels: tf.Tensor, *log_probabilities: tf.Tensor) -> tf.Tensor:
    """The mean negative log-likelihood of the labels at each level, (levels,): sum it to train.

    labels: (batch, levels) integers; log_probabilities: (batch, classes) for each level, as a
    `FeedbackNetwork` gives them. TypeError for labels that are not integers, and for integer or
    different dtypes at the levels; ValueError for an empty batch, other sizes and a label that is
    no class of its level.
    """
    labels = tf.convert_to_tensor(labels)
    check_integers("labels", labels, ndim=2)
    check_not_empty("labels", labels)
    levels = [tf.convert_to_tensor(one) for one in log_probabilities]
    if not levels:
        raise ValueError("log_probabilities: expected at least one level, got none")
    _check_size("labels", size(labels, 1), len(levels), "columns")
    labels = tf.cast(labels, tf.int64)  # a narrow dtype may not hold the number of classes
    losses = []
    for level, found in enumerate(levels):
        check_floating(f"level {level}", found, ndim=2)
        check_dtype(f"level {level}", found, levels[0].dtype)
        _check_size(f"level {level}", size(found, 0), size(labels, 0), "rows")
        own = labels[:, level]
        classes = tf.shape(found, out_type=tf.int64)[1]
        outside = tf.boolean_mask(own, (own < 0) | (own >= classes))
        check_values(tf.size(outside) == 0, "labels", f"classes of level {level}", outside)
        losses.append(-tf.reduce_mean(tf.gather(found, own, batch_dims=1)))
    return tf.stack(losses)


@in_single_precision
def curriculum_loss(losses: tf.Tensor, step: float | tf.Tensor, *, span: float) -> tf.Tensor:
    """Σ_l w_l · loss_l with w_l = min(1, max(0, 1 + step / span − l)): a scalar.

    The first level counts from the start, level l joins between (l − 1) · span and l · span.
    losses: (levels,), as from `level_losses`; step: how many steps or epochs have been done, in a
    graph a tensor or a variable, such as an optimizer's `iterations`. ValueError for a negative
    step or a span that is not positive.
    """
    losses = tf.convert_to_tensor(losses)
    check_floating("losses", losses, ndim=1)
    span = check_number("span", span, above=0)
    if not tf.is_tensor(step):
        step = check_number("step", step, least=0)
    step = tf.cast(step, losses.dtype)
    check_values(step >= 0, "step", "a number of at least 0", step)
    levels = tf.range(tf.shape(losses)[0])
    weights = tf.clip_by_value(1 + step / span - tf.cast(levels, losses.dtype), 0, 1)
    return tf.reduce_sum(weights * losses)


@keras.saving.register_keras_serializable("fourfold")
class FeedbackNetwork(Layer):
    """Log-probabilities of the classes at each level of a taxonomy, coarse ones first.

    classes: how many there are at each level. hidden: the width of the features and of the state.
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
        seed = check_seed("seed", seed)
        self.config = {"in_features": in_features, "classes": list(classes), "hidden": hidden}
        self.in_features = in_features
        glorot = GlorotUniform(seed)
        dtype = self.dtype_policy
        self.projection = make_linear(in_features, hidden, glorot=glorot, dtype=dtype)
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=dtype)
        self.norm.build((None, hidden))
        self.gru = make_gru(hidden, hidden, glorot=glorot, dtype=dtype)
        self.levels = [make_linear(hidden, count, glorot=glorot, dtype=dtype) for count in classes]

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> list[tf.Tensor]:
        """x: (batch, in_features). Returns (batch, classes) for each level.

        TypeError for another dtype than the weights', ValueError for a wrong width.
        """
        check_floating("x", x, ndim=2)
        check_dtype("x", x, self.compute_dtype)
        check_width("x", x, self.in_features)
        x = tf.ensure_shape(x, (None, self.in_features))
        features = tf.nn.relu(_normalized(self.norm, self.projection(x)))
        # They are the same at every level, so that their product is needed once.
        cell = self.gru.cell
        given = tf.matmul(features, tf.cast(cell.kernel, x.dtype)) + tf.cast(cell.bias, x.dtype)[0]
        state, outputs = tf.zeros_like(features), []
        for level in self.levels:
            state = self._next_state(given, state)
            outputs.append(tf.nn.log_softmax(level(state)))
        return outputs

    def _next_state(self, given: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
        cell = self.gru.cell
        kernel, bias = (tf.cast(one, state.dtype) for one in (cell.recurrent_kernel, cell.bias))
        kept = tf.matmul(state, kernel) + bias[1]
        # Keras has the gates in this order.
        update, reset, candidate = tf.split(given, 3, axis=1)
        kept_update, kept_reset, kept_candidate = tf.split(kept, 3, axis=1)
        reset = tf.sigmoid(reset + kept_reset)
        update = tf.sigmoid(update + kept_update)
        candidate = tf.tanh(candidate + reset * kept_candidate)
        return (1 - update) * candidate + update * state


def _normalized(norm: keras.layers.LayerNormalization, x: tf.Tensor) -> tf.Tensor:
    """What the layer makes of x, (batch, features), with the second derivatives too.

    Keras's own has others: `tf.nn.moments` holds the mean constant within the variance.
    """
    wide = widened(x)
    centered = wide - tf.reduce_mean(wide, axis=1, keepdims=True)
    variance = tf.reduce_mean(centered**2, axis=1, keepdims=True)
    unit = centered * tf.math.rsqrt(variance + norm.epsilon)
    scale, shift = (tf.cast(one, wide.dtype) for one in (norm.gamma, norm.beta))
    return tf.cast(unit * scale + shift, x.dtype)


def _check_size(name: str, got: int | tf.Tensor, wanted: int | tf.Tensor, what: str) -> None:
    if not (isinstance(got, int) and isinstance(wanted, int)):
        check_values(got == wanted, name, f"as many {what} as its partner", got)
    elif got != wanted:
        raise ValueError(f"{name}: expected {wanted} {what}, got {got}")
