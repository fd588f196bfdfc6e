"""The graph of a small world index: who is linked to whom, and where a search starts.

Sources: Malkov, Ponomarenko, Logvinov, Krylov 2014 (points enter one after the other, each linked
to those near it); Malkov, Yashunin 2016 (links in different directions); Gonzalez 1985 (hubs: the
next one is the point farthest from all so far).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from numpy_infer.search.beam_search import beam_search

HUBS = 2.5  # times √n
BATCH = 256  # points that enter together, without following each other's links

Pairs = Callable[[np.ndarray, np.ndarray], np.ndarray]  # the distances of points i and points j


class SmallWorldGraph:
    """links: (n, degree) int64, −1 for none, with their lengths, infinite for none.

    lasting: (n, degree), the links that shorter ones do not displace: each point but the first
    has one from a point that came before it, so that all are reached. hubs: (m,) int64. cover:
    (n,), the distance of each point's nearest hub.
    """

    NAMES = ("links", "lengths", "lasting", "hubs", "cover")

    def __init__(
        self,
        links: np.ndarray,
        lengths: np.ndarray,
        lasting: np.ndarray,
        hubs: np.ndarray,
        cover: np.ndarray,
    ) -> None:
        self.links = links
        self.lengths = lengths
        self.lasting = lasting
        self.hubs = hubs
        self.cover = cover

    @classmethod
    def empty(cls, degree: int, dtype: str) -> SmallWorldGraph:
        """The graph of no points."""
        none = np.zeros((0, degree), np.int64)
        return cls(none, none.astype(dtype), none.astype(bool), none[:, 0], np.zeros(0, dtype))

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name."""
        return {name: getattr(self, name) for name in self.NAMES}

    def grown(self, order: np.ndarray, pairs: Pairs, width: int) -> SmallWorldGraph:
        """The graph with more points, whose numbers go on from the last one, added in this order.

        width: of the beam that looks for their neighbours. This graph stays as it is.
        """
        n, new, degree = len(self.links), len(order), self.links.shape[1]
        dtype = self.lengths.dtype
        graph = SmallWorldGraph(
            np.concatenate([self.links, np.full((new, degree), -1)]),
            np.concatenate([self.lengths, np.full((new, degree), np.inf, dtype)]),
            np.concatenate([self.lasting, np.zeros((new, degree), bool)]),
            self.hubs,
            np.concatenate([self.cover, np.full(new, -np.inf, dtype)]),
        )
        begin = 0
        while begin < new:
            size = min(BATCH, max(1, (n + begin) // 2))
            batch = order[begin : begin + size]
            begin += size
            if len(graph.hubs):
                graph._link(batch, pairs, width)
            else:
                graph.cover[batch] = np.inf
            graph._choose_hubs(n + min(begin, new), pairs)
        return graph

    def near_hubs(self, batch: int, measure: Pairs) -> np.ndarray:
        """The distances of queries and hubs, (batch, hubs)."""
        rows = np.arange(batch).repeat(len(self.hubs))
        return measure(rows, np.tile(self.hubs, batch)).reshape(batch, -1)

    def check(self, n: int, degree: int, dtype: np.dtype) -> None:
        """ValueError unless the arrays are those of a graph on n points."""
        wanted = {
            "links": ((n, degree), np.dtype(np.int64)),
            "lengths": ((n, degree), dtype),
            "lasting": ((n, degree), np.dtype(bool)),
            "hubs": (self.hubs.shape[:1], np.dtype(np.int64)),
            "cover": ((n,), dtype),
        }
        for name, array in self.arrays().items():
            shape, kind = wanted[name]
            if array.shape != shape or array.dtype != kind:
                got = f"{array.dtype}{array.shape}"
                raise ValueError(f"{name}: expected {kind}{shape}, got {got}")
        for name, least in (("links", -1), ("hubs", 0)):
            _check_numbers(name, getattr(self, name), least, n)
        if (n > 0) != (len(self.hubs) > 0):
            raise ValueError(f"hubs: expected some for {n} points, got {len(self.hubs)}")
        if len(self.hubs) > HUBS * n**0.5 + 1:
            most = int(HUBS * n**0.5 + 1)
            raise ValueError(f"hubs: expected at most {most} for {n} points, got {len(self.hubs)}")
        for name in ("lengths", "cover"):
            if not (getattr(self, name) >= 0).all():
                raise ValueError(f"{name}: expected numbers from 0 up, got others")
        children = self.lasting.sum(axis=1)
        if n and (children.sum() >= n or children.max() > degree // 2):
            raise ValueError(f"lasting: expected at most {degree // 2} of each point, got others")
        self._check_reached(n)

    def _check_reached(self, n: int) -> None:
        """ValueError unless links lead from the hubs to every point."""
        reached = np.zeros(n, bool)
        new = self.hubs
        while len(new):
            reached[new] = True
            ends = np.unique(self.links[new])
            new = ends[(ends >= 0) & ~reached[ends]]
        if not reached.all():
            raise ValueError(
                f"links: expected a way to every point, got none to {reached.argmin()}"
            )

    def _link(self, batch: np.ndarray, pairs: Pairs, width: int) -> None:
        """Link a batch to what is near: points of the graph, and of the batch itself."""
        rows = np.arange(len(batch))[:, None]

        def measure(queries: np.ndarray, points: np.ndarray) -> np.ndarray:
            return pairs(batch[queries], points)

        near = self.near_hubs(len(batch), measure)
        entered = np.flatnonzero(self.cover > -np.inf)
        self.cover[batch] = near.min(axis=1)
        beam = beam_search(self.links, measure, self.hubs, near, width)
        mates = np.broadcast_to(batch, (len(batch), len(batch)))
        to_mates = measure(rows.repeat(len(batch)), mates.ravel()).reshape(mates.shape)
        np.fill_diagonal(to_mates, np.inf)
        points = np.concatenate([beam.points, mates], axis=1)
        lengths = np.concatenate([beam.distances, to_mates], axis=1)
        half = self.links.shape[1] // 2
        order = lengths.argsort(axis=1, kind="stable")[:, : 2 * half]
        points, lengths = points[rows, order], lengths[rows, order]
        kept = _in_different_directions(points, lengths, pairs, half)
        row, place = kept.nonzero()
        here, there, length = batch[row], points[row, place], lengths[row, place]
        self._add(here, there, length)
        self._add(there, here, length)
        parents = self._parents(beam.points, entered, batch)
        self._add(parents, batch, pairs(parents, batch), lasting=True)

    def _parents(
        self, candidates: np.ndarray, entered: np.ndarray, batch: np.ndarray
    ) -> np.ndarray:
        """For each of a batch the first candidate that has not half of its links taken by children.

        Where no candidate has room, it is the first point that has: of those in the graph, and of
        the batch those before this one, which have their parents.
        """
        most = self.links.shape[1] // 2
        children = self.lasting.sum(axis=1)
        parents = np.empty(len(candidates), np.int64)
        for row, points in enumerate(candidates):
            free = points[(points >= 0) & (children[points] < most)]
            if not len(free):
                everyone = np.concatenate([entered, batch[:row]])
                free = everyone[children[everyone] < most]
            parents[row] = free[0]
            children[free[0]] += 1
        return parents

    def _add(
        self,
        starts: np.ndarray,
        ends: np.ndarray,
        lengths: np.ndarray,
        *,
        lasting: bool = False,
    ) -> None:
        """Add links: of a point's links, the lasting and then the shortest stay."""
        order = starts.argsort(kind="stable")
        starts, ends, lengths = starts[order], ends[order], lengths[order]
        points, first, counts = np.unique(starts, return_index=True, return_counts=True)
        rows = np.arange(len(points)).repeat(counts)
        places = np.arange(len(starts)) - first.repeat(counts)
        twice = self.links[starts] == ends[:, None]
        if lasting:
            row, place = twice.nonzero()
            self.lasting[starts[row], place] = True
        new = ~twice.any(axis=1)
        rows, places = rows[new], places[new]
        shape = (len(points), counts.max())
        more_links = np.full(shape, -1)
        more_lengths = np.full(shape, np.inf, self.lengths.dtype)
        more_lasting = np.zeros(shape, bool)
        more_links[rows, places] = ends[new]
        more_lengths[rows, places] = lengths[new]
        more_lasting[rows, places] = lasting
        all_links = np.concatenate([self.links[points], more_links], axis=1)
        all_lengths = np.concatenate([self.lengths[points], more_lengths], axis=1)
        all_lasting = np.concatenate([self.lasting[points], more_lasting], axis=1)
        order = np.lexsort((all_lengths, ~all_lasting), axis=1)[:, : self.links.shape[1]]
        rows = np.arange(len(points))[:, None]
        self.links[points] = all_links[rows, order]
        self.lengths[points] = all_lengths[rows, order]
        self.lasting[points] = all_lasting[rows, order]

    def _choose_hubs(self, n: int, pairs: Pairs) -> None:
        """Hubs for n points in the graph; those that have not entered have no cover yet."""
        everyone = np.arange(len(self.links))
        while len(self.hubs) < HUBS * n**0.5 and self.cover.max() > 0:
            hub = self.cover.argmax()
            self.hubs = np.append(self.hubs, hub)
            near = pairs(np.full(len(everyone), hub), everyone)
            self.cover = np.minimum(self.cover, near)


def _in_different_directions(
    points: np.ndarray, lengths: np.ndarray, pairs: Pairs, count: int
) -> np.ndarray:
    """Which of these candidates are linked, (batch, m) of bools, at most `count` of each row.

    lengths: ascending. First those nearer to the point than to any that was taken before, then
    the nearest of the rest.
    """
    batch, m = points.shape
    i, j = np.triu_indices(m, 1)
    apart = np.zeros((batch, m, m), lengths.dtype)
    found = pairs(points[:, i].ravel(), points[:, j].ravel()).reshape(batch, len(i))
    apart[:, i, j] = apart[:, j, i] = found
    there = lengths < np.inf
    kept = np.zeros(points.shape, bool)
    for place in range(m):
        hidden = (kept & (apart[:, place] < lengths[:, place, None])).any(axis=1)
        kept[:, place] = there[:, place] & ~hidden & (kept.sum(axis=1) < count)
    rest = there & ~kept
    room = count - kept.sum(axis=1, keepdims=True)
    linked: np.ndarray = kept | (rest & (rest.cumsum(axis=1) <= room))
    return linked


def _check_numbers(name: str, points: np.ndarray, least: int, n: int) -> None:
    if points.size and not (points.min() >= least and points.max() < n):
        raise ValueError(
            f"{name}: expected points in {least}..{n - 1}, got {points.min()}..{points.max()}"
        )
    ordered = np.sort(points, axis=-1)
    if ((ordered[..., 1:] == ordered[..., :-1]) & (ordered[..., 1:] >= 0)).any():
        raise ValueError(f"{name}: expected points that differ, got one twice")
