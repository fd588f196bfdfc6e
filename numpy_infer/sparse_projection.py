"""A projection whose input is dense or sparse, at a cost that grows with the non-zeros.

y = x·weight + bias
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from numpy_infer.fast import sparse_projection as fast
from numpy_infer.support.checks import check_dtype, check_floating, check_like, check_width
from numpy_infer.support.layer import Layer
from numpy_infer.support.sparse_matrix import SparseMatrix, by_rows, checked_matrix

__all__ = ["SparseMatrix", "SparseProjection"]


class SparseProjection(Layer):
    """Projects rows of features, y = x·weight + bias; zeros that are not stored cost nothing.

    Args:
        previous: the layer whose output is projected.
        weight: (in_features, out_features), floating.
        bias: (out_features,), or None for no bias.
    Example:
        >>> from numpy_infer import Input
        >>> x = SparseMatrix.from_dense(np.array([[0.0, 2.0], [3.0, 0.0]]))
        >>> SparseProjection(Input(), np.array([[1.0], [5.0]]))(x).tolist()
        [[10.0], [3.0]]
    """

    def __init__(self, previous: Layer, weight: np.ndarray, bias: np.ndarray | None = None) -> None:
        super().__init__(previous)
        check_floating("weight", weight, ndim=2)
        if bias is not None:
            check_like("bias", bias, "a row of weight", weight[0])
        self.weight = weight
        self.bias = bias

    @staticmethod
    def array_shapes(
        in_features: int, out_features: int, bias: bool = True
    ) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        shapes: dict[str, tuple[int, ...]] = {"weight": (in_features, out_features)}
        return {**shapes, "bias": (out_features,)} if bias else shapes

    def forward(self, x: Any) -> np.ndarray:
        """(batch, in_features) → (batch, out_features).

        Args:
            x: an array, or a CSR or CSC matrix, our own or SciPy's. Entries that are stored twice
                are summed.
        Raises:
            TypeError: neither an array nor such a matrix, or another dtype than the weight's.
            ValueError: another number of features, or parts of a matrix that do not fit.
        """
        dense = isinstance(x, np.ndarray)
        x = x if dense else checked_matrix("x", x)
        values = x if dense else x.data
        check_floating("x", values, ndim=2 if dense else 1)
        check_dtype("x", values, self.weight.dtype)
        check_width("x", x, self.weight.shape[0])
        y: np.ndarray
        if dense:
            y = x @ self.weight
        elif fast.applies(x, self.weight):  # rows of few entries
            y = fast.product(by_rows(x), self.weight)
        else:
            y = _plain_product(by_rows(x), self.weight)
        return y if self.bias is None else y + self.bias


def _plain_product(x: SparseMatrix, weight: np.ndarray) -> np.ndarray:
    """The formula: y_i = Σ value · weight[column], over the entries that row i of x stores."""
    y = np.zeros((x.shape[0], weight.shape[1]), weight.dtype)
    for y_i, (start, end) in zip(y, pairwise(x.indptr.tolist()), strict=True):
        x.data[start:end].dot(weight.take(x.indices[start:end], axis=0), out=y_i)
    return y
