"""Kernels in Triton for losses of all pairs: no array of all distances is written or read.

Each program holds a block of anchors and reads all rows, block by block. The distances of a block
of pairs stay in registers; only their sums, extremes and products are written. A product of float32
is made of three products of TF32, which together keep its digits. Imported on CUDA alone.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

LOG2_E = tl.constexpr(1.4426950408889634)
ROUNDING = tl.constexpr(8 * 2.0**-23)  # as in squared_distances: what counts as a distance of 0
TIED = tl.constexpr(32 * 2.0**-23)  # as in rounding_error: what separates two distances
LAST = tl.constexpr(2**31 - 1)


@triton.jit
def _points(x, center, rows, n, d, COSINE: tl.constexpr, BLOCK_D: tl.constexpr):
    """Rows of x minus the center, (rows, BLOCK_D), with zeros for what is not there."""
    features = tl.arange(0, BLOCK_D)
    inside = (rows < n)[:, None] & (features < d)[None, :]
    points = tl.load(x + rows[:, None] * d + features[None, :], mask=inside, other=0.0)
    if not COSINE:
        middle = tl.load(center + features, mask=features < d, other=0.0)
        middle = tl.where(tl.abs(middle) < float("inf"), middle, 0.0)
        points = tl.where(inside, points - middle[None, :], 0.0)
    return points


@triton.jit
def _distances(xi, xj, COSINE: tl.constexpr):
    """Squared distances, or for unit rows 1 − cosine, of a block of pairs."""
    product = tl.dot(xi, tl.trans(xj), input_precision="tf32x3")
    if COSINE:
        return 1.0 - product
    norms = tl.sum(xi * xi, 1)[:, None] + tl.sum(xj * xj, 1)[None, :]
    square = norms - 2.0 * product
    return tl.where(square <= ROUNDING * norms, 0.0, square)


@triton.jit(do_not_specialize=["n"])
def _soft_neighbors_kernel(
    x,
    center,
    labels,
    temperature,
    losses,
    paired,
    stats,
    n,
    d,
    COSINE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """The loss of each anchor, whether it has positives, and what the gradient needs, (4, n)."""
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    xi = _points(x, center, rows, n, d, COSINE, BLOCK_D)
    yi = tl.load(labels + rows, mask=rows < n, other=0)
    scale = LOG2_E / tl.load(temperature)
    near_all = tl.full((BLOCK_M,), float("inf"), tl.float32)
    near_same = tl.full((BLOCK_M,), float("inf"), tl.float32)
    sum_all = tl.zeros((BLOCK_M,), tl.float32)
    sum_same = tl.zeros((BLOCK_M,), tl.float32)
    positives = tl.zeros((BLOCK_M,), tl.int32)
    for start in range(0, n, BLOCK_N):
        columns = start + tl.arange(0, BLOCK_N)
        xj = _points(x, center, columns, n, d, COSINE, BLOCK_D)
        yj = tl.load(labels + columns, mask=columns < n, other=0)
        D = _distances(xi, xj, COSINE)
        others = (rows[:, None] != columns[None, :]) & (columns < n)[None, :]
        same = others & (yi[:, None] == yj[None, :])
        positives += tl.sum(same.to(tl.int32), 1)
        # The sums of exp((nearest − D) / T), kept right while the nearest distance falls.
        to_all = tl.where(others, D, float("inf"))
        nearest = tl.minimum(near_all, tl.min(to_all, 1))
        based = tl.where(nearest < float("inf"), nearest, 0.0)
        sum_all = sum_all * tl.exp2((based - near_all) * scale)
        sum_all += tl.sum(tl.exp2((based[:, None] - to_all) * scale), 1)
        near_all = nearest
        to_same = tl.where(same, D, float("inf"))
        nearest = tl.minimum(near_same, tl.min(to_same, 1))
        based = tl.where(nearest < float("inf"), nearest, 0.0)
        sum_same = sum_same * tl.exp2((based - near_same) * scale)
        sum_same += tl.sum(tl.exp2((based[:, None] - to_same) * scale), 1)
        near_same = nearest
    log_all, log_same = tl.log2(sum_all), tl.log2(sum_same)
    loss = ((near_same - near_all) * scale + (log_all - log_same)) / LOG2_E
    # A singleton has loss 0, or NaN for a NaN.
    loss = tl.where(positives > 0, loss, tl.where(sum_all == sum_all, 0.0, sum_all))
    tl.store(losses + rows, loss, mask=rows < n)
    tl.store(paired + rows, (positives > 0).to(tl.float32), mask=rows < n)
    tl.store(stats + rows, near_all, mask=rows < n)
    tl.store(stats + n + rows, log_all, mask=rows < n)
    tl.store(stats + 2 * n + rows, near_same, mask=rows < n)
    tl.store(stats + 3 * n + rows, log_same, mask=rows < n)


@triton.jit(do_not_specialize=["n"])
def _soft_neighbors_gradient_kernel(
    x,
    center,
    labels,
    temperature,
    weights,
    stats,
    grad,
    n,
    d,
    COSINE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """The gradient of Σ weight · loss by each anchor, as an anchor and as a neighbor.

    With p and q the shares of a neighbor among all and among the positives, and
    S_ij = w_i (p_ij − q_ij) + w_j (p_ji − q_ji), it is 2/T Σ_j S_ij (x_j − x_i), by cosine
    1/T Σ_j S_ij x_j.
    """
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    xi = _points(x, center, rows, n, d, COSINE, BLOCK_D)
    yi = tl.load(labels + rows, mask=rows < n, other=0)
    wi = tl.load(weights + rows, mask=rows < n, other=0.0)
    near_all_i = tl.load(stats + rows, mask=rows < n, other=0.0)
    log_all_i = tl.load(stats + n + rows, mask=rows < n, other=0.0)
    near_same_i = tl.load(stats + 2 * n + rows, mask=rows < n, other=0.0)
    log_same_i = tl.load(stats + 3 * n + rows, mask=rows < n, other=0.0)
    temperature = tl.load(temperature)
    scale = LOG2_E / temperature
    total = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    row_sum = tl.zeros((BLOCK_M,), tl.float32)
    for start in range(0, n, BLOCK_N):
        columns = start + tl.arange(0, BLOCK_N)
        xj = _points(x, center, columns, n, d, COSINE, BLOCK_D)
        yj = tl.load(labels + columns, mask=columns < n, other=0)
        wj = tl.load(weights + columns, mask=columns < n, other=0.0)
        near_all_j = tl.load(stats + columns, mask=columns < n, other=0.0)
        log_all_j = tl.load(stats + n + columns, mask=columns < n, other=0.0)
        near_same_j = tl.load(stats + 2 * n + columns, mask=columns < n, other=0.0)
        log_same_j = tl.load(stats + 3 * n + columns, mask=columns < n, other=0.0)
        D = _distances(xi, xj, COSINE)
        others = (rows[:, None] != columns[None, :]) & (columns < n)[None, :]
        same = others & (yi[:, None] == yj[None, :])
        of_all = wi[:, None] * tl.exp2((near_all_i[:, None] - D) * scale - log_all_i[:, None])
        of_all += wj[None, :] * tl.exp2((near_all_j[None, :] - D) * scale - log_all_j[None, :])
        of_same = wi[:, None] * tl.exp2((near_same_i[:, None] - D) * scale - log_same_i[:, None])
        of_same += wj[None, :] * tl.exp2((near_same_j[None, :] - D) * scale - log_same_j[None, :])
        S = tl.where(others, of_all, 0.0) - tl.where(same, of_same, 0.0)
        row_sum += tl.sum(S, 1)
        total += tl.dot(S, xj, input_precision="tf32x3")
    if not COSINE:
        total = 2.0 * (total - row_sum[:, None] * xi)
    features = tl.arange(0, BLOCK_D)
    inside = (rows < n)[:, None] & (features < d)[None, :]
    tl.store(grad + rows[:, None] * d + features[None, :], total / temperature, mask=inside)


@triton.jit(do_not_specialize=["n"])
def _extremes_kernel(
    x,
    center,
    labels,
    extremes,
    n,
    d,
    EASIEST: tl.constexpr,
    COSINE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Of each anchor the distance of its hardest positive and negative, and of its farthest row."""
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    xi = _points(x, center, rows, n, d, COSINE, BLOCK_D)
    yi = tl.load(labels + rows, mask=rows < n, other=0)
    positive = tl.full((BLOCK_M,), float("inf"), tl.float32)
    negative = tl.full((BLOCK_M,), float("inf"), tl.float32)
    largest = tl.full((BLOCK_M,), -float("inf"), tl.float32)
    total = tl.zeros((BLOCK_M,), tl.float32)
    for start in range(0, n, BLOCK_N):
        columns = start + tl.arange(0, BLOCK_N)
        xj = _points(x, center, columns, n, d, COSINE, BLOCK_D)
        yj = tl.load(labels + columns, mask=columns < n, other=0)
        D = _distances(xi, xj, COSINE)
        inside = (columns < n)[None, :]
        same = yi[:, None] == yj[None, :]
        others = same & inside & (rows[:, None] != columns[None, :])
        order = D if EASIEST else -D
        positive = tl.minimum(positive, tl.min(tl.where(others, order, float("inf")), 1))
        negative = tl.minimum(negative, tl.min(tl.where(inside & ~same, D, float("inf")), 1))
        largest = tl.maximum(largest, tl.max(tl.where(inside, D, -float("inf")), 1))
        total += tl.sum(tl.where(inside, D, 0.0), 1)  # a maximum would drop NaN
    tl.store(extremes + rows, positive, mask=rows < n)
    tl.store(extremes + n + rows, negative, mask=rows < n)
    tl.store(extremes + 2 * n + rows, largest + 0.0 * total, mask=rows < n)


