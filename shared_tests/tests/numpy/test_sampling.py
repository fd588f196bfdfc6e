"""Samplers of indices: what each batch holds, how often rows come, and that seeds repeat."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from numpy_infer.sampling import (
    BalancedBatches,
    LeaveOneOutGroups,
    NearTriplets,
    ViolatorPools,
    joined,
)
from numpy_infer.support.index_draws import Deck, draw_below

# Classes of 1, 2, 3, 5 and 13 rows, in no order, and labels that are no places.
LABELS = np.random.default_rng(1).permutation(np.repeat([-7, 40, 3, 11, 2], [1, 2, 3, 5, 13]))
TIMES = np.random.default_rng(2).permutation(np.arange(60.0) / 4)
RECORDINGS = np.arange(60) % 3 - 1


def balanced(**options: Any) -> BalancedBatches:
    return BalancedBatches(LABELS, **{"classes": 3, "samples": 2, "batches": 50, **options})


def groups(**options: Any) -> LeaveOneOutGroups:
    sizes = {"size": 3, "negatives": 4, "batch_size": 5, "batches": 50}
    return LeaveOneOutGroups(LABELS, **{**sizes, **options})


def triplets(**options: Any) -> NearTriplets:
    sizes = {"near": 0.75, "far": 2.0, "batch_size": 7, "batches": 200, "recordings": RECORDINGS}
    return NearTriplets(TIMES, **{**sizes, **options})


def pools(**options: Any) -> ViolatorPools:
    return ViolatorPools(LABELS, **{"pairs": 6, "pool_size": 9, "batches": 60, **options})


ALL = {"balanced": balanced, "groups": groups, "triplets": triplets, "pools": pools}


@pytest.mark.parametrize("name", ALL)
def test_a_seed_repeats_and_each_epoch_is_another(name):
    def drawn(batches) -> np.ndarray:
        return np.stack([joined(batch) for batch in batches])

    one, other = ALL[name](seed=3), ALL[name](seed=3)
    first = drawn(one)
    np.testing.assert_array_equal(drawn(other), first)
    second = drawn(one)
    assert (second != first).any()
    other.epoch = 1
    np.testing.assert_array_equal(drawn(other), second)
    assert (drawn(ALL[name](seed=4)) != first).any()
    assert first.dtype == np.int64
    assert len(first) == len(one)


# The first batch with seed 5: with every version of NumPy, and so in every environment.
PINNED = {
    "balanced": [0, 10, 2, 12, 13, 15],
    "groups": [
        *(12, 16, 2, 11, 23, 1, 15, 13, 14, 15, 14, 13, 20, 7, 3, 23, 17, 11),
        *(9, 14, 15, 22, 15, 4, 2, 11, 16, 5, 7, 16, 19, 12, 14, 17, 10),
    ],
    "triplets": [1, 14, 4, 54, 45, 39, 58, 13, 11, 16, 45, 54, 3, 28, 20, 25, 36, 32, 39, 8, 32],
    "pools": [0, 0, 0, 0, 0, 10, 10, 10, 10, 10, 10, 0, 14, 23, 4, 8, 12, 19, 6, 22, 16],
}


@pytest.mark.parametrize("name", ALL)
def test_the_batches_of_a_seed_are_pinned(name):
    assert joined(next(iter(ALL[name](seed=5)))).tolist() == PINNED[name]


def test_balanced_batches_have_k_rows_of_p_classes():
    seen: Counter[int] = Counter()
    for index in balanced():
        rows = LABELS[index].reshape(3, 2)
        assert (rows[:, 0] == rows[:, 1]).all()
        assert len(set(rows[:, 0])) == 3
        for label, pair in zip(rows[:, 0], index.reshape(3, 2), strict=True):
            assert pair[0] != pair[1] or label == -7, "only a class of one repeats its row"
        seen.update(index.tolist())
    classes = Counter(LABELS[index] for index in seen.elements())
    assert set(classes.values()) == {60}, "50 batches of 3 of 5 classes, 2 rows each"
    for label in set(LABELS):
        counts = [seen[row] for row in np.flatnonzero(np.equal(LABELS, label))]
        assert max(counts) - min(counts) <= 1


def test_how_many_batches_an_epoch_has():
    assert len(balanced(batches=None)) == 24 // 6
    assert len(balanced(batches=None, samples=90)) == 1
    assert len(groups(batches=None)) == 24 // 15
    assert len(pools(batches=None)) == 24 // 6
    assert len(triplets(batches=None, recordings=None)) == 60 // 7


def test_groups_are_of_one_label_and_negatives_of_others():
    seen: Counter[int] = Counter()
    for one in groups():
        assert one.positives.shape == (5, 3)
        assert one.negatives.shape == (5, 4)
        labels = LABELS[one.positives]
        assert (labels == labels[:, :1]).all()
        assert (LABELS[one.negatives] != labels[:, :1]).all()
        assert all(len(set(row)) == 3 for row in one.positives.tolist())
        seen.update(labels[:, 0].tolist())
    assert set(seen) == {3, 11, 2}, "classes of three rows and more"
    assert max(seen.values()) - min(seen.values()) <= 1
    drawn = {row for one in groups(batches=400) for row in one.negatives.ravel().tolist()}
    assert drawn == set(range(24)), "every row is a negative now and then"


@pytest.mark.parametrize("recordings", [RECORDINGS, None])
def test_triplets_are_near_and_far(recordings):
    pairs, negatives = set(), set()
    same = np.zeros(60, int) if recordings is None else recordings
    for one in triplets(recordings=recordings, batches=2000):
        a, p, n = one
        assert (a != p).all()
        assert (same[a] == same[p]).all()
        assert (abs(TIMES[a] - TIMES[p]) <= 0.75).all()
        assert ((abs(TIMES[a] - TIMES[n]) >= 2) | (same[a] != same[n])).all()
        assert len(set(a.tolist())) == 7
        pairs |= set(zip(a.tolist(), p.tolist(), strict=True))
        negatives |= set(zip(a.tolist(), n.tolist(), strict=True))
    gap = abs(TIMES[:, None] - TIMES)
    together = same[:, None] == same
    possible = together & (gap <= 0.75) & ~np.eye(60, dtype=bool)
    assert pairs == set(map(tuple, np.argwhere(possible).tolist())), "every positive, in the end"
    away = (~together | (gap >= 2)) & possible.any(axis=1)[:, None]
    assert negatives <= set(map(tuple, np.argwhere(away).tolist()))
    assert len(negatives) > 0.9 * away.sum()


def test_equal_times_are_near():
    times = np.array([0.0, 0.0, 5.0])
    one = next(iter(NearTriplets(times, near=0, far=1, batch_size=2)))
    assert sorted(zip(*(part.tolist() for part in one), strict=True)) == [(0, 1, 2), (1, 0, 2)]


def test_pools_hold_no_row_of_the_pairs_class():
    seen, pairs = Counter[int](), set()
    for one in pools(batches=1200):
        labels = set(LABELS[one.anchors]) | set(LABELS[one.positives])
        assert len(labels) == 1
        assert (one.anchors != one.positives).all()
        assert not labels & set(LABELS[one.candidates])
        assert len(set(one.candidates.tolist())) == 9
        seen.update(labels)
        pairs |= set(zip(one.anchors.tolist(), one.positives.tolist(), strict=True))
    assert seen == {40: 300, 3: 300, 11: 300, 2: 300}
    assert len(pairs) == 2 + 6 + 20 + 156


def test_a_deck_deals_each_card_once_before_one_comes_again():
    deck = Deck(7, np.random.default_rng(6))
    dealt = np.concatenate([deck.draw(count) for count in (3, 3, 3, 5, 7, 0, 16, 5)])
    counts = Counter(dealt.tolist())
    assert set(counts.values()) == {6}
    for count in (1, 4, 7):
        for _ in range(20):
            assert len(set(deck.draw(count).tolist())) == count


def test_draws_are_uniform():
    drawn = draw_below(np.full(30000, 3), np.random.default_rng(7))
    counts = np.bincount(drawn, minlength=3)
    assert len(counts) == 3
    assert abs(counts - 10000).max() < 400, "five standard deviations"


TEXT: Any = "labels"
ONES = np.ones(5, int)


@pytest.mark.parametrize(
    ("call", "error", "argument"),
    [
        (lambda: BalancedBatches(TEXT, classes=1, samples=1), TypeError, "labels"),
        (lambda: BalancedBatches(LABELS / 1, classes=1, samples=1), TypeError, "labels"),
        (lambda: BalancedBatches(LABELS[None], classes=1, samples=1), ValueError, "labels"),
        (lambda: BalancedBatches(LABELS[:0], classes=1, samples=1), ValueError, "labels"),
        (lambda: balanced(classes=6), ValueError, "classes"),
        (lambda: balanced(samples=0), ValueError, "samples"),
        (lambda: balanced(batches=0), ValueError, "batches"),
        (lambda: balanced(seed=-1), ValueError, "seed"),
        (lambda: groups(size=1), ValueError, "size"),
        (lambda: groups(size=14), ValueError, "labels"),
        (lambda: groups(negatives=0), ValueError, "negatives"),
        (lambda: groups(batch_size=0), ValueError, "batch_size"),
        (lambda: LeaveOneOutGroups(ONES, size=2, negatives=1, batch_size=1), ValueError, "labels"),
        (lambda: NearTriplets(LABELS, near=1, far=2, batch_size=1), TypeError, "times"),
        (lambda: NearTriplets(TIMES * np.nan, near=1, far=2, batch_size=1), ValueError, "times"),
        (lambda: triplets(recordings=RECORDINGS[1:]), ValueError, "recordings"),
        (lambda: triplets(recordings=TIMES), TypeError, "recordings"),
        (lambda: triplets(near=-1), ValueError, "near"),
        (lambda: triplets(far=0.75), ValueError, "far"),
        (lambda: triplets(near=0.1, recordings=None), ValueError, "times"),
        (lambda: triplets(far=99, recordings=None), ValueError, "times"),
        (lambda: triplets(batch_size=61), ValueError, "batch_size"),
        (lambda: ViolatorPools(ONES, pairs=1, pool_size=1), ValueError, "labels"),
        (lambda: ViolatorPools(np.arange(3), pairs=1, pool_size=1), ValueError, "labels"),
        (lambda: pools(pairs=0), ValueError, "pairs"),
        (lambda: pools(pool_size=12), ValueError, "pool_size"),
    ],
)
def test_bad_input(call, error, argument):
    with pytest.raises(error, match=f"^{argument}: expected .*, got "):
        call()
