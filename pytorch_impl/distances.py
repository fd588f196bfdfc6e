"""Distances between rows of vectors.

    cosine        1 − x·y / (‖x‖ ‖y‖)
    sqeuclidean   ‖x − y‖² = ‖x‖² + ‖y‖² − 2 x·y
    euclidean     ‖x − y‖

All pairs at once cost one matrix product (seed topic: computational bottlenecks).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pytorch_impl.support.checks import (
    check_choice,
    check_dtype,
    check_floating,
    check_like,
    check_number,
    check_width,
)
from pytorch_impl.support.precision import in_single_precision

DISTANCES = ("cosine", "sqeuclidean", "euclidean")


@in_single_precision
def l2_normalize(x: Tensor, *, epsilon: float = 1e-12) -> Tensor:
    """Divide the vectors on the last axis by max(‖x‖, epsilon).

    x: (..., features), floating. Returns the same shape. A zero vector stays zero and gets
    no gradient. TypeError for integers, ValueError for an epsilon that is not positive. Halves
    compute in float32.
    """
    check_floating("x", x)
    epsilon = check_number("epsilon", epsilon, above=0)
    # Scaled to a largest entry of 1 first: squares of large numbers would overflow.
    largest = x.detach().abs().amax(-1, keepdim=True)
    scale = torch.where((largest > 0) & largest.isfinite(), largest, 1)
    x = x / scale
    # A norm has no second derivative at zero: that of a zero vector is not asked for.
    zero = largest == 0
    norm = torch.linalg.vector_norm(x.masked_fill(zero, 1), dim=-1, keepdim=True)
    # Flooring the norm alone would pass a zero vector's gradient on, times 1 / epsilon.
    return x / torch.maximum(norm, epsilon / scale).masked_fill(zero, math.inf)


@in_single_precision
def cosine_similarity(x: Tensor, y: Tensor) -> Tensor:
    """Cosine of the angle between every row of x and every row of y; 0 for a zero row.

    x: (n, features), y: (m, features). Returns (n, m). ValueError when the features differ. Halves
    compute in float32.
    """
    _check_pair(x, y)
    unit_x = l2_normalize(x)
    unit_y = unit_x if y is x else l2_normalize(y)
    return unit_x @ unit_y.T


@in_single_precision
def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """‖x_i − y_j‖² for every row of x and every row of y.

    x: (n, features), y: (m, features). Returns (n, m), never negative, and zero on the
    diagonal when y is x. What rounding cannot tell from zero is zero. Halves compute in float32.
    """
    _check_pair(x, y)
    center = _center(x, y)
    same = y is x
    x = x - center
    y = x if same else y - center
    product = x @ y.T
    # The product's own diagonal cancels to exactly zero; norms summed apart would not.
    x_square = product.diagonal() if same else (x * x).sum(1)
    y_square = x_square if same else (y * y).sum(1)
    norms = x_square[:, None] + y_square
    square = product.mul_(-2).add_(norms)
    unsure = norms.detach().mul_(8 * torch.finfo(x.dtype).eps)
    # Less itself, it is zero, and its derivatives stay: the second one is 2 where x = y too.
    return square.sub_(square.detach().masked_fill(square > unsure, 0))


@in_single_precision
def pairwise_distances(x: Tensor, y: Tensor, *, distance: str = "cosine") -> Tensor:
    """The distance between every row of x and every row of y.

    x: (n, features), y: (m, features); distance: cosine, sqeuclidean or euclidean.
    Returns (n, m). The gradient of a distance of zero is zero. Halves compute in float32.
    """
    check_choice("distance", distance, DISTANCES)
    if distance == "cosine":
        return 1 - cosine_similarity(x, y)
    square = squared_distances(x, y)
    return _root(square) if distance == "euclidean" else square


@in_single_precision
def paired_distances(x: Tensor, y: Tensor, *, distance: str = "cosine") -> Tensor:
    """The distance between row i of x and row i of y.

    x, y: (n, features); distance: cosine, sqeuclidean or euclidean. Returns (n,). Halves compute in
    float32.
    """
    check_choice("distance", distance, DISTANCES)
    check_floating("x", x, ndim=2)
    check_like("y", y, "x", x)
    if distance == "cosine":
        return 1 - (l2_normalize(x) * l2_normalize(y)).sum(1)
    square = (x - y).square().sum(1)
    return _root(square) if distance == "euclidean" else square


def _root(square: Tensor) -> Tensor:
    """The square root, with gradient zero at zero where sqrt has infinity."""
    zero = square == 0
    return square.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)


def _center(x: Tensor, y: Tensor) -> Tensor:
    """The point that is subtracted from both, a constant: distances do not depend on it."""
    center = (x.detach().mean(0) + y.detach().mean(0)) / 2
    return center.masked_fill(~center.isfinite(), 0)  # one bad row must not spoil all pairs


def _check_pair(x: Tensor, y: Tensor) -> None:
    check_floating("x", x, ndim=2)
    check_floating("y", y, ndim=2)
    check_dtype("y", y, x.dtype)
    check_width("y", y, x.shape[1])