@triton.jit(do_not_specialize=["n"])
def _first_kernel(
    x,
    center,
    labels,
    extremes,
    largest,
    found,
    n,
    d,
    EASIEST: tl.constexpr,
    COSINE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """The first row of each anchor's extremes, within the tolerance; n − 1 where there is none."""
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    xi = _points(x, center, rows, n, d, COSINE, BLOCK_D)
    yi = tl.load(labels + rows, mask=rows < n, other=0)
    tolerance = TIED * (1.0 if COSINE else tl.load(largest))
    to_positive = tl.load(extremes + rows, mask=rows < n, other=0.0) + tolerance
    to_negative = tl.load(extremes + n + rows, mask=rows < n, other=0.0) + tolerance
    positive = tl.zeros((BLOCK_M,), tl.int32) + (n - 1)
    negative = tl.zeros((BLOCK_M,), tl.int32) + (n - 1)
    for start in range(0, n, BLOCK_N):
        columns = start + tl.arange(0, BLOCK_N)
        xj = _points(x, center, columns, n, d, COSINE, BLOCK_D)
        yj = tl.load(labels + columns, mask=columns < n, other=0)
        D = _distances(xi, xj, COSINE)
        inside = (columns < n)[None, :]
        same = yi[:, None] == yj[None, :]
        others = same & inside & (rows[:, None] != columns[None, :])
        order = D if EASIEST else -D
        places = tl.zeros((BLOCK_M, BLOCK_N), tl.int32) + columns[None, :]
        hit = others & (order <= to_positive[:, None])
        positive = tl.minimum(positive, tl.min(tl.where(hit, places, LAST), 1))
        hit = inside & ~same & (to_negative[:, None] >= D)
        negative = tl.minimum(negative, tl.min(tl.where(hit, places, LAST), 1))
    tl.store(found + rows, positive.to(tl.int64), mask=rows < n)
    tl.store(found + n + rows, negative.to(tl.int64), mask=rows < n)


@triton.jit(do_not_specialize=["m"])
def _count_active_kernel(
    distances,
    positive,
    negative,
    reach,
    counts,
    m,
    BLOCK_J: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """For each column of one anchor, its active triplets: positives count up, negatives down.

    With u = d + reach for a positive, and −d for a negative, a triplet is active where
    u_n > −u_p, whichever of the two is at hand.
    """
    anchor = tl.program_id(0).to(tl.int64) * m
    columns = tl.program_id(1) * BLOCK_J + tl.arange(0, BLOCK_J)
    inside = columns < m
    margin = tl.load(reach)
    own = tl.load(distances + anchor + columns, mask=inside, other=0.0)
    kind = tl.load(positive + anchor + columns, mask=inside, other=0).to(tl.int32)
    kind -= tl.load(negative + anchor + columns, mask=inside, other=0).to(tl.int32)
    bound = tl.where(kind > 0, -(own + margin), own)
    count = tl.zeros((BLOCK_J,), tl.int32)
    for start in range(0, m, BLOCK_K):
        others = start + tl.arange(0, BLOCK_K)
        there = others < m
        d = tl.load(distances + anchor + others, mask=there, other=0.0)
        other = tl.load(positive + anchor + others, mask=there, other=0).to(tl.int32)
        other -= tl.load(negative + anchor + others, mask=there, other=0).to(tl.int32)
        u = tl.where(other > 0, d + margin, -d)
        active = (u[None, :] > bound[:, None]) & (other[None, :] == -kind[:, None])
        count += tl.sum(active.to(tl.int32), 1)
    tl.store(counts + anchor + columns, (kind * count).to(own.dtype), mask=inside)


def soft_neighbors(
    x: Tensor, labels: Tensor, temperature: Tensor, cosine: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Losses, 1 for each anchor with positives, (n,) each, and what the gradient needs.

    x: (n, features), float32, contiguous; of length 1 for cosine distances. temperature: a scalar.
    """
    center, sizes = x.mean(0), _sizes(x)
    losses, paired, stats = x.new_empty(len(x)), x.new_empty(len(x)), x.new_empty(4, len(x))
    given = (x, center, labels, temperature, losses, paired, stats, *x.shape)
    with torch.cuda.device(x.device):
        _soft_neighbors_kernel[_grid(x, sizes)](*given, COSINE=cosine, **sizes)
    return losses, paired, center, stats


def soft_neighbors_gradient(
    x: Tensor,
    labels: Tensor,
    temperature: Tensor,
    cosine: bool,
    center: Tensor,
    stats: Tensor,
    weights: Tensor,
) -> Tensor:
    """The gradient of Σ weight · loss by x; weights: (n,), 0 for an anchor without positives."""
    grad, sizes = torch.empty_like(x), _sizes(x)
    given = (x, center, labels, temperature, weights, stats, grad, *x.shape)
    with torch.cuda.device(x.device):
        _soft_neighbors_gradient_kernel[_grid(x, sizes)](*given, COSINE=cosine, **sizes)
    return grad


def hardest(
    x: Tensor, labels: Tensor, cosine: bool, easiest: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Of each anchor the hardest positive and negative, (2, n), and if it has both, (n,).

    By squared distances, or of unit rows by cosine ones. Also the largest distance, a scalar, which
    is NaN or infinite if any distance is.
    """
    sizes = _sizes(x)
    options = {"EASIEST": easiest, "COSINE": cosine, **sizes}
    extremes, rows = x.new_empty(3, len(x)), labels.new_empty(2, len(x), dtype=torch.int64)
    points = (x, x.mean(0), labels)
    with torch.cuda.device(x.device):
        _extremes_kernel[_grid(x, sizes)](*points, extremes, *x.shape, **options)
        largest = extremes[2].max()
        given = (*points, extremes, largest, rows, *x.shape)
        _first_kernel[_grid(x, sizes)](*given, **options)
    return rows, extremes[:2].isfinite().all(0), largest


def count_active(
    distances: Tensor, positive: Tensor, negative: Tensor, margin: float, tolerance: Tensor
) -> tuple[Tensor, Tensor]:
    """The counts of `_count_active` of all triplets, (n, m) and (n,)."""
    n, m = distances.shape
    counts, reach = torch.empty_like(distances), margin - tolerance
    given = (distances, positive, negative, reach, counts, m)
    with torch.cuda.device(distances.device):
        _count_active_kernel[n, triton.cdiv(m, 128)](*given, BLOCK_J=128, BLOCK_K=64)
    return counts, counts.clamp_min(0).sum(1)


def _sizes(x: Tensor) -> dict[str, int]:
    """Of the blocks: few anchors for each program while there are few rows, to occupy the GPU."""
    features = max(16, triton.next_power_of_2(x.shape[1]))
    if features > 64:
        rows, columns = 32, 32  # more would not fit into the shared memory
    else:
        rows, columns = (32, 64) if len(x) <= 8192 else (64, 32)
    return {"BLOCK_M": rows, "BLOCK_N": columns, "BLOCK_D": features, "num_warps": 4}


def _grid(x: Tensor, sizes: dict[str, int]) -> tuple[int]:
    return (triton.cdiv(len(x), sizes["BLOCK_M"]),)
