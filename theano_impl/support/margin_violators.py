"""Mining in a pool: the candidates that violate the margin of a pair.

every n of the pool  with  d(a, n) < d(a, p) + margin
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable

from theano_impl.distances import DISTANCES, paired_distances, pairwise_distances, squared_distances
from theano_impl.fast import triplet_mining as fast
from theano_impl.support.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_finite,
    check_floating,
    check_like,
    check_not_empty,
    check_number,
    check_width,
)
from theano_impl.support.ties import rounding_error
from theano_impl.support.triplet_search import comparable_distance, margin_reach


class Violators(NamedTuple):
    """Indices of the pairs and of rows of the pool, each (violators,), int64."""

    anchors: TensorVariable
    candidates: TensorVariable


def margin_violators(
    anchor: TensorVariable,
    positive: TensorVariable,
    pool: TensorVariable,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    limit: int | None = None,
    block_size: int = 4096,
) -> Violators:
    """The candidates of a pool that are not yet farther than the positive by the margin.

        every n of the pool  with  d(a, n) < d(a, p) + margin

    The pool is read in blocks, twice: besides the result, memory grows with m·features and
    n·(block_size + limit), not with n·m.

    Args:
        anchor, positive: (n, features), float32 or float64, a pair in each row.
        pool: (m, features), of the same dtype: candidate negatives.
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        limit: how many violators to keep for each pair, the nearest; all when None.
        block_size: how many candidates to compare at a time.
    Returns:
        Violators, ordered by anchor, then by candidate; there may be none.
    Raises:
        TypeError: for integers and for dtypes that differ.
        ValueError: for a negative margin, and a limit or a block_size below 1.
        AssertionError: when it runs, for arrays that are empty, differ in shape or hold NaN or
            infinity.
    Example:
        >>> import numpy as np
        >>> x = np.array([[3.0], [2.0], [1.0], [4.0], [9.0]])
        >>> found = margin_violators(x[:1], x[1:2], x[2:], margin=1.5, distance="euclidean")
        >>> [index.eval().tolist() for index in found]
        [[0, 0], [0, 1]]
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    limit = limit if limit is None else check_count("limit", limit)
    block_size = check_count("block_size", block_size)
    anchor, positive, pool = checked_pool(anchor, positive, pool)
    tolerance = pool_rounding_error(anchor, pool, distance)
    comparable = comparable_distance(distance)
    near = paired_distances(anchor, positive, distance=comparable)
    near = check_finite("positive", near)
    reach = (margin_reach(near, margin, distance) - tolerance)[:, None]  # (n, 1)
    if fast.applies_to_pool():  # of any size, which is not known here
        found = fast.violators(
            anchor, pool, reach, tolerance, distance=comparable, limit=limit, block_size=block_size
        )
        return Violators(*found)
    distances = pairwise_distances(anchor, pool, distance=comparable)  # (n, m)
    violates = distances < reach
    if limit is not None:
        infinity = np.asarray(math.inf, distances.dtype)
        violates &= among_nearest(T.switch(violates, distances, infinity), limit, tolerance)
    return Violators(*violates.nonzero())


def checked_pool(
    anchor: TensorVariable, positive: TensorVariable, pool: TensorVariable
) -> tuple[TensorVariable, TensorVariable, TensorVariable]:
    """Pairs, (n, features) each, and a pool, (m, features), neither empty; all finite."""
    anchor, positive, pool = (
        disconnected_grad(T.as_tensor_variable(x)) for x in (anchor, positive, pool)
    )
    check_floating("anchor", anchor, ndim=2)
    anchor = check_not_empty("anchor", anchor)
    positive = check_like("positive", positive, "anchor", anchor)
    check_floating("pool", pool, ndim=2)
    check_dtype("pool", pool, anchor.dtype)
    pool = check_width("pool", pool, anchor.shape[1])
    pool = check_not_empty("pool", pool)
    anchor = check_finite("anchor", anchor)
    positive = check_finite("positive", positive)
    pool = check_finite("pool", pool)
    return anchor, positive, pool


def pool_rounding_error(
    anchor: TensorVariable, pool: TensorVariable, distance: str
) -> TensorVariable:
    """`rounding_error` of all distances at once, so that it does not depend on the blocks.

    No squared distance between two rows is above four times the largest one to the center.
    """
    center = T.mean(pool, axis=0, keepdims=True)
    spread = T.concatenate(
        [squared_distances(anchor, center), squared_distances(pool, center)], axis=0
    )
    spread = check_finite("pool", spread)
    return rounding_error(4 * spread, comparable_distance(distance))


def among_nearest(
    distances: TensorVariable, limit: int, tolerance: TensorVariable
) -> TensorVariable:
    """Which are among so many nearest of their row; of those that tie for it the lower indices."""
    # The offset of two infinite distances is NaN, and every comparison with it is False.
    last = T.minimum(limit, distances.shape[1]) - 1
    offset = distances - T.sort(distances, axis=1)[:, last][:, None]
    nearer = offset < -tolerance
    tied = abs(offset) <= tolerance
    quota = limit - T.sum(nearer, axis=1, keepdims=True)
    return nearer | (tied & (T.cumsum(T.cast(tied, "int64"), axis=1) <= quota))
