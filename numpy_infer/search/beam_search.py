"""Best-first search through a graph, for many queries in step.

Each keeps a beam, the nearest points that it has seen. It moves to the nearest one that it has
not been at, and evaluates all neighbours of that which it has not seen in one vectorized step,
until it has been at the whole beam.

Source: Malkov, Ponomarenko, Logvinov, Krylov 2014 (approximate nearest neighbor algorithm based
on navigable small world graphs).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# The distances of pairs: numbers of queries, numbers of points.
Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Beam(NamedTuple):
    """points: (batch, width) int64, the nearest first; −1, at an infinite distance, is none.

    distances: (batch, width). evaluations: (batch,), how many distances it took.
    """

    points: np.ndarray
    distances: np.ndarray
    evaluations: np.ndarray


def beam_search(
    links: np.ndarray, measure: Measure, entries: np.ndarray, near: np.ndarray, width: int
) -> Beam:
    """links: (n, most) int64, −1 for none. entries: (m,), near: (batch, m), their distances."""
    batch, n = len(near), len(links)
    seen = np.zeros((batch, n), bool)
    seen[:, entries] = True
    evaluations = np.full(batch, len(entries))
    points = np.broadcast_to(entries, near.shape)
    points, distances, unvisited = _nearest(width, near, points, np.ones(near.shape, bool))
    active = np.arange(batch)
    while len(active):
        ahead = np.where(unvisited[active], distances[active], np.inf)
        place = ahead.argmin(axis=1)
        going = ahead[np.arange(len(active)), place] < np.inf
        active, place = active[going], place[going]
        unvisited[active, place] = False
        reached = links[points[active, place]]
        fresh = (reached >= 0) & ~seen[active[:, None], reached]
        rows, columns = fresh.nonzero()
        queries, new = active[rows], reached[rows, columns]
        seen[queries, new] = True
        evaluations += np.bincount(queries, minlength=batch)
        found = np.full(reached.shape, np.inf, distances.dtype)
        found[rows, columns] = measure(queries, new)
        points[active], distances[active], unvisited[active] = _nearest(
            width,
            np.concatenate([distances[active], found], axis=1),
            np.concatenate([points[active], reached], axis=1),
            np.concatenate([unvisited[active], fresh], axis=1),
        )
    points[distances == np.inf] = -1
    return Beam(points, distances, evaluations)


def _nearest(width: int, distances: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """The nearest of each row, in order, filled up with infinity, and what goes with them."""
    order = distances.argsort(axis=1, kind="stable")[:, :width]
    rows = np.arange(len(order))[:, None]
    room = ((0, 0), (0, width - order.shape[1]))
    found = np.pad(distances[rows, order], room, constant_values=np.inf)
    first, second = (np.pad(one[rows, order], room) for one in others)
    return first, found, second
