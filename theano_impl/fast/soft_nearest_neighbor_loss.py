"""Fast soft nearest neighbor losses: two products and one exp, for points near against T.

1. While all ‖x − mean‖² / T are at most NEAR, N_ij = exp(−D_ij / T) neither overflows nor vanishes
   in float32: N comes from one product and one exp, and no sum needs a logarithm of its terms.
2. The gradient is written by hand, as one product with N; with a block_size N is computed again for
   it. It is made of Theano's operations, so that it can be differentiated itself.
3. Whether the points are near is known only when the function runs: an ifelse chooses there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import theano.tensor as T
from theano.compile.builders import OpFromGraph
from theano.gradient import DisconnectedType, disconnected_grad
from theano.graph.basic import Variable
from theano.graph.type import Type
from theano.ifelse import ifelse
from theano.tensor.extra_ops import Unique
from theano.tensor.var import TensorVariable

from theano_impl.support.blocks import by_blocks

NEAR = 16.0  # the largest ‖x − mean‖² / T


def applies(embeddings: TensorVariable, distance: str) -> bool:
    """Whether there is a fast way; `losses` takes the plain one for points that are not near."""
    return distance == "sqeuclidean" and embeddings.dtype in ("float32", "float64")


def losses(
    embeddings: TensorVariable,
    labels: TensorVariable,
    temperature: TensorVariable,
    block_size: int | None,
    plain_losses: Callable[..., TensorVariable],
) -> TensorVariable:
    """The loss of each anchor by squared distances, (n,), where `applies` is true.

    plain_losses: the same function of (embeddings, labels, temperature, block_size), of any points.
    """
    # The gradient of an OpFromGraph is one too, and has a gradient only if all inputs are floating:
    # the classes are numbered from 0, in float64, which holds these numbers exactly.
    _, classes = Unique(return_inverse=True)(labels)
    classes = disconnected_grad(T.cast(classes, "float64"))
    arguments = [T.unbroadcast(embeddings, 0, 1), T.unbroadcast(classes, 0), temperature]
    types = tuple(one.type for one in arguments)
    return _operation(types, block_size, plain_losses)(*arguments)


@cache
def _operation(
    types: tuple[Type, ...], block_size: int | None, plain_losses: Callable[..., TensorVariable]
) -> _Composed:
    """The losses as one operation: it and its gradients are made once, and equal nodes merge."""

    def both(
        x: TensorVariable, labels: TensorVariable, temperature: TensorVariable
    ) -> tuple[TensorVariable, _NearLosses, TensorVariable, list[TensorVariable]]:
        n = x.shape[0]
        centered = x - T.mean(x, axis=0)
        reach = T.max(T.sum(centered * centered, axis=1)) / temperature
        is_near = (reach >= 0) & (reach <= np.asarray(NEAR, x.dtype))  # False for NaN
        # Operations in place, and linkers too, make Theano compute both branches of an ifelse: the
        # branch that is not taken gets a single point.
        centered = T.switch(is_near, centered, T.zeros_like(x))[: T.switch(is_near, n, 1)]
        near = _NearLosses(centered, labels[: centered.shape[0]], temperature, block_size)
        x = x[: T.switch(is_near, 1, n)]
        plain = plain_losses(x, labels[: x.shape[0]], temperature, block_size)
        return is_near, near, plain, [x, temperature]

    def values(*inputs: TensorVariable) -> TensorVariable:
        is_near, near, plain, _ = both(*inputs)
        return ifelse(is_near, near.losses, plain)

    def gradients(
        inputs: list[TensorVariable], _: list[TensorVariable], grad_outputs: list[TensorVariable]
    ) -> list[Variable]:
        is_near, near, plain, leaves = both(*inputs)
        (grad_output,) = grad_outputs
        of_plain = T.grad(None, leaves, known_grads={plain: grad_output[: plain.shape[0]]})
        of_near = near.gradients(grad_output[: near.losses.shape[0]])
        grad_x, grad_t = map(partial(ifelse, is_near), of_near, of_plain)
        return [grad_x, DisconnectedType()(), grad_t]

    inputs = [one() for one in types]
    return _Composed(inputs, [values(*inputs)], inline=True, lop_overrides=gradients)


class _Composed(OpFromGraph):
    """An OpFromGraph whose gradient can be differentiated when not all of its outputs are used."""

    def L_op(
        self, inputs: list[Variable], outputs: list[Variable], output_grads: list[Variable]
    ) -> list[Variable]:
        used = [not isinstance(one.type, DisconnectedType) for one in output_grads]
        output_grads = [
            gradient if is_used else output.zeros_like()
            for gradient, output, is_used in zip(output_grads, outputs, used, strict=True)
        ]
        return super().L_op(inputs, outputs, output_grads)


class _NearLosses:
    """The losses of centered points, (n,), with a gradient that is cheaper than T.grad's.

    For a_i = grad_output_i / Σ_j N_ij and b_i = grad_output_i / Σ_{y_j = y_i} N_ij, let

        S_ij = N_ij (a_i + a_j),  between positives  N_ij (a_i + a_j − b_i − b_j)

    The gradient by x is 2 / T · (S x − S1 · x).
    """

    def __init__(
        self,
        x: TensorVariable,
        labels: TensorVariable,
        temperature: TensorVariable,
        block_size: int | None,
    ) -> None:
        self.x, self.temperature, self.block_size = x, temperature, block_size
        square = T.sum(x * x, axis=1, keepdims=True)
        ones = T.ones_like(square)
        queries = T.concatenate([2 * x, -square, -ones], axis=1) / temperature
        self.arrays = [queries, T.concatenate([x, ones, square], axis=1), labels]
        self.values = T.concatenate([x, ones], axis=1)  # the ones give the row sums
        sum_all, sum_same = by_blocks(_sums, block_size, *self.arrays)
        self.singletons = T.eq(sum_same, 0)  # anchors without positives have loss 0
        self.sum_all, self.sum_same = (
            T.switch(self.singletons, T.ones_like(one), one) for one in (sum_all, sum_same)
        )
        self.losses = T.log(self.sum_all / self.sum_same)

    def gradients(self, grad_output: TensorVariable) -> tuple[TensorVariable, TensorVariable]:
        """By x and by the temperature."""
        grad_output = T.switch(self.singletons, T.zeros_like(grad_output), grad_output)
        a = grad_output / self.sum_all
        a_less_b = a - grad_output / self.sum_same
        products = by_blocks(_products, self.block_size, *self.arrays, a, a_less_b, self.values)
        grad_x = 2 / self.temperature * (products[:, :-1] - products[:, -1][:, None] * self.x)
        # The loss depends on x / √T alone: dL/dT = −x · dL/dx / 2T.
        return grad_x, -T.sum(self.x * grad_x) / (2 * self.temperature)


def _neighbors(
    rows: TensorVariable, queries: TensorVariable, keys: TensorVariable
) -> TensorVariable:
    """N of these rows, (rows, n), with 0 from each point to itself."""
    N = T.exp(T.dot(queries[rows], keys.T))
    return T.switch(T.eq(rows[:, None], T.arange(keys.shape[0])), T.zeros_like(N), N)


def _sums(
    rows: TensorVariable, queries: TensorVariable, keys: TensorVariable, labels: TensorVariable
) -> list[TensorVariable]:
    N = _neighbors(rows, queries, keys)
    N_same = T.switch(T.eq(labels[rows][:, None], labels), N, T.zeros_like(N))
    return [T.sum(N, axis=1), T.sum(N_same, axis=1)]


def _products(
    rows: TensorVariable,
    queries: TensorVariable,
    keys: TensorVariable,
    labels: TensorVariable,
    a: TensorVariable,
    a_less_b: TensorVariable,
    values: TensorVariable,
) -> TensorVariable:
    """S x and S1, (rows, features + 1)."""
    factors = T.switch(
        T.eq(labels[rows][:, None], labels),
        a_less_b[rows][:, None] + a_less_b,
        a[rows][:, None] + a,
    )
    return T.dot(_neighbors(rows, queries, keys) * factors, values)
