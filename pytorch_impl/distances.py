"""Distances between rows of vectors.

    cosine        1 − x·y / (‖x‖ ‖y‖)
    sqeuclidean   ‖x − y‖² = ‖x‖² + ‖y‖² − 2 x·y
    euclidean     ‖x − y‖

All pairs cost one matrix product, (n, d) × (d, m), and no n·m·d differences.
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
from pytorch_impl.support.precision import in_single_precision, matrix_product

DISTANCES = ("cosine", "sqeuclidean", "euclidean")


@in_single_precision
def l2_normalize(x: Tensor, *, epsilon: float = 1e-12) -> Tensor:
    """Divide the vectors on the last axis by their length.

        y = x / max(‖x‖, epsilon)

    Args:
        x: (..., features), floating. Halves compute in float32.
        epsilon: the smallest length that is divided by, above 0.
    Returns:
        The shape of x. A zero vector stays zero, with gradient zero.
    Raises:
        TypeError: an x that is not floating.
        ValueError: an x without axes, an epsilon that is not positive.
    Example:
        >>> l2_normalize(torch.tensor([[0.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.0, 1.0], [0.0, 0.0]]
    """
    check_floating("x", x)
    epsilon = check_number("epsilon", epsilon, above=0)
    # Scale the largest entry to 1 first: squares of large numbers overflow.
    largest = x.detach().abs().amax(-1, keepdim=True)
    limits = torch.finfo(x.dtype)
    scale = largest.clamp(limits.tiny, limits.max)
    x = x / scale
    # A norm has no second derivative at zero: a zero vector is replaced before it is taken.
    zero = largest == 0
    norm = torch.linalg.vector_norm(x + zero, dim=-1, keepdim=True)
    # Dividing a zero vector by infinity gives it gradient 0; by epsilon it would be 1 / epsilon.
    return x / torch.maximum(norm, epsilon / scale).masked_fill(zero, math.inf)


@in_single_precision
def cosine_similarity(x: Tensor, y: Tensor) -> Tensor:
    """Cosine of the angle between every row of x and every row of y.

        s_ij = x_i·y_j / (‖x_i‖ ‖y_j‖)

    Args:
        x: (n, features), floating. Halves compute in float32.
        y: (m, features), the dtype of x.
    Returns:
        (n, m); 0 for a zero row.
    Raises:
        TypeError: an x that is not floating, dtypes that differ.
        ValueError: other than two axes, features that differ.
    Example:
        >>> x, y = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([[3.0, 0.0]])
        >>> cosine_similarity(x, y).tolist()
        [[1.0], [0.0]]
    """
    _check_pair(x, y)
    unit_x = l2_normalize(x)
    unit_y = unit_x if y is x else l2_normalize(y)
    return matrix_product(unit_x, unit_y.T)


@in_single_precision
def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared Euclidean distance of every row of x from every row of y.

        d_ij = ‖x_i − y_j‖² = ‖x_i‖² + ‖y_j‖² − 2 x_i·y_j

    Args:
        x: (n, features), floating. Halves compute in float32.
        y: (m, features), the dtype of x.
    Returns:
        (n, m), never negative, and 0 on the diagonal when y is x. What rounding errors cannot tell
        from 0 is 0.
    Raises:
        TypeError: an x that is not floating, dtypes that differ.
        ValueError: other than two axes, features that differ.
    Example:
        >>> x, y = torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[3.0, 0.0]])
        >>> squared_distances(x, y).tolist()
        [[9.0], [16.0]]
    """
    _check_pair(x, y)
    center = _center(x, y)
    same = y is x
    x = x - center
    y = x if same else y - center
    product = matrix_product(x, y.T)
    # With the norms from the product's diagonal, the distance of a row from itself is exactly 0.
    x_square = product.diagonal() if same else (x * x).sum(1)
    y_square = x_square if same else (y * y).sum(1)
    norms = x_square[:, None] + y_square
    square = product.mul_(-2).add_(norms)
    # Subtract what is rounding, as a constant: the derivatives stay (the second is 2 at x = y too).
    # 1 or 0 is a number here, and multiplied by: a mask takes ten times as long on a CPU.
    constant = square.detach()
    is_rounding = norms.detach().mul_(8 * torch.finfo(x.dtype).eps).ge_(constant)
    largest = torch.finfo(x.dtype).max
    return square.sub_(is_rounding.mul_(constant.clamp(max=largest)))


@in_single_precision
def pairwise_distances(x: Tensor, y: Tensor, *, distance: str = "cosine") -> Tensor:
    """Distance of every row of x from every row of y.

    Args:
        x: (n, features), floating. Halves compute in float32.
        y: (m, features), the dtype of x.
        distance: cosine, sqeuclidean or euclidean.
    Returns:
        (n, m). The gradient of a distance of 0 is 0.
    Raises:
        TypeError: an x that is not floating, dtypes that differ.
        ValueError: an unknown distance, other than two axes, features that differ.
    Example:
        >>> x, y = torch.tensor([[0.0], [4.0]]), torch.tensor([[3.0]])
        >>> pairwise_distances(x, y, distance="euclidean").tolist()
        [[3.0], [1.0]]
    """
    check_choice("distance", distance, DISTANCES)
    if distance == "cosine":
        return 1 - cosine_similarity(x, y)
    square = squared_distances(x, y)
    return _root(square) if distance == "euclidean" else square


@in_single_precision
def paired_distances(x: Tensor, y: Tensor, *, distance: str = "cosine") -> Tensor:
    """Distance of row i of x from row i of y.

    Args:
        x: (n, features), floating. Halves compute in float32.
        y: (n, features), the dtype of x.
        distance: cosine, sqeuclidean or euclidean.
    Returns:
        (n,). The gradient of a distance of 0 is 0.
    Raises:
        TypeError: an x that is not floating, dtypes that differ.
        ValueError: an unknown distance, other than two axes, shapes that differ.
    Example:
        >>> x, y = torch.tensor([[0.0], [4.0]]), torch.tensor([[3.0], [3.0]])
        >>> paired_distances(x, y, distance="euclidean").tolist()
        [3.0, 1.0]
    """
    check_choice("distance", distance, DISTANCES)
    check_floating("x", x, ndim=2)
    check_like("y", y, "x", x)
    if distance == "cosine":
        return 1 - (l2_normalize(x) * l2_normalize(y)).sum(1)
    square = (x - y).square().sum(1)
    return _root(square) if distance == "euclidean" else square


def _root(square: Tensor) -> Tensor:
    """The square root, with gradient 0 at 0, where that of sqrt is infinite."""
    zero = (square == 0).to(square.dtype)
    return (square + zero).sqrt() * (1 - zero)


def _center(x: Tensor, y: Tensor) -> Tensor:
    """A constant that is subtracted from x and y: a common offset would cancel the digits."""
    center = (x.detach().mean(0) + y.detach().mean(0)) / 2
    return center.masked_fill(~center.isfinite(), 0)  # a row with NaN must not spoil all pairs


def _check_pair(x: Tensor, y: Tensor) -> None:
    check_floating("x", x, ndim=2)
    check_floating("y", y, ndim=2)
    check_dtype("y", y, x.dtype)
    check_width("y", y, x.shape[1])
