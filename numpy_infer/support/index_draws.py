"""What the samplers of indices draw from: decks of cards, classes, and the order of time.

All chances come from `Generator.random`, so that the draws of a seed do not depend on how a version
of NumPy shuffles.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from numpy_infer.support.checks import (
    check_count,
    check_finite,
    check_floating,
    check_integers,
    check_number,
    check_shape,
)


class Batches:
    """What the samplers share: their length, their seed and the epochs.

    An epoch has so many batches; when that is None, as many as read each row once, and at least 1.
    """

    def __init__(self, batches: int | None, seed: int, *, each: int) -> None:
        self._count = check_count("batches", max(1, each) if batches is None else batches)
        self._seed = check_count("seed", seed, least=0)
        self.epoch = 0  # of the next pass

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        # This runs when the first batch is asked for: data loaders make iterators that they drop.
        rng = np.random.default_rng([self._seed, self.epoch])
        self.epoch += 1
        yield from self._draw(rng)

    def _draw(self, rng: np.random.Generator) -> Iterator[Any]:
        raise NotImplementedError


class Deck:
    """Cards 0..n−1 that are dealt in a random order: each once before one comes again."""

    def __init__(self, n: int, rng: np.random.Generator) -> None:
        self._n, self._rng = n, rng
        self._left = np.zeros(0, np.int64)

    def draw(self, count: int) -> np.ndarray:
        """(count,) cards, different ones as far as there are enough."""
        if count > self._n:
            return np.concatenate([self.draw(self._n), self.draw(count - self._n)])
        drawn, self._left = self._left[:count], self._left[count:]
        if len(drawn) < count:
            fresh = np.argsort(self._rng.random(self._n), kind="stable")
            new = fresh[~np.isin(fresh, drawn)][: count - len(drawn)]
            self._left = fresh[~np.isin(fresh, new)]
            drawn = np.concatenate([drawn, new])
        return drawn


def draw_below(counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A number in 0..count−1 for each of the counts, all with equal chances."""
    drawn = (rng.random(counts.shape) * counts).astype(np.int64)
    below: np.ndarray = np.minimum(drawn, counts - 1)  # a product may be rounded up
    return below


class Classes:
    """The rows of each label, in the order of the labels."""

    def __init__(self, labels: np.ndarray) -> None:
        check_integers("labels", labels, ndim=1)
        if len(labels) == 0:
            raise ValueError("labels: expected at least one class, got none")
        self.order = np.argsort(labels, kind="stable").astype(np.int64)
        _, self.starts = np.unique(labels[self.order], return_index=True)
        self.members = np.split(self.order, self.starts[1:])

    def of_at_least(self, name: str, size: int) -> list[int]:
        """The classes with so many rows; ValueError when there are none, or only one class."""
        if len(self.members) < 2:
            raise ValueError(f"{name}: expected at least two classes, got {len(self.members)}")
        largest = max(map(len, self.members))
        if largest < size:
            raise ValueError(f"{name}: expected a class of {size} rows or more, got {largest}")
        return [c for c, rows in enumerate(self.members) if len(rows) >= size]

    def others(self, chosen: int, positions: np.ndarray) -> np.ndarray:
        """The rows at these positions of all rows but those of a class."""
        skipped = (positions >= self.starts[chosen]) * len(self.members[chosen])
        rows: np.ndarray = self.order[positions + skipped]
        return rows

    def draw_others(self, chosen: int, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count,) rows of other classes; they may repeat."""
        outside = len(self.order) - len(self.members[chosen])
        return self.others(chosen, draw_below(np.full(count, outside), rng))


class TimeOrder:
    """The rows in the order of recording and time, and which of them are near each of them.

    Args:
        times: (n,). recordings: (n,), or None for one.
        near, far: the largest distance of what is near, the smallest of what is far away.
    """

    def __init__(
        self, times: np.ndarray, recordings: np.ndarray | None, near: float, far: float
    ) -> None:
        check_floating("times", times, ndim=1)
        check_finite("times", times)
        if recordings is None:
            recordings = np.zeros(len(times), np.int64)
        check_integers("recordings", recordings, ndim=1)
        check_shape("recordings", recordings, times.shape)
        near = check_number("near", near, least=0)
        far = check_number("far", far, above=near)
        self.rows = np.lexsort((times, recordings))
        # In that order, what is near row i, and what is not far away from it, is low[i]..high[i]−1.
        self.near_low, self.near_high, self.close_low, self.close_high = np.zeros(
            (4, len(times)), np.int64
        )
        _, starts = np.unique(recordings[self.rows], return_index=True)
        for start, stop in zip(starts, [*starts[1:], len(times)], strict=True):
            part = slice(start, stop)
            t = times[self.rows[part]]
            self.near_low[part] = start + np.searchsorted(t, t - near, "left")
            self.near_high[part] = start + np.searchsorted(t, t + near, "right")
            self.close_low[part] = start + np.searchsorted(t, t - far, "right")
            self.close_high[part] = start + np.searchsorted(t, t + far, "left")

    def anchors(self) -> np.ndarray:
        """The positions in that order of rows with another row near them and one far away."""
        others = self.near_high - self.near_low - 1  # the row itself is near, too
        far_away = len(self.rows) - (self.close_high - self.close_low)
        found = np.flatnonzero((others > 0) & (far_away > 0))
        if len(found) == 0:
            raise ValueError("times: expected a row near another and far from a third, got none")
        return found
