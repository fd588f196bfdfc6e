"""Which rows make a batch: seeded batches of indices, the same in every framework.

    batches = BalancedBatches(labels, classes=8, samples=4, seed=1)
    for epoch in range(10):
        for index in batches:             # (32,) int64, another order in each epoch
            train(x[index], labels[index])

Each pass over one of these objects is the next epoch. The batches of an epoch depend on the seed
and on its number alone: `batches.epoch`, which may be set, to repeat one or to go on after a break.
`IndexSampler` of `pytorch_impl.support.index_sampler` hands them to PyTorch's `DataLoader`, and
`IndexDataset` of `tf2_impl.support.index_dataset` to `fit` of Keras.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from numpy_infer.support.checks import check_count
from numpy_infer.support.index_draws import Batches, Classes, Deck, TimeOrder, draw_below


class Groups(NamedTuple):
    """Groups of rows with one label each, and rows of other labels."""

    positives: np.ndarray  # (groups, size) int64
    negatives: np.ndarray  # (groups, negatives) int64


class Triplets(NamedTuple):
    """A triplet of rows at each place."""

    anchors: np.ndarray  # (batch,) int64
    positives: np.ndarray  # (batch,) int64
    negatives: np.ndarray  # (batch,) int64


class Pool(NamedTuple):
    """Pairs of rows with one label, and candidates with other labels."""

    anchors: np.ndarray  # (pairs,) int64
    positives: np.ndarray  # (pairs,) int64
    candidates: np.ndarray  # (pool_size,) int64


class BalancedBatches(Batches):
    """Batches of p classes with k samples each, as losses over all pairs of a batch want them.

    Each batch is an (classes · samples,) array of indices, class by class. Classes and the samples
    of a class are dealt like cards: all others come before one comes again, and the samples of a
    class are different ones unless it has fewer than k.

    Args:
        labels: (n,) integers.
        classes: p, in each batch.
        samples: k, of each class.
        batches: in an epoch; n // (p · k), or 1 when that is 0, when None.
        seed: from 0 up.
    Raises:
        TypeError: for labels that are no integers. ValueError: for fewer classes than p.
    Source: A. Hermans, L. Beyer, B. Leibe, In Defense of the Triplet Loss, 2017, section 2.
    Example:
        >>> batches = BalancedBatches(np.array([0, 0, 1, 1, 2, 2]), classes=2, samples=2)
        >>> [index.shape for index in batches]
        [(4,)]
    """

    def __init__(
        self,
        labels: np.ndarray,
        *,
        classes: int,
        samples: int,
        batches: int | None = None,
        seed: int = 0,
    ) -> None:
        self._classes = Classes(labels)
        self._p = check_count("classes", classes, most=len(self._classes.members))
        self._k = check_count("samples", samples)
        super().__init__(batches, seed, each=len(labels) // (self._p * self._k))

    def _draw(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        members = self._classes.members
        classes, samples = Deck(len(members), rng), [Deck(len(one), rng) for one in members]
        for _ in range(len(self)):
            drawn = classes.draw(self._p)
            yield np.concatenate([members[c][samples[c].draw(self._k)] for c in drawn])


class LeaveOneOutGroups(Batches):
    """Groups of rows of one label, each to be predicted from the others, and rows of other labels.

    Each batch is `Groups`. Labels are dealt like cards, and so are the rows of a label; only those
    with `size` rows or more make groups. Negatives are drawn with equal chances, and may repeat.

    Args:
        labels: (n,) integers.
        size: rows of a group, at least 2.
        negatives: rows of other labels for each group.
        batch_size: groups of a batch.
        batches: in an epoch; n // (size · batch_size), or 1 when that is 0, when None.
        seed: from 0 up.
    Raises:
        TypeError: for labels that are no integers. ValueError: when no label has `size` rows, or
        all rows have one label.
    Source: L. Wu et al., StarSpace: Embed All The Things!, 2017, section 3.
    Example:
        >>> groups = LeaveOneOutGroups(
        ...     np.array([0, 0, 0, 1, 1, 1]), size=3, negatives=4, batch_size=2
        ... )
        >>> [(one.positives.shape, one.negatives.shape) for one in groups]
        [((2, 3), (2, 4))]
    """

    def __init__(
        self,
        labels: np.ndarray,
        *,
        size: int,
        negatives: int,
        batch_size: int,
        batches: int | None = None,
        seed: int = 0,
    ) -> None:
        self._classes = Classes(labels)
        self._size = check_count("size", size, least=2)
        self._negatives = check_count("negatives", negatives)
        self._batch_size = check_count("batch_size", batch_size)
        self._usable = self._classes.of_at_least("labels", self._size)
        super().__init__(batches, seed, each=len(labels) // (self._size * self._batch_size))

    def _draw(self, rng: np.random.Generator) -> Iterator[Groups]:
        classes, usable = self._classes, self._usable
        labels = Deck(len(usable), rng)
        rows = {c: Deck(len(classes.members[c]), rng) for c in usable}
        for _ in range(len(self)):
            chosen = [usable[labels.draw(1)[0]] for _ in range(self._batch_size)]
            positives = [classes.members[c][rows[c].draw(self._size)] for c in chosen]
            negatives = [classes.draw_others(c, self._negatives, rng) for c in chosen]
            yield Groups(np.stack(positives), np.stack(negatives))


class NearTriplets(Batches):
    """Triplets from the order of time: a positive is near its anchor, a negative far away.

        0 ≤ |t_a − t_p| ≤ near,  |t_a − t_n| ≥ far or another recording

    Each batch is `Triplets`. Anchors are dealt like cards; those without a positive or a negative
    are left out. Positives and negatives are drawn with equal chances.

    Args:
        times: (n,), of the rows, float32 or float64, in seconds or any other unit.
        near: the largest distance of a positive.
        far: the smallest distance of a negative of the same recording, above near.
        batch_size: triplets of a batch, at most the anchors.
        recordings: (n,) integers, from which recording each row is; from one when None.
        batches: in an epoch; anchors // batch_size when None.
        seed: from 0 up.
    Raises:
        TypeError: for times that are not floating, recordings that are no integers.
        ValueError: for times that are not finite, or when no row has both.
    Source: A. Jansen et al., Unsupervised Learning of Semantic Audio Representations, 2018.
    Example:
        >>> times = np.arange(9.0)
        >>> batch = next(iter(NearTriplets(times, near=1.0, far=4.0, batch_size=5)))
        >>> bool((abs(batch.anchors - batch.positives) == 1).all())
        True
    """

    def __init__(
        self,
        times: np.ndarray,
        *,
        near: float,
        far: float,
        batch_size: int,
        recordings: np.ndarray | None = None,
        batches: int | None = None,
        seed: int = 0,
    ) -> None:
        self._order = TimeOrder(times, recordings, near, far)
        self._anchors = self._order.anchors()
        self._batch_size = check_count("batch_size", batch_size, most=len(self._anchors))
        super().__init__(batches, seed, each=len(self._anchors) // self._batch_size)

    def _draw(self, rng: np.random.Generator) -> Iterator[Triplets]:
        deck, order = Deck(len(self._anchors), rng), self._order
        for _ in range(len(self)):
            anchors = self._anchors[deck.draw(self._batch_size)]  # positions in the order of time
            low, high = order.near_low[anchors], order.near_high[anchors]
            positives = low + draw_below(high - low - 1, rng)
            positives += positives >= anchors  # any but itself
            low, high = order.close_low[anchors], order.close_high[anchors]
            negatives = draw_below(len(order.rows) - (high - low), rng)
            negatives += (negatives >= low) * (high - low)  # any but those
            yield Triplets(order.rows[anchors], order.rows[positives], order.rows[negatives])


class ViolatorPools(Batches):
    """Pairs of one class and a pool of candidates of the others, to look for violators in.

    Each batch is `Pool`. Give its embeddings to `triplet_mining.margin_violators` of a framework,
    and train on the candidates that it finds. Classes are dealt like cards, pairs drawn with equal
    chances; no candidate is twice in a pool.

    Args:
        labels: (n,) integers.
        pairs: of an anchor and a positive in a batch.
        pool_size: candidates of a batch; at most as many as the rows outside of any class.
        batches: in an epoch; n // pairs, or 1 when that is 0, when None.
        seed: from 0 up.
    Raises:
        TypeError: for labels that are no integers. ValueError: when no label has two rows, all rows
        have one label, or the pool is larger than the other classes.
    Example:
        >>> labels = np.array([1, 1, 1, 0, 0, 2, 3])
        >>> pool = next(iter(ViolatorPools(labels, pairs=5, pool_size=4)))
        >>> bool(np.isin(labels[pool.candidates], labels[pool.anchors]).any())
        False
    """

    def __init__(
        self,
        labels: np.ndarray,
        *,
        pairs: int,
        pool_size: int,
        batches: int | None = None,
        seed: int = 0,
    ) -> None:
        self._classes = Classes(labels)
        self._pairs = check_count("pairs", pairs)
        self._usable = self._classes.of_at_least("labels", 2)
        largest = max(len(self._classes.members[c]) for c in self._usable)
        self._pool_size = check_count("pool_size", pool_size, most=len(labels) - largest)
        super().__init__(batches, seed, each=len(labels) // self._pairs)

    def _draw(self, rng: np.random.Generator) -> Iterator[Pool]:
        deck, classes = Deck(len(self._usable), rng), self._classes
        for _ in range(len(self)):
            chosen = self._usable[deck.draw(1)[0]]
            members = classes.members[chosen]
            size = np.full(self._pairs, len(members))
            anchors = draw_below(size, rng)
            positives = (anchors + 1 + draw_below(size - 1, rng)) % len(members)
            others = Deck(len(classes.order) - len(members), rng).draw(self._pool_size)
            candidates = classes.others(chosen, others)
            yield Pool(members[anchors], members[positives], candidates)


def joined(batch: np.ndarray | Groups | Triplets | Pool) -> np.ndarray:
    """All indices of a batch in one list, field after field: what a data loader has to load.

    Args:
        batch: what a sampler gives.
    Returns:
        (rows,) int64.
    Example:
        >>> joined(Triplets(np.array([1, 2]), np.array([3, 4]), np.array([5, 6]))).tolist()
        [1, 2, 3, 4, 5, 6]
    """
    fields = [batch] if isinstance(batch, np.ndarray) else batch
    return np.concatenate([np.ravel(one) for one in fields])
