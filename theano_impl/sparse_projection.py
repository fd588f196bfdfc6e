"""A projection whose input is dense or sparse, at a cost that grows with the non-zeros.

y = x·weight + bias
"""

from __future__ import annotations

import numpy as np
import theano.tensor as T
from theano import sparse
from theano.sparse.basic import SparseVariable
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import (
    check_count,
    check_dtype,
    check_flag,
    check_floating,
    check_seed,
    check_values,
    check_width,
)
from theano_impl.support.layer import Layer
from theano_impl.support.linear import make_linear


class SparseProjection(Layer):
    """Projects rows of features, y = x·weight + bias; zeros that are not stored cost nothing.

    `.output` is (batch, out_features).

    Args:
        x: (batch, in_features), dense, or sparse as CSR or CSC. Entries that are stored twice are
            summed. A sparse x is data and gets no gradient.
        in_features, out_features: weight is (in_features, out_features), bias (out_features,).
            Their gradients are dense.
        bias: whether there is a bias.
        seed: of the weight's start.
    Raises:
        TypeError: another dtype than the weight's.
        AssertionError: when it runs, for another number of features.
    Example:
        >>> x = sparse.csr_from_dense(T.eye(4, 7))
        >>> SparseProjection(x, 7, 3).output.eval().shape
        (4, 3)
    """

    def __init__(
        self,
        x: TensorVariable | SparseVariable,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        seed: int | None = None,
    ) -> None:
        in_features = check_count("in_features", in_features)
        out_features = check_count("out_features", out_features)
        bias = check_flag("bias", bias)
        seed = check_seed("seed", seed)
        config = {"in_features": in_features, "out_features": out_features, "bias": bias}
        super().__init__(x, config=config)
        rng = np.random.default_rng(seed)
        linear = make_linear(self, None, in_features, out_features, bias=bias, rng=rng)
        self.weight, self.bias = linear

        check_floating("x", x, ndim=2)
        check_dtype("x", x, self.weight.dtype)
        if isinstance(x, SparseVariable):
            # x.shape would make it dense, and an assertion on it spoil its type: ask the weight.
            columns = sparse.csm_shape(x)[1]
            wanted = f"{in_features} features"
            weight = check_values(self.weight, T.eq(columns, in_features), "x", wanted)
            y = sparse.structured_dot(x, weight)
            self.output = y if self.bias is None else y + self.bias
        else:
            x = check_width("x", x, in_features)
            self.output = linear(x)

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[SparseVariable]:
        return [sparse.csr_matrix("x", dtype=dtype)]
