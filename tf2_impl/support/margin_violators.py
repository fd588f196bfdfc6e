"""Mining in a pool: the candidates that violate the margin of a pair.

every n of the pool  with  d(a, n) < d(a, p) + margin
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from tf2_impl.distances import DISTANCES, paired_distances, pairwise_distances, squared_distances
from tf2_impl.fast import triplet_mining as fast
from tf2_impl.support.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_finite,
    check_floating,
    check_like,
    check_not_empty,
    check_number,
    check_width,
    size,
)
from tf2_impl.support.precision import in_single_precision
from tf2_impl.support.ties import rounding_error
from tf2_impl.support.triplet_search import comparable_distance, margin_reach


class Violators(NamedTuple):
    """Indices of the pairs and of rows of the pool, each (violators,), int64."""

    anchors: tf.Tensor
    candidates: tf.Tensor


@in_single_precision
def margin_violators(
    anchor: tf.Tensor,
    positive: tf.Tensor,
    pool: tf.Tensor,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    limit: int | None = None,
    block_size: int = 4096,
) -> Violators:
    """The candidates of a pool that are not yet farther than the positive by the margin.

        every n of the pool  with  d(a, n) < d(a, p) + margin

    A pool larger than a block is read in blocks, twice when there is a limit: besides the result,
    memory grows with m·features and n·(block_size + limit), not with n·m. Half precision computes
    in float32.

    Args:
        anchor, positive: (n, features), floating, a pair in each row.
        pool: (m, features), of the same dtype: candidate negatives.
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        limit: how many violators to keep for each pair, the nearest; all when None.
        block_size: how many candidates to compare at a time.
    Returns:
        Violators, ordered by anchor, then by candidate; there may be none.
    Raises:
        TypeError: for integers and for dtypes that differ.
        ValueError: for arrays that are empty, differ in shape or hold NaN or infinity, a negative
            margin, and a limit or a block_size below 1.
    Example:
        >>> x = tf.constant([[3.0], [2.0], [1.0], [4.0], [9.0]])
        >>> found = margin_violators(x[:1], x[1:2], x[2:], margin=1.5, distance="euclidean")
        >>> [index.numpy().tolist() for index in found]
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
    check_finite("positive", near)
    reach = (margin_reach(near, margin, distance) - tolerance)[:, None]  # (n, 1)
    if fast.applies_to_pool(pool, block_size):  # a pool of more than one block, or of unknown size
        pairs = fast.violators(
            anchor, pool, reach, tolerance, distance=comparable, limit=limit, block_size=block_size
        )
        return Violators(pairs[:, 0], pairs[:, 1])
    distances = pairwise_distances(anchor, pool, distance=comparable)  # (n, m)
    violates = distances < reach
    if limit is not None and limit < pool.shape[0]:
        infinity = tf.constant(math.inf, distances.dtype)
        violates &= among_nearest(tf.where(violates, distances, infinity), limit, tolerance)
    pairs = tf.where(violates)
    return Violators(pairs[:, 0], pairs[:, 1])


def checked_pool(
    anchor: tf.Tensor, positive: tf.Tensor, pool: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Pairs, (n, features) each, and a pool, (m, features), neither empty; all finite."""
    anchor, positive, pool = (
        tf.stop_gradient(tf.convert_to_tensor(x)) for x in (anchor, positive, pool)
    )
    check_floating("anchor", anchor, ndim=2)
    check_not_empty("anchor", anchor)
    check_like("positive", positive, "anchor", anchor)
    check_floating("pool", pool, ndim=2)
    check_dtype("pool", pool, anchor.dtype)
    check_width("pool", pool, size(anchor, 1))
    check_not_empty("pool", pool)
    for name, x in (("anchor", anchor), ("positive", positive), ("pool", pool)):
        check_finite(name, x)
    return anchor, positive, pool


def pool_rounding_error(anchor: tf.Tensor, pool: tf.Tensor, distance: str) -> tf.Tensor:
    """`rounding_error` of all distances at once, so that it does not depend on the blocks.

    No squared distance between two rows is above four times the largest one to the center.
    """
    center = tf.reduce_mean(pool, axis=0, keepdims=True)
    spread = tf.concat([squared_distances(anchor, center), squared_distances(pool, center)], axis=0)
    check_finite("pool", spread)
    return rounding_error(4 * spread, comparable_distance(distance))


def among_nearest(distances: tf.Tensor, limit: int, tolerance: tf.Tensor) -> tf.Tensor:
    """Which are among so many nearest of their row; of those that tie for it the lower indices."""
    # The offset of two infinite distances is NaN, and every comparison with it is False.
    offset = distances + tf.math.top_k(-distances, limit).values[:, -1:]
    nearer = offset < -tolerance
    tied = tf.abs(offset) <= tolerance
    quota = limit - tf.math.count_nonzero(nearer, axis=1, keepdims=True)
    return nearer | (tied & (tf.cumsum(tf.cast(tied, tf.int64), axis=1) <= quota))
