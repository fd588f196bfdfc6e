"""Trees over batches of sequences of unequal lengths: every step merges in all of them at once.

Each tree is the one of its sequence alone: the search and the ties are those of `greedy_tree` and
of `bracketing`, which serve a single sequence with less work at each step.
"""

from __future__ import annotations

import numpy as np

from numpy_infer.support.bracketing import Parents, Scores, pair_costs
from numpy_infer.support.bracketing import rounding_error as score_error
from numpy_infer.support.checks import check_integers
from numpy_infer.support.greedy_tree import Merge, largest_length, pair_scores, rounding_error
from numpy_infer.support.ties import first_minimum


def is_batch(vectors: np.ndarray, lengths: np.ndarray | None) -> bool:
    """Whether vectors are a batch of sequences. ValueError for lengths beside a single one."""
    if vectors.ndim == 2 and lengths is not None:
        raise ValueError(f"lengths: expected None beside vectors of two axes, got {lengths}")
    return vectors.ndim == 3


def as_sequences(vectors: np.ndarray, lengths: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The leaves of a batch, (batch, n, dim), 0 behind the ends, and the lengths, (batch,) int64.

    Raises:
        TypeError: lengths that are no integers.
        ValueError: another number of lengths, or lengths outside of 1..n.
    """
    batch, n, _ = vectors.shape
    if lengths is None:
        return vectors, np.full(batch, n, np.int64)
    check_integers("lengths", lengths, ndim=1)
    if len(lengths) != batch:
        raise ValueError(f"lengths: expected {batch} of them, got {len(lengths)}")
    if batch and not (lengths.min() >= 1 and lengths.max() <= n):
        got = f"{lengths.min()}..{lengths.max()}"
        raise ValueError(f"lengths: expected lengths in 1..{n}, got {got}")
    lengths = lengths.astype(np.int64)
    real = np.arange(n) < lengths[:, None]
    return np.where(real[..., None], vectors, vectors.dtype.type(0)), lengths


def longest_first(lengths: np.ndarray, n: int) -> tuple[np.ndarray, list[int]]:
    """The sequences in the order of their lengths, (batch,), and how many have a t-th merge."""
    order = np.argsort(-lengths, kind="stable")
    counts = np.count_nonzero(lengths > np.arange(1, n)[:, None], axis=1)
    return order, counts[counts > 0].tolist()


def greedy_trees(
    vectors: np.ndarray, lengths: np.ndarray, merge: Merge, *, adjacent: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The merges of each sequence, and the embeddings and the scores of all nodes.

    Merges are (batch, n−1, 2), −1 behind the root; embeddings (batch, 2n−1, dim) and scores
    (batch, 2n−1) repeat the root. Each pair of nodes is scored once, and the new nodes of all
    sequences in one batch.

    Args:
        vectors: (batch, n, dim), the leaves: nodes 0..length−1 of a sequence. Its t-th merge makes
            node length+t.
        lengths: (batch,) int64.
        merge: parents (k, dim) and errors (k,) of left and of right children, (k, dim) each, and
            of their numbers of leaves, (k, 2).
        adjacent: whether only neighboring nodes are merged.
    """
    batch, n, dim = vectors.shape
    order, counts = longest_first(lengths, n)
    vectors, lengths = vectors[order], lengths[order]
    # Slots are numbered through all sequences, n for each. A parent takes the slot of its left
    # child; the slot of the right child is closed.
    start = np.arange(batch) * n
    end = start + lengths
    slots = start[:, None] + np.arange(n)  # the open ones, in order, and padding behind them
    nodes = vectors.reshape(batch * n, dim).copy()
    ranks = np.zeros_like(nodes[:, 0])  # the scores, but no NaN and no infinity
    leaves = np.ones_like(ranks)
    ids = np.tile(np.arange(n), batch)
    merges = np.full((batch, n - 1, 2), -1)
    embeddings = np.concatenate([vectors, vectors[:, 1:]], axis=1)
    scores = np.zeros_like(embeddings[..., 0])
    row = np.arange(batch)
    # costs[b, i, j]: the score of merging the nodes in slots i < j of sequence b.
    costs = np.full((batch, n, n), np.inf, vectors.dtype)
    gap = np.arange(n) - np.arange(n)[:, None]
    first, second = np.nonzero((gap == 1) if adjacent else (gap > 0))
    real = second < lengths[:, None]
    i, j = (start[:, None] + first)[real], (start[:, None] + second)[real]
    costs.reshape(-1)[i * n + j % n] = pair_scores(merge, nodes, ranks, i, j, leaves)
    length = largest_length(vectors)
    for t, count in enumerate(counts):  # of the longest sequences, which have two nodes or more
        row, flat = row[:count], costs[:count].reshape(count, n * n)
        tolerance = rounding_error(flat.min(axis=1), length[:count])
        left, right = np.divmod(first_minimum(flat, tolerance[:, None]), n)
        i, j, node = start[:count] + left, start[:count] + right, lengths[:count] + t
        pair = np.stack([ids[i], ids[j]], axis=1)
        merges[:count, t] = pair
        parent, error = merge(nodes[i], nodes[j], np.stack([leaves[i], leaves[j]], axis=1))
        embeddings[row, node] = nodes[i] = parent
        scores[row, node] = error + scores[row[:, None], pair].sum(axis=1)
        leaves[i] += leaves[j]
        ranks[i], ids[i] = costs[row, left, right], node
        costs[row, right], costs[row, :, right] = np.inf, np.inf
        slots = without(slots[:count], j)
        partners = neighbors(slots, i) if adjacent else without(slots, i)
        real = partners < end[:count, None]
        partners, i = partners[real], np.broadcast_to(i[:, None], real.shape)[real]
        i, j = np.minimum(partners, i), np.maximum(partners, i)
        costs.reshape(-1)[i * n + j % n] = pair_scores(merge, nodes, ranks, i, j, leaves)
    back = np.argsort(order)
    embeddings, scores = repeated_root(embeddings, lengths), repeated_root(scores, lengths)
    return merges[back], embeddings[back], scores[back]


def adjacent_trees(
    vectors: np.ndarray,
    lengths: np.ndarray,
    parents: Parents,
    scores: Scores,
    score_weight: np.ndarray,
    score_bias: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The merges of each sequence, their first and last leaves, and all nodes.

    Merges and leaves are (batch, n−1, 2), −1 behind the root; nodes are (batch, 2n−1, dim).

    Args:
        vectors: (batch, n, dim), the leaves: nodes 0..length−1 of a sequence. Its t-th merge makes
            node length+t.
        lengths: (batch,) int64.
        parents: the parents of left and of right children, (k, dim) each.
        scores: the scores of parents, (k,).
        score_weight, score_bias: of the projection that gives the scores.
    """
    batch, n, dim = vectors.shape
    nodes = np.zeros((batch, 2 * n - 1, dim), vectors.dtype)
    nodes[:, :n] = vectors
    # One pair for each gap between two leaves. A gap is closed when its pair is merged; beside
    # padding it is closed from the beginning, and has no node on either side.
    real = np.arange(1, n) < lengths[:, None]
    left, right = np.where(real, np.arange(n - 1), -1), np.where(real, np.arange(1, n), -1)
    first, last = left.copy(), right.copy()
    costs = np.full((batch, n - 1), np.inf, vectors.dtype)
    b, new = np.nonzero(real)
    costs[b, new] = pair_costs(parents, scores, nodes[b, new], nodes[b, new + 1])
    tolerance = score_error(score_weight, score_bias)
    merges, brackets = np.full((2, batch, n - 1, 2), -1)
    for t in range(lengths.max(initial=1) - 1):
        b = np.flatnonzero(t < lengths - 1)  # the sequences with two nodes or more
        node, gap = lengths[b] + t, first_minimum(costs[b], tolerance)
        pair, span = (left[b, gap], right[b, gap]), (first[b, gap], last[b, gap])
        merges[b, t], brackets[b, t] = np.stack(pair, axis=1), np.stack(span, axis=1)
        nodes[b, node] = parents(nodes[b, pair[0]], nodes[b, pair[1]])
        costs[b, gap] = np.inf
        row, before = np.nonzero(right[b] == pair[0][:, None])
        right[b[row], before], last[b[row], before] = node[row], span[1][row]
        next_row, behind = np.nonzero(left[b] == pair[1][:, None])
        left[b[next_row], behind], first[b[next_row], behind] = node[next_row], span[0][next_row]
        new = np.concatenate([before, behind])
        b = b[np.concatenate([row, next_row])]
        costs[b, new] = pair_costs(parents, scores, nodes[b, left[b, new]], nodes[b, right[b, new]])
    return merges, brackets, repeated_root(nodes, lengths)


def without(slots: np.ndarray, slot: np.ndarray) -> np.ndarray:
    """Each row of slots, (batch, k), without one of them, (batch,): (batch, k−1)."""
    before = slots[:, :-1]
    return np.where(before < slot[:, None], before, slots[:, 1:])


def neighbors(slots: np.ndarray, slot: np.ndarray) -> np.ndarray:
    """The slots before and behind a slot, (batch, 2); at an end, the one that there is twice."""
    others = without(slots, slot)
    rank = np.count_nonzero(others < slot[:, None], axis=1)
    last = others.shape[1] - 1
    ranks = np.stack([np.maximum(rank - 1, 0), np.minimum(rank, last)], axis=1)
    return np.take_along_axis(others, ranks, axis=1) if last >= 0 else others


def repeated_root(nodes: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Nodes with the root of each tree in the place of all that stand behind it.

    nodes: (batch, 2n−1, ...), of which the first 2·length−1 are those of the tree.
    """
    last = np.minimum(np.arange(nodes.shape[1]), 2 * lengths[:, None] - 2)
    repeated: np.ndarray = nodes[np.arange(len(nodes))[:, None], last]
    return repeated
