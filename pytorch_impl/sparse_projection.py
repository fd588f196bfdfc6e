"""A projection whose input is dense or sparse, at a cost that grows with the non-zeros.

    y = x·weight + bias

Source: seed topic, sparse input data with Theano.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.nn import functional as F
from torch.utils.weak import WeakTensorKeyDictionary

from pytorch_impl.support.checks import (
    check_count,
    check_flag,
    check_floating,
    check_width,
)
from pytorch_impl.support.initializers import generator, glorot_uniform
from pytorch_impl.support.precision import check_layer_dtype, product_dtype, widened
from pytorch_impl.support.transforms import batched, transformed

SHORT, LONG = 2**12, 2**15  # of sorts: below SHORT padding to LONG takes longer
LAYOUTS = (torch.strided, torch.sparse_coo, torch.sparse_csr, torch.sparse_csc)


class SparseProjection(nn.Module):
    """Projects rows of features; those that are not stored cost nothing.

    weight: (in_features, out_features), bias: (out_features,). Their gradients are dense.
    The gradient needs the places of a CSR input in the order of its columns (and the product
    those of a CSC input in the order of its rows): sorted once, and kept as long as that tensor
    lives and is not changed. The same batch in a later epoch is not sorted again.
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
        """x: (batch, in_features), strided, COO, CSR or CSC. Returns (batch, out_features).

        Entries that are stored twice are summed. A sparse x is data and gets no gradient. TypeError
        for another dtype than the weight's (under autocast halves and float32 may meet) or another
        layout, ValueError for a wrong number of features.
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
        else:
            # Sparse products in halves do not exist everywhere: this one is rounded to them.
            dtype = product_dtype(x)
            if transformed(self.weight):
                y = _plain_product(x, self.weight)
            else:
                if x.layout == torch.sparse_coo:
                    x = widened(x.detach()).to_sparse_csr()
                y = _SparseProduct.apply(x, self.weight, x.layout == torch.sparse_csc)
            y = y.to(dtype)
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())


def _plain_product(x: Tensor, weight: Tensor) -> Tensor:
    """x·weight for x as CSR or CSC: a scaled row of the weight for each value, summed by rows."""
    with temporarily_clear_interpreter_stack():  # torch.func has no rules for sparse tensors
        entries = x.detach().to_sparse_coo()
        rows, columns = entries._indices()  # also of what is stored twice
        values = entries._values().to(weight.dtype)
    scaled = values[:, None] * weight.index_select(0, columns)
    return scaled.new_zeros(x.shape[0], weight.shape[1]).index_add(0, rows, scaled)


class _Lines(NamedTuple):
    """The places of a sparse matrix line after line, as CSR or CSC has them.

    starts: where each line begins, and where the last one ends. indices: the other axis's index
    of each place. order: where the value of each place is stored.
    """

    starts: Tensor
    indices: Tensor
    order: Tensor


# By the sparse tensor, held weakly: its version when its places were sorted, and these.
_turned: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


class _SparseProduct(torch.autograd.Function):
    """`_product` of x, which is data: its gradient is the product with x transposed."""

    @staticmethod
    def forward(x: Tensor, rows: Tensor, across: bool) -> Tensor:
        # What needs a gradient, embedding_bag would prepare its own for.
        return _product(x, widened(rows.detach()), across=across)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.across = inputs[2]

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[None, Tensor, None]:
        (x,) = ctx.saved_tensors
        if batched(grad_output):
            turned = x.t() if ctx.across == (x.layout == torch.sparse_csc) else x
            return None, _plain_product(turned, grad_output), None
        return None, _SparseProduct.apply(x, grad_output, not ctx.across), None


def _product(x: Tensor, rows: Tensor, *, across: bool) -> Tensor:
    """For each line of x the sum of its values times `rows`; across: each line of the other axis.

    embedding_bag does it in one pass, without the products in between.
    """
    starts, indices = _places(x)
    values = x.values().detach().to(rows.dtype)
    if across:
        starts, indices, order = _other_lines(x)
        values = values.index_select(0, order)
    return F.embedding_bag(
        indices, rows, starts, mode="sum", per_sample_weights=values, include_last_offset=True
    )


def _places(x: Tensor) -> tuple[Tensor, Tensor]:
    """The starts of the lines of a CSR or CSC tensor, and the indices along them.

    As int32 if they fit: embedding_bag takes two thirds of the time with them.
    """
    if x.layout == torch.sparse_csr:
        places = x.crow_indices(), x.col_indices()
    else:
        places = x.ccol_indices(), x.row_indices()
    short = max(*x.shape, len(places[1])) <= torch.iinfo(torch.int32).max
    return (places[0].int(), places[1].int()) if short else places


def _other_lines(x: Tensor) -> _Lines:
    """The columns of a CSR tensor or the rows of a CSC tensor; sorted once for each version."""
    if x.is_inference():  # has no version
        return _sorted(x)
    version, lines = _turned.get(x, (None, None))
    if version != x._version:
        lines = _sorted(x)
        _turned[x] = (x._version, lines)
    return lines


def _sorted(x: Tensor) -> _Lines:
    starts, indices = _places(x)
    axis = 1 if x.layout == torch.sparse_csr else 0
    line = torch.arange(len(starts) - 1, dtype=indices.dtype, device=indices.device)
    order = _argsort(indices, x.shape[axis])
    counts = indices.bincount(minlength=x.shape[axis])
    return _Lines(
        F.pad(counts.cumsum(0), (1, 0)).to(indices.dtype),
        line.repeat_interleave(starts.diff())[order],
        order,
    )


def _argsort(indices: Tensor, width: int) -> Tensor:
    """The order of indices below width, equal ones as they stand.

    On a CPU torch sorts LONG or more integers digit by digit, ten times as fast; so padding pays.
    """
    n = len(indices)
    if width < torch.iinfo(torch.int16).max:
        indices = indices.short()
    if indices.device.type == "cpu" and SHORT < n < LONG:
        last = torch.iinfo(indices.dtype).max
        indices = F.pad(indices, (0, LONG - n), value=last)
    return indices.argsort(stable=True)[:n]
