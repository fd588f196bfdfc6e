"""A projection whose input is dense or sparse, at a cost that grows with the non-zeros.

    y = x·weight + bias

Source: seed topic, sparse input data with Theano.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pytorch_impl.checks import (
    check_count,
    check_dtype,
    check_floating,
    check_not_empty,
    check_width,
)
from pytorch_impl.initializers import generator, glorot_uniform

LAYOUTS = (torch.strided, torch.sparse_coo, torch.sparse_csr, torch.sparse_csc)


class SparseProjection(nn.Module):
    """Projects rows of features; those that are not stored cost nothing.

    weight: (in_features, out_features), bias: (out_features,). Their gradients are dense.
    """

    def __init__(
        self, in_features: int, out_features: int, *, bias: bool = True, seed: int | None = None
    ) -> None:
        super().__init__()
        check_count("in_features", in_features)
        check_count("out_features", out_features)
        self.config = {"in_features": in_features, "out_features": out_features, "bias": bias}
        self.weight = glorot_uniform(in_features, out_features, generator=generator(seed))
        self.register_parameter("bias", nn.Parameter(torch.zeros(out_features)) if bias else None)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, in_features), strided, COO, CSR or CSC. Returns (batch, out_features).

        Entries that are stored twice are summed. A sparse x is data and gets no gradient.
        TypeError for another dtype than the weight's or another layout, ValueError for an
        empty batch or a wrong number of features.
        """
        check_floating("x", x, ndim=2)
        if x.layout not in LAYOUTS:
            raise TypeError(f"x: expected one of {', '.join(map(str, LAYOUTS))}, got {x.layout}")
        check_dtype("x", x, self.weight.dtype)
        check_not_empty("x", x)
        check_width("x", x, self.weight.shape[0])
        if x.layout != torch.strided:
            x = x.detach()
        y = x @ self.weight
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())
