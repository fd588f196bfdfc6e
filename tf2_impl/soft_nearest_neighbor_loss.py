"""Soft nearest neighbor loss: how far each point is from having neighbors of its own class.

    −log ( Σ_{j≠i, y_j = y_i} exp(−D_ij / T) / Σ_{j≠i} exp(−D_ij / T) ),   mean over i

Sources: Frosst, Papernot, Hinton 2019 (arXiv 1902.01889); seed topic: nearest neighbors in
PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tf2_impl.distances import DISTANCES, pairwise_distances
from tf2_impl.fast.soft_nearest_neighbor_loss import NEAR, by_blocks, near_losses
from tf2_impl.support.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_flag,
    check_floating,
    check_labels,
    check_not_empty,
    check_number,
    check_values,
    size,
)
from tf2_impl.support.layer import Layer
from tf2_impl.support.precision import in_single_precision, single

REDUCTIONS = ("mean", "sum", "none")
LARGEST_LOG = 32.0  # of a learned temperature, either way: float32 holds D / T beside it


@in_single_precision
def soft_nearest_neighbor_loss(
    embeddings: tf.Tensor,
    labels: tf.Tensor,
    *,
    temperature: float | tf.Tensor = 1.0,
    distance: str = "sqeuclidean",
    reduction: str = "mean",
    block_size: int | None = None,
) -> tf.Tensor:
    """Minus the log of the share that an anchor's own class has of its neighborhood.

    embeddings: (n, features); labels: (n,) integers. temperature: a positive number, or a scalar
    tensor of one. distance: sqeuclidean as in the paper, euclidean or cosine. reduction: mean over
    the anchors that share their label with another, sum, or none for (n,). An anchor alone in its
    class has loss zero and no gradient. With block_size, memory is n · block_size instead of n²:
    the rows are computed in blocks, two at a time, and once more for the gradient. Squared
    distances that are small against the temperature take a quicker way. TypeError for integers,
    ValueError for an empty batch or wrong shapes.
    """
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, REDUCTIONS)
    if block_size is not None:
        block_size = check_count("block_size", block_size)
    embeddings, labels = tf.convert_to_tensor(embeddings), tf.convert_to_tensor(labels)
    check_floating("embeddings", embeddings, ndim=2)
    check_not_empty("embeddings", embeddings)
    check_labels("labels", labels, size(embeddings, 0))
    temperature = _check_temperature(temperature, embeddings)
    n = tf.shape(labels)[0]
    # A loop has steps of one shape: the last block is filled up with the last row.
    rows = tf.range(n)[None]
    if block_size is not None:
        block_size = tf.minimum(block_size, n)
        n_blocks = (n + block_size - 1) // block_size
        rows = tf.minimum(tf.range(n_blocks * block_size), n - 1)
        rows = tf.reshape(rows, (n_blocks, block_size))
    in_one = block_size is None

    def far() -> tf.Tensor:
        return _far_losses(embeddings, labels, temperature, rows, distance, in_one)

    def plain() -> tf.Tensor:
        return _anchor_losses(tf.range(n), embeddings, labels, temperature, distance)

    if distance == "sqeuclidean" and embeddings.dtype in (tf.float32, tf.float64):
        centered = embeddings - tf.stop_gradient(tf.reduce_mean(embeddings, axis=0))
        reach = tf.reduce_max(tf.reduce_sum(centered * centered, axis=1)) / temperature

        def quick() -> tf.Tensor:
            return tf.cond(
                (reach >= 0) & (reach <= NEAR),
                lambda: near_losses(centered, labels, temperature, rows, in_one),
                far,
            )

        losses = _twice_differentiable(quick, plain)
    else:
        losses = _twice_differentiable(far, plain)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return tf.reduce_sum(losses)
    # XLA has no unique; in their order, equal labels are next to each other.
    ordered = tf.sort(labels)
    twins = ordered[1:] == ordered[:-1]
    paired = tf.concat([twins, [False]], 0) | tf.concat([[False], twins], 0)
    paired = tf.math.count_nonzero(paired, dtype=losses.dtype)
    return tf.reduce_sum(losses) / tf.maximum(paired, 1)


def _twice_differentiable(
    losses: Callable[[], tf.Tensor], plain: Callable[[], tf.Tensor]
) -> tf.Tensor:
    """The losses, by the plain way in one block where TensorFlow cannot build the other's.

    In a graph, under two tapes or a persistent one, it builds second derivatives at once, and
    fails at custom and recomputed gradients within a condition or a loop.
    """
    try:
        return losses()
    except (AssertionError, NotImplementedError):
        return plain()


def _far_losses(
    embeddings: tf.Tensor,
    labels: tf.Tensor,
    temperature: tf.Tensor,
    rows: tf.Tensor,
    distance: str,
    in_one: bool,
) -> tf.Tensor:
    """The losses of any points, (n,), in logarithms throughout."""
    if in_one:
        return _anchor_losses(rows[0], embeddings, labels, temperature, distance)
    recomputed = tf.recompute_grad(
        # recompute_grad sees the gradient of what it is called with, not of a closure's.
        lambda rows, x, t: _anchor_losses(rows, x, labels, t, distance)
    )
    losses = by_blocks(
        lambda block: recomputed(block, embeddings, temperature), rows, embeddings.dtype
    )
    return losses[: tf.shape(labels)[0]]


def _anchor_losses(
    rows: tf.Tensor, embeddings: tf.Tensor, labels: tf.Tensor, temperature: tf.Tensor, distance: str
) -> tf.Tensor:
    """The losses of the anchors at these rows, (rows,)."""
    distances = pairwise_distances(tf.gather(embeddings, rows), embeddings, distance=distance)
    others = rows[:, None] != tf.range(tf.shape(labels)[0])
    partners = others & (tf.gather(labels, rows)[:, None] == labels)
    # An anchor without partner gets two equal sums: zero, and NaN if there is one.
    lonely = ~tf.reduce_any(partners, axis=1, keepdims=True)
    others, partners = others | lonely, partners | lonely
    # Both sums share a factor, the nearest partner's: far away it would swallow their digits.
    infinity = tf.constant(math.inf, distances.dtype)
    masked = tf.where(partners, tf.stop_gradient(distances), infinity)
    nearest = tf.reduce_min(masked, axis=1, keepdims=True)
    logits = (nearest - distances) / temperature
    of_others = tf.reduce_logsumexp(tf.where(others, logits, -infinity), axis=1)
    return of_others - tf.reduce_logsumexp(tf.where(partners, logits, -infinity), axis=1)


def _check_temperature(temperature: float | tf.Tensor, embeddings: tf.Tensor) -> tf.Tensor:
    if not tf.is_tensor(temperature):
        number = check_number("temperature", temperature, above=0)
        return tf.constant(number, embeddings.dtype)
    temperature = tf.convert_to_tensor(temperature)  # a variable too
    check_dtype("temperature", temperature, embeddings.dtype)
    if temperature.shape.rank:
        raise ValueError(f"temperature: expected a scalar, got shape {temperature.shape}")
    positive = ~(temperature <= 0)  # NaN is let through
    checked = check_values(positive, "temperature", "a number above 0", temperature)
    with tf.control_dependencies([] if checked is None else [checked]):
        return tf.identity(temperature)


@keras.saving.register_keras_serializable("fourfold")
class SoftNearestNeighborLoss(Layer):
    """`soft_nearest_neighbor_loss` as a layer, called with (embeddings, labels).

    learn_temperature trains T too, through 1/T as in the paper; it starts at `temperature`. The
    weight is `log_inverse_temperature`, −log T: a step of any optimizer leaves T positive, and
    beyond e^±32 T stays where it is. `inverse_temperature` is 1/T.

    Used as a penalty the loss is maximized, so that the classes entangle; over T it is minimized
    all the same, so that T is the scale at which they are most apart. Let T move faster than the
    embeddings: while it lags behind, the loss is above its maximum, the one of mixed classes.

        loss = SoftNearestNeighborLoss(learn_temperature=True)
        mixing, cooling = keras.optimizers.Adam(0.05), keras.optimizers.Adam(0.5)
        variables = [embeddings, loss.log_inverse_temperature]
        for _ in range(60):
            with tf.GradientTape() as tape:
                entangled = loss(embeddings, labels)
            of_x, of_temperature = tape.gradient(entangled, variables)
            mixing.apply([-of_x], [embeddings])
            cooling.apply([of_temperature], [loss.log_inverse_temperature])
    """

    # Not a Keras loss: these own no weights, and cast labels to floating point numbers.

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        learn_temperature: bool = False,
        distance: str = "sqeuclidean",
        reduction: str = "mean",
        block_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        temperature = check_number("temperature", temperature, above=0)
        learn_temperature = check_flag("learn_temperature", learn_temperature)
        check_choice("distance", distance, DISTANCES)
        check_choice("reduction", reduction, REDUCTIONS)
        if block_size is not None:
            block_size = check_count("block_size", block_size)
        self.config = {
            "temperature": temperature,
            "learn_temperature": learn_temperature,
            "distance": distance,
            "reduction": reduction,
            "block_size": block_size,
        }
        if learn_temperature:
            start = keras.initializers.Constant(-math.log(temperature))
            self.log_inverse_temperature = self.add_weight(
                shape=(),
                initializer=start,
                dtype=single(self.variable_dtype).name,
                autocast=False,
                name="log_inverse_temperature",
            )

    @in_single_precision
    def call(self, embeddings: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        options: dict[str, Any] = dict(self.config)
        if options.pop("learn_temperature"):
            check_floating("embeddings", embeddings)
            check_dtype("embeddings", embeddings, self.log_inverse_temperature.dtype)
            options["temperature"] = 1 / self.inverse_temperature
        return soft_nearest_neighbor_loss(embeddings, labels, **options)

    @property
    def inverse_temperature(self) -> tf.Tensor:
        """1/T, learned: positive whatever the weight is."""
        logarithm = tf.convert_to_tensor(self.log_inverse_temperature)
        return tf.exp(tf.clip_by_value(logarithm, -LARGEST_LOG, LARGEST_LOG))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}
