"""Kernels in Triton for a sparse matrix times a table, line by line, and for its gradient.

    sums      out[l] = Σ_k value_k · table[index_k]    over the entries k of line l
    scatter   out[index_k] += value_k · table[l]       for the entries k of each line l

A line is a row of a CSR matrix, or a list of padded ids: there entry 0 is padding, and the value is
1, or 1 / the number of the list's ids for a mean. Either takes one launch, where PyTorch's own
operations take up to fifty, each of which costs the host more than this work costs the GPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ENTRIES = 16  # of a line that are read at a time


@triton.jit
def _entries(
    starts, indices, values, line, length, begin, PADDED: tl.constexpr, ENTRIES: tl.constexpr
):
    """Indices and values of the next entries of a line, the value 0 where there is none."""
    end = (line + 1) * length if PADDED else tl.load(starts + line + 1)
    places = begin + tl.arange(0, ENTRIES)
    index = tl.load(indices + places, mask=places < end, other=0).to(tl.int64)
    if PADDED:
        value = (index != 0).to(tl.float32)
    else:
        value = tl.load(values + places, mask=places < end, other=0.0)
    return index, value


@triton.jit
def _count(indices, line, length, ENTRIES: tl.constexpr):
    """How many ids of a padded list are no padding, at least 1."""
    count = 0
    for begin in range(line * length, (line + 1) * length, ENTRIES):
        places = begin + tl.arange(0, ENTRIES)
        ids = tl.load(indices + places, mask=places < (line + 1) * length, other=0)
        count += tl.sum((ids != 0).to(tl.int32), 0)
    return tl.maximum(count, 1)


@triton.jit(do_not_specialize=["length"])
def _sums_kernel(
    table,
    starts,
    indices,
    values,
    out,
    d,
    length,
    PADDED: tl.constexpr,
    MEAN: tl.constexpr,
    ENTRIES: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    line = tl.program_id(0).to(tl.int64)
    features = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    first = line * length if PADDED else tl.load(starts + line)
    last = (line + 1) * length if PADDED else tl.load(starts + line + 1)
    total = tl.zeros((BLOCK_D,), table.dtype.element_ty)
    for begin in range(first, last, ENTRIES):
        index, value = _entries(starts, indices, values, line, length, begin, PADDED, ENTRIES)
        inside = (value != 0)[:, None] & (features < d)[None, :]
        rows = tl.load(table + index[:, None] * d + features[None, :], mask=inside, other=0.0)
        total += tl.sum(value.to(rows.dtype)[:, None] * rows, 0)
    if MEAN:
        total = total / _count(indices, line, length, ENTRIES).to(total.dtype)
    tl.store(out + line * d + features, total, mask=features < d)


@triton.jit(do_not_specialize=["length"])
def _scatter_kernel(
    table,
    starts,
    indices,
    values,
    out,
    d,
    length,
    PADDED: tl.constexpr,
    MEAN: tl.constexpr,
    ENTRIES: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    line = tl.program_id(0).to(tl.int64)
    features = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    first = line * length if PADDED else tl.load(starts + line)
    last = (line + 1) * length if PADDED else tl.load(starts + line + 1)
    row = tl.load(table + line * d + features, mask=features < d, other=0.0)
    if MEAN:
        row = row / _count(indices, line, length, ENTRIES).to(row.dtype)
    for begin in range(first, last, ENTRIES):
        index, value = _entries(starts, indices, values, line, length, begin, PADDED, ENTRIES)
        inside = (value != 0)[:, None] & (features < d)[None, :]
        places = out + index[:, None] * d + features[None, :]
        tl.atomic_add(places, value.to(row.dtype)[:, None] * row[None, :], mask=inside)


def line_sums(table: Tensor, starts: Tensor, indices: Tensor, values: Tensor) -> Tensor:
    """(lines, features): the lines of a sparse matrix times a table of this dtype."""
    out = table.new_empty(len(starts) - 1, table.shape[1])
    _launch(_sums_kernel, table, starts, indices, values, out, len(out), 0)
    return out


def scattered_lines(
    table: Tensor, starts: Tensor, indices: Tensor, values: Tensor, rows: int
) -> Tensor:
    """(rows, features): the transpose of the lines times a table with a row for each of them."""
    out = table.new_zeros(rows, table.shape[1])
    _launch(_scatter_kernel, table, starts, indices, values, out, len(starts) - 1, 0)
    return out


def bag_sums(table: Tensor, ids: Tensor, mean: bool) -> Tensor:
    """(lists, features): the sums or means of the rows of the ids, (lists, longest), but for 0."""
    if not ids.shape[1]:
        return table.new_zeros(len(ids), table.shape[1])
    out = table.new_empty(len(ids), table.shape[1])
    ids = ids.contiguous()
    _launch(_sums_kernel, table, ids, ids, table, out, len(ids), ids.shape[1], mean=mean)
    return out


def scattered_bags(grad_output: Tensor, ids: Tensor, rows: int, mean: bool) -> Tensor:
    """The gradient of `bag_sums` by the table, (rows, features)."""
    out = grad_output.new_zeros(rows, grad_output.shape[1])
    if not ids.shape[1]:
        return out
    ids = ids.contiguous()
    given = (grad_output.contiguous(), ids, ids, grad_output)
    _launch(_scatter_kernel, *given, out, len(ids), ids.shape[1], mean=mean)
    return out


def _launch(
    kernel, table, starts, indices, values, out, lines, length, *, mean: bool = False
) -> None:
    d = table.shape[1]
    if not lines or not d:
        return
    block = min(128, max(16, triton.next_power_of_2(d)))
    with torch.cuda.device(table.device):
        kernel[lines, triton.cdiv(d, block)](
            table,
            starts,
            indices,
            values,
            out,
            d,
            length,
            PADDED=length > 0,
            MEAN=mean,
            ENTRIES=ENTRIES,
            BLOCK_D=block,
            num_warps=max(1, block // 32),
        )
