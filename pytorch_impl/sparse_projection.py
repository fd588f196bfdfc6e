"""A projection whose input is dense or sparse, at a cost that grows with the non-zeros.

y = x·weight + bias
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pytorch_impl.fast import sparse_projection as fast
from pytorch_impl.support.checks import check_count, check_flag, check_floating, check_width
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.initializers import generator, glorot_uniform
from pytorch_impl.support.precision import check_layer_dtype, product_dtype
from pytorch_impl.support.sparse_product import sparse_product

LAYOUTS = (torch.strided, torch.sparse_coo, torch.sparse_csr, torch.sparse_csc)


class SparseProjection(ConfiguredModule):
    """Projects rows of features, y = x·weight + bias; zeros that are not stored cost nothing.

    Args:
        in_features, out_features: weight is (in_features, out_features), bias (out_features,).
            Their gradients are dense.
        bias: whether there is a bias.
        seed: of the weight's start; None for PyTorch's default generator.
    Example:
        >>> x = torch.eye(4, 7).to_sparse()
        >>> SparseProjection(7, 3)(x).shape
        torch.Size([4, 3])
    """

    def __init__(
        self, in_features: int, out_features: int, *, bias: bool = True, seed: int | None = None
    ) -> None:
        super().__init__()
        in_features = check_count("in_features", in_features)
        out_features = check_count("out_features", out_features)
        bias = check_flag("bias", bias)
        self.config = {"in_features": in_features, "out_features": out_features, "bias": bias}
        self.weight = glorot_uniform(in_features, out_features, generator=generator(seed))
        self.register_parameter("bias", nn.Parameter(torch.zeros(out_features)) if bias else None)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_features) → (batch, out_features).

        Args:
            x: strided, COO, CSR or CSC. Entries that are stored twice are summed. A sparse x is
                data and gets no gradient.
        Raises:
            TypeError: another layout, or another dtype than the weight's. Under autocast, halves
                and float32 may meet.
            ValueError: another number of features, or a COO tensor with a dense axis.
        """
        check_floating("x", x, ndim=2)
        if x.layout not in LAYOUTS:
            raise TypeError(f"x: expected one of {', '.join(map(str, LAYOUTS))}, got {x.layout}")
        if x.layout == torch.sparse_coo and x.sparse_dim() != 2:
            raise ValueError(f"x: expected two sparse axes, got {x.sparse_dim()}, the other dense")
        check_layer_dtype("x", x, self.weight.dtype)
        check_width("x", x, self.weight.shape[0])
        if x.layout == torch.strided:
            y = x @ self.weight
        elif fast.applies(x, self.weight):  # everywhere but under torch.func and torch.export
            y = fast.product(x, self.weight).to(product_dtype(x))
        else:
            y = sparse_product(x, self.weight).to(product_dtype(x))
        return y if self.bias is None else y + self.bias.to(y.dtype)
