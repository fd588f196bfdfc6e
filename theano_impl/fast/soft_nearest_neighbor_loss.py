"""Soft nearest neighbor losses of points that are near against the temperature, the quick way.

Up to ‖x‖² / T = NEAR, exp(−D / T) neither overflows nor vanishes in float32: N is then one
product and one exp, and the gradient is a product again. `soft_nearest_neighbor_loss` chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import theano
import theano.tensor as T
from theano.tensor.var import TensorVariable

NEAR = 16.0


class NearLosses:
    """The losses of points around the origin, (n,), and a gradient that is cheaper than T.grad's.

    N = exp(−D / T) is symmetric and comes from one product. So is S, with S_ij = N_ij (a_i + a_j),
    less b_i + b_j where i and j are partners, for a and b the upstream gradient divided by the
    two sums; the gradient by x is 2 / T of S x − S1 · x. In blocks, N is computed again for it.
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
        one = T.ones_like(square)
        queries = T.concatenate([2 * x, -square, -one], axis=1) / temperature
        self.given = [queries, T.concatenate([x, one, square], axis=1), labels]
        self.values = T.concatenate([x, one], axis=1)
        others, same = by_blocks(_near_sums, labels.shape[0], block_size, self.given)
        self.alone = T.eq(same, 0)
        self.others, self.same = (
            T.switch(self.alone, T.ones_like(one), one) for one in (others, same)
        )
        self.losses = T.log(self.others / self.same)

    def gradients(self, upstream: TensorVariable) -> tuple[TensorVariable, TensorVariable]:
        """By x and by the temperature."""
        upstream = T.switch(self.alone, T.zeros_like(upstream), upstream)
        apart = upstream / self.others
        given = [*self.given, apart, apart - upstream / self.same, self.values]
        moved = by_blocks(_near_moved, apart.shape[0], self.block_size, given)
        of_x = 2 / self.temperature * (moved[:, :-1] - moved[:, -1][:, None] * self.x)
        # The loss is a function of x / √T, which ties the two gradients together.
        return of_x, -T.sum(self.x * of_x) / (2 * self.temperature)


def _neighbors(
    rows: TensorVariable, queries: TensorVariable, keys: TensorVariable
) -> TensorVariable:
    """exp(−D / T) from these rows to all points, zero to themselves, (rows, n)."""
    near = T.exp(T.dot(queries[rows], keys.T))
    return T.switch(T.eq(rows[:, None], T.arange(keys.shape[0])), T.zeros_like(near), near)


def _near_sums(
    rows: TensorVariable, queries: TensorVariable, keys: TensorVariable, labels: TensorVariable
) -> list[TensorVariable]:
    near = _neighbors(rows, queries, keys)
    same = T.switch(T.eq(labels[rows][:, None], labels), near, T.zeros_like(near))
    return [T.sum(near, axis=1), T.sum(same, axis=1)]


def _near_moved(
    rows: TensorVariable,
    queries: TensorVariable,
    keys: TensorVariable,
    labels: TensorVariable,
    apart: TensorVariable,
    nearer: TensorVariable,
    values: TensorVariable,
) -> TensorVariable:
    scale = T.switch(
        T.eq(labels[rows][:, None], labels),
        nearer[rows][:, None] + nearer,
        apart[rows][:, None] + apart,
    )
    return T.dot(_neighbors(rows, queries, keys) * scale, values)


def by_blocks(
    function: Callable[..., Any],
    n: TensorVariable,
    block_size: int | None,
    given: list[TensorVariable],
) -> Any:
    """What a function of some rows and the given variables makes of all of them."""
    if block_size is None:
        return function(T.arange(n), *given)
    # A loop has steps of one shape: the last block is filled up with the last row.
    size = T.minimum(block_size, n)
    n_blocks = (n + size - 1) // size
    blocks = T.minimum(T.arange(n_blocks * size), n - 1)
    # The gradient of a scan computes each step again: nothing of it is kept.
    found, _ = theano.scan(
        function,
        sequences=[blocks.reshape((n_blocks, size))],
        non_sequences=given,
        strict=True,
    )
    joined = [
        T.reshape(one, T.concatenate([[-1], one.shape[2:]]), ndim=one.ndim - 1)[:n]
        for one in (found if isinstance(found, list) else [found])
    ]
    return joined if isinstance(found, list) else joined[0]
