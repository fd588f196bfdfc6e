"""Soft nearest neighbor loss: how far each point is from having neighbors of its own class.

    −log ( Σ_{j≠i, y_j = y_i} exp(−D_ij / T) / Σ_{j≠i} exp(−D_ij / T) ),   mean over i

Sources: Frosst, Papernot, Hinton 2019 (arXiv 1902.01889); seed topic: nearest neighbors in
PyTorch.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import theano.tensor as T
from theano.compile.builders import OpFromGraph
from theano.gradient import DisconnectedType, disconnected_grad
from theano.graph.basic import Variable
from theano.ifelse import ifelse
from theano.tensor.extra_ops import Unique
from theano.tensor.var import TensorVariable

from theano_impl.distances import DISTANCES, pairwise_distances
from theano_impl.fast.soft_nearest_neighbor_loss import NEAR, NearLosses, by_blocks
from theano_impl.support.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_flag,
    check_floating,
    check_labels,
    check_not_empty,
    check_number,
    check_values,
)
from theano_impl.support.layer import Layer

REDUCTIONS = ("mean", "sum", "none")
LARGEST_LOG = 32.0  # of a learned temperature, either way: float32 holds D / T beside it


def soft_nearest_neighbor_loss(
    embeddings: TensorVariable,
    labels: TensorVariable,
    *,
    temperature: float | TensorVariable = 1.0,
    distance: str = "sqeuclidean",
    reduction: str = "mean",
    block_size: int | None = None,
) -> TensorVariable:
    """Minus the log of the share that an anchor's own class has of its neighborhood.

    embeddings: (n, features); labels: (n,) integers. temperature: a positive number, or a scalar
    variable of one. distance: sqeuclidean as in the paper, euclidean or cosine. reduction: mean
    over the anchors that share their label with another, sum, or none for (n,). An anchor alone in
    its class has loss zero and no gradient. With block_size, memory is n · block_size instead of
    n²: the rows are computed in blocks, and once more for the gradient. Squared distances that are
    small against the temperature take a quicker way. TypeError for integers; AssertionError, when
    it runs, for an empty batch, wrong shapes or a temperature that is not positive.
    """
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, REDUCTIONS)
    if block_size is not None:
        block_size = check_count("block_size", block_size)
    embeddings, labels = T.as_tensor_variable(embeddings), T.as_tensor_variable(labels)
    check_floating("embeddings", embeddings, ndim=2)
    embeddings = check_not_empty("embeddings", embeddings)
    labels = check_labels("labels", labels, embeddings.shape[0])
    temperature = _check_temperature(temperature, embeddings)
    if distance == "sqeuclidean" and embeddings.dtype in ("float32", "float64"):
        losses = _near_or_far_losses(embeddings, labels, temperature, block_size)
    else:
        losses = _far_losses(embeddings, labels, temperature, distance, block_size)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return T.sum(losses)
    _, classes, sizes = Unique(return_inverse=True, return_counts=True)(labels)
    paired = T.cast(T.sum(sizes[classes] > 1), losses.dtype)
    return T.sum(losses) / T.maximum(paired, 1)


def _near_or_far_losses(
    embeddings: TensorVariable,
    labels: TensorVariable,
    temperature: TensorVariable,
    block_size: int | None,
) -> TensorVariable:
    """The losses, (n,), by the quicker way where it is safe."""

    def ways(
        x: TensorVariable, labels: TensorVariable, temperature: TensorVariable
    ) -> tuple[TensorVariable, NearLosses, TensorVariable, list[TensorVariable]]:
        n = x.shape[0]
        centered = x - T.mean(x, axis=0)
        reach = T.max(T.sum(centered * centered, axis=1)) / temperature
        is_near = (reach >= 0) & (reach <= np.asarray(NEAR, x.dtype))
        # Operations that work in place, and linkers too, make Theano go both ways: the wrong
        # one is given a single point.
        centered = T.switch(is_near, centered, T.zeros_like(x))[: T.switch(is_near, n, 1)]
        near = NearLosses(centered, labels[: centered.shape[0]], temperature, block_size)
        x = x[: T.switch(is_near, 1, n)]
        labels = labels[: x.shape[0]]
        far = _far_losses(x, labels, temperature, "sqeuclidean", block_size)
        return is_near, near, far, [x, temperature]

    def losses(
        x: TensorVariable, labels: TensorVariable, temperature: TensorVariable
    ) -> TensorVariable:
        is_near, near, far, _ = ways(x, labels, temperature)
        return ifelse(is_near, near.losses, far)

    def gradients(
        inputs: list[TensorVariable], _: list[TensorVariable], upstream: list[TensorVariable]
    ) -> list[Variable]:
        is_near, near, far, leaves = ways(*inputs)
        of_far = T.grad(None, leaves, known_grads={far: upstream[0][: far.shape[0]]})
        of_near = near.gradients(upstream[0][: near.losses.shape[0]])
        of_x, of_temperature = map(partial(ifelse, is_near), of_near, of_far)
        return [of_x, DisconnectedType()(), of_temperature]

    # The gradient is an OpFromGraph too, and has one only if all its inputs are floats: the
    # classes are numbered from 0, which a float64 holds exactly.
    _, classes = Unique(return_inverse=True)(labels)
    classes = disconnected_grad(T.cast(classes, "float64"))
    given = [T.unbroadcast(embeddings, 0, 1), T.unbroadcast(classes, 0), temperature]
    inputs = [one.type() for one in given]
    return _Composed(inputs, [losses(*inputs)], inline=True, lop_overrides=gradients)(*given)


class _Composed(OpFromGraph):
    """An OpFromGraph whose gradient has a gradient, though not all of its outputs are used."""

    def L_op(
        self, inputs: list[Variable], outputs: list[Variable], output_grads: list[Variable]
    ) -> list[Variable]:
        used = [not isinstance(one.type, DisconnectedType) for one in output_grads]
        output_grads = [
            gradient if is_used else output.zeros_like()
            for gradient, output, is_used in zip(output_grads, outputs, used, strict=True)
        ]
        return super().L_op(inputs, outputs, output_grads)


def _far_losses(
    embeddings: TensorVariable,
    labels: TensorVariable,
    temperature: TensorVariable,
    distance: str,
    block_size: int | None,
) -> TensorVariable:
    """The losses of any points, (n,), in logarithms throughout."""
    return by_blocks(
        lambda rows, x, y, t: _anchor_losses(rows, x, y, t, distance),
        labels.shape[0],
        block_size,
        [embeddings, labels, temperature],
    )


def _anchor_losses(
    rows: TensorVariable,
    embeddings: TensorVariable,
    labels: TensorVariable,
    temperature: TensorVariable,
    distance: str,
) -> TensorVariable:
    """The losses of the anchors at these rows, (rows,)."""
    distances = pairwise_distances(embeddings[rows], embeddings, distance=distance)
    others = T.neq(rows[:, None], T.arange(labels.shape[0]))
    partners = others & T.eq(labels[rows][:, None], labels)
    # An anchor without partner gets two equal sums: zero, and NaN if there is one.
    lonely = T.eq(T.any(partners, axis=1, keepdims=True), 0)
    others, partners = others | lonely, partners | lonely
    # Both sums share a factor, the nearest partner's: far away it would swallow their digits.
    infinity = np.asarray(math.inf, distances.dtype)
    masked = T.switch(partners, disconnected_grad(distances), infinity)
    nearest = T.min(masked, axis=1, keepdims=True)
    logits = (nearest - distances) / temperature
    of_others = _log_sum_exp(T.switch(others, logits, -infinity))
    return of_others - _log_sum_exp(T.switch(partners, logits, -infinity))


def _log_sum_exp(logits: TensorVariable) -> TensorVariable:
    """By rows. Theano stabilizes log(sum(exp(x))) itself, but not with a mask in between."""
    largest = disconnected_grad(T.max(logits, axis=1, keepdims=True))
    return T.log(T.sum(T.exp(logits - largest), axis=1)) + largest[:, 0]


def _check_temperature(
    temperature: float | TensorVariable, embeddings: TensorVariable
) -> TensorVariable:
    if not isinstance(temperature, Variable):
        temperature = check_number("temperature", temperature, above=0)
        return T.constant(temperature, dtype=embeddings.dtype)
    check_dtype("temperature", temperature, embeddings.dtype)
    if temperature.ndim:
        raise ValueError(f"temperature: expected a scalar, got {temperature.ndim} axes")
    # NaN is let through.
    positive = T.eq(T.le(temperature, 0), 0)
    return check_values(temperature, positive, "temperature", "a number above 0")


class SoftNearestNeighborLoss(Layer):
    """`soft_nearest_neighbor_loss` as a layer: `.output` is the loss.

    learn_temperature trains T too, through 1/T as in the paper; it starts at `temperature`. The
    parameter is `log_inverse_temperature`, −log T: a step of any optimizer leaves T positive, and
    beyond e^±32 T stays where it is. `inverse_temperature` is 1/T.

    Used as a penalty the loss is maximized, so that the classes entangle; over T it is minimized
    all the same, so that T is the scale at which they are most apart. Let T move faster than the
    embeddings: while it lags behind, the loss is above its maximum, the one of mixed classes.

        loss = SoftNearestNeighborLoss(embeddings, labels, learn_temperature=True)
        logarithm = loss.log_inverse_temperature
        of_x, of_temperature = T.grad(loss.output, [embeddings, logarithm])
        updates = [
            (embeddings, embeddings + 0.05 * of_x),
            (logarithm, logarithm - 1.0 * of_temperature),  # over T it is minimized
        ]
        step = theano.function([], loss.output, updates=updates)
        for _ in range(60):
            step()
    """

    def __init__(
        self,
        embeddings: TensorVariable,
        labels: TensorVariable,
        *,
        temperature: float = 1.0,
        learn_temperature: bool = False,
        distance: str = "sqeuclidean",
        reduction: str = "mean",
        block_size: int | None = None,
    ) -> None:
        temperature = check_number("temperature", temperature, above=0)
        learn_temperature = check_flag("learn_temperature", learn_temperature)
        check_choice("distance", distance, DISTANCES)
        check_choice("reduction", reduction, REDUCTIONS)
        if block_size is not None:
            block_size = check_count("block_size", block_size)
        config = {
            "temperature": temperature,
            "learn_temperature": learn_temperature,
            "distance": distance,
            "reduction": reduction,
            "block_size": block_size,
        }
        super().__init__(embeddings, labels, config=config)
        options: dict[str, Any] = dict(self.config)
        if options.pop("learn_temperature"):
            start = np.array(-math.log(temperature))
            logarithm = self.add_param("log_inverse_temperature", start)
            check_dtype("embeddings", embeddings, logarithm.dtype)
            limit = np.asarray(LARGEST_LOG, logarithm.dtype)
            self.log_inverse_temperature = logarithm
            self.inverse_temperature = T.exp(T.clip(logarithm, -limit, limit))
            options["temperature"] = 1 / self.inverse_temperature
        self.output = soft_nearest_neighbor_loss(embeddings, labels, **options)

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.matrix("embeddings", dtype=dtype), T.lvector("labels")]
