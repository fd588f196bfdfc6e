"""Mining without masks, by sorts and by blocks: hardest and semi-hard triplets, and a large pool.

Hardest: a mask takes ten times as long as a number on a CPU. So a maximum raises to infinity what
is not to be found, and the first index within the tolerance is the minimum of index + m · [beyond
it]: a few quick passes over a block of rows that stays in the cache. Of 1,024 rows it is four times
faster than the plain way.
Semi-hard: the nearest negative that is farther than a positive comes right after it in the order
of the anchor's distances. One sort of each anchor's negatives serves all of its positives: of 512
rows in 10 classes it is 20 times faster than the plain way on a CPU. A pool of many candidates is
read in blocks, which bounds the memory: with a limit twice, first for the distance to cut at. On a
GPU two kernels find the hardest triplets, and no array of all distances is written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from pytorch_impl.distances import l2_normalize, pairwise_distances
from pytorch_impl.fast.triplet_loss import row_distances
from pytorch_impl.support.checks import check_finite
from pytorch_impl.support.devices import runs_kernels
from pytorch_impl.support.labels import Classes
from pytorch_impl.support.ties import rounding_error, tied_ranks
from pytorch_impl.support.transforms import transformed

MOST_FEATURES = 128  # that the blocks of a kernel hold
SMALL = 24  # rows: up to these the plain way is the faster one
BLOCK = 2**17  # distances that are searched at a time


def applies_to_hardest(embeddings: Tensor) -> bool:
    """Whether it is on a CPU, and neither transformed by torch.func nor compiled."""
    plain = torch.compiler.is_compiling() or transformed(embeddings)
    return embeddings.device.type == "cpu" and not plain


def hardest(
    embeddings: Tensor, classes: Classes, distance: str, positives: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The result of `hardest` in `support.triplet_search`; distance: cosine or sqeuclidean."""
    order, tolerance = _order(embeddings, classes.reference, distance)  # (n, m)
    n, m = order.shape
    found = order.new_empty(2, n), order.new_empty(2, n)  # of negatives and of positives
    numbers, reference_numbers = _class_numbers(classes, order)
    columns = torch.arange(m, dtype=order.dtype)
    block_size = max(1, BLOCK // m)
    scratch = order.new_empty(2, min(block_size, n), m)
    for start in range(0, n, block_size):
        rows = slice(start, min(start + block_size, n))
        excluded, buffer = scratch[:, : rows.stop - start]
        if classes.same is not None:
            excluded.copy_(classes.same[rows])
        else:
            torch.eq(numbers[rows, None], reference_numbers, out=excluded)
        excluded.sub_(0.5).mul_(math.inf)  # inf for the anchor's class, -inf for the others
        if classes.of_batch:
            excluded.diagonal(start).fill_(math.inf)
        _first_minimum(order[rows], excluded, tolerance, columns, buffer, found[0][:, rows])
        excluded.neg_()
        if classes.of_batch:
            excluded.diagonal(start).fill_(math.inf)
        nearer = order[rows].neg_() if positives == "hardest" else order[rows]
        _first_minimum(nearer, excluded, tolerance, columns, buffer, found[1][:, rows])
    (far, nearest), (near, chosen) = found
    return chosen.long(), nearest.long(), torch.maximum(far, near) < math.inf


def _order(x: Tensor, reference: Tensor, distance: str) -> tuple[Tensor, Tensor]:
    """The distances, (n, m), less a constant of each row, and the tolerance of ties."""
    if distance == "cosine":
        unit = l2_normalize(x)
        others = unit if reference is x else l2_normalize(reference)
        order = torch.mm(unit, others.T).neg_()
        return order, rounding_error(order, distance)
    center = (x.mean(0) + reference.mean(0)) / 2  # a common offset would cancel the digits
    others = reference - center
    x = others if reference is x else x - center
    order = torch.addmm(others.square().sum(1), x, others.T, alpha=-2)  # ‖y‖² − 2 x·y
    largest = order.amax(1) + x.square().sum(1)
    check_finite("embeddings", largest)  # the squares of large numbers overflow
    return order, rounding_error(largest, distance)


def _class_numbers(classes: Classes, like: Tensor) -> tuple[Tensor, Tensor]:
    """A floating point number for each label of the anchors and of the reference, if there are."""
    labels, others = classes.labels, classes.reference_labels
    if labels is None or others is None:
        return like, like
    numbers, other_numbers = labels.to(like.dtype), others.to(like.dtype)
    exact = numbers.to(labels.dtype).equal(labels) and other_numbers.to(others.dtype).equal(others)
    if exact:
        return numbers, other_numbers
    ranks = torch.cat([labels, others]).unique(return_inverse=True)[1].to(like.dtype)
    return ranks[: len(labels)], ranks[len(labels) :]


def _first_minimum(
    values: Tensor,
    excluded: Tensor,
    tolerance: Tensor,
    columns: Tensor,
    buffer: Tensor,
    out: Tensor,
) -> None:
    """`first_minimum` of each row where excluded is -inf: the minimum and its index, into out."""
    torch.maximum(values, excluded, out=buffer)
    smallest = torch.amin(buffer, 1, out=out[0])
    buffer.gt_((smallest + tolerance)[:, None])  # 1 beyond the tolerance, else 0
    torch.add(columns, buffer, alpha=len(columns), out=buffer)
    torch.amin(buffer, 1, out=out[1])


def applies(distances: Tensor) -> bool:
    """Whether there are many rows."""
    return max(distances.shape) > SMALL


def applies_on_a_gpu(
    embeddings: Tensor,
    labels: Tensor | None,
    reference: Tensor | None = None,
    reference_labels: Tensor | None = None,
    same: Tensor | None = None,
) -> bool:
    """Whether the kernels find the hardest triplets here: float32 on a GPU, one label for a row."""
    if not (reference is None and reference_labels is None and same is None):
        return False
    if not isinstance(embeddings, Tensor) or not isinstance(labels, Tensor):
        return False
    kinds = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
    return (
        runs_kernels(embeddings)
        and embeddings.dtype is torch.float32
        and embeddings.ndim == 2
        and 0 < embeddings.shape[1] <= MOST_FEATURES
        and labels.device == embeddings.device
        and labels.dtype in kinds
        and labels.shape == embeddings.shape[:1]
        and len(labels) > 0
    )


def gpu_hardest(
    embeddings: Tensor, labels: Tensor, distance: str, positives: str = "hardest"
) -> tuple[Tensor, Tensor, Tensor]:
    """The result of `hardest`, (n,) each, where `applies_on_a_gpu` is true."""
    unit = l2_normalize(embeddings) if distance == "cosine" else embeddings
    rows, has_both, _ = _gpu_search(unit, labels, distance, positives)
    return rows[0], rows[1], has_both


def gpu_hardest_violations(
    embeddings: Tensor, labels: Tensor, *, margin: float, distance: str
) -> tuple[Tensor, Tensor, Tensor]:
    """By how much the hardest triplet of each anchor violates the margin, where it has one.

    Both (n,), where `applies_on_a_gpu` is true, and the tolerance below which it does not. Of all
    distances only those of the triplets have a gradient, 2·n instead of n².
    """
    x = l2_normalize(embeddings) if distance == "cosine" else embeddings
    rows, found, largest = _gpu_search(x, labels, distance, "hardest")
    others = x.index_select(0, rows.flatten()).unflatten(0, rows.shape)  # (2, n, features)
    if distance == "cosine":
        near, far = 1 - (x * others).sum(-1)
    elif distance == "euclidean":
        near, far = row_distances(x, others, distance=distance)
        largest = largest.sqrt()
    else:
        near, far = (x - others).square().sum(-1)
    return margin + near - far, found, rounding_error(largest, distance)


def _gpu_search(
    x: Tensor, labels: Tensor, distance: str, positives: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of positives and negatives, (2, n), which are triplets, (n,), the largest distance.

    x: unit rows for cosine distances. Squares stand for Euclidean distances.
    """
    from pytorch_impl.fast import _pair_kernels as kernels

    given = (x.detach().contiguous(), labels.contiguous(), distance == "cosine")
    rows, has_both, largest = kernels.hardest(*given, positives == "easiest")
    check_finite("embeddings", largest)
    return rows, has_both, largest


def nearest_farther(
    distances: Tensor, negative: Tensor, tolerance: Tensor
) -> tuple[Tensor, Tensor]:
    """The result of `_nearest_farther` in the component: (n, m) int64 and (n, m) bool."""
    m = distances.shape[1]
    ranks = tied_ranks(distances, tolerance)
    # A negative's key orders by distance, then by index: rank · m + index. A key of m² stands for
    # each row that is none, and at the end: there no negative is farther.
    keys = (ranks * m + torch.arange(m, device=ranks.device)).masked_fill(~negative, m * m)
    keys = F.pad(keys.sort(dim=1).values, (0, 1), value=m * m)
    key = keys.gather(1, torch.searchsorted(keys, (ranks + 1) * m))
    return key % m, key < m * m


def applies_to_pool(pool: Tensor, block_size: int) -> bool:
    """Whether the pool is larger than a block."""
    return len(pool) > block_size


def violators(
    anchor: Tensor,
    pool: Tensor,
    reach: Tensor,
    tolerance: Tensor,
    *,
    distance: str,
    limit: int | None,
    block_size: int,
) -> tuple[Tensor, Tensor]:
    """The candidates within the reach, (n, 1), of each anchor, by blocks of the pool.

    distance: cosine or sqeuclidean. Returns the indices of the anchors and of the candidates.
    """

    def blocks() -> Iterator[tuple[int, Tensor]]:
        for start in range(0, len(pool), block_size):
            block = pool[start : start + block_size]
            yield start, pairwise_distances(anchor, block, distance=distance)

    # First reading: the distance of the limit-th violator, the cutoff. Nearer violators are kept,
    # and of those that tie with the cutoff as many as the quota allows, lower indices first.
    cutoff, quota = torch.full_like(reach, math.inf), 0
    if limit is not None:
        nearest = cutoff.repeat(1, min(limit, len(pool)))
        for _, distances in blocks():
            violating = distances.masked_fill(distances >= reach, math.inf)
            joined = torch.cat([nearest, violating], dim=1)
            nearest = joined.topk(nearest.shape[1], largest=False).values
        cutoff = nearest[:, -1:]
        quota = limit - (nearest - cutoff < -tolerance).sum(1, keepdim=True)

    n_ties = torch.zeros_like(reach, dtype=torch.int64)  # in the blocks before this one
    pairs = []
    for start, distances in blocks():
        offset = distances - cutoff
        tied = (distances < reach) & (offset.abs() <= tolerance)
        rank = n_ties + tied.cumsum(1)
        n_ties = rank[:, -1:]
        kept = ((distances < reach) & (offset < -tolerance)) | (tied & (rank <= quota))
        rows, columns = kept.nonzero(as_tuple=True)
        pairs.append((rows, columns + start))
    anchors, candidates = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    order = anchors.argsort(stable=True)
    return anchors[order], candidates[order]
