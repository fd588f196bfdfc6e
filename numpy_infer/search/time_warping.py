"""Dynamic time warping: the distance of two series whose clocks run at different paces.

    ‖x − y‖ along the best path: √ of the least Σ (x_i − y_j)² over paths from (0, 0) to the
    last pair by steps (1, 0), (0, 1) and (1, 1), all with |i − j| ≤ band (Sakoe, Chiba 1978)

Source: Sakoe, Chiba 1978, Dynamic programming algorithm optimization for spoken word recognition;
and a description of a small world graph that searches the time series of the UCR archive by it.
"""

from __future__ import annotations

import numpy as np

from numpy_infer.search.row_distances import in_range
from numpy_infer.support.checks import check_count, check_floating, check_like

PAIRS = 4096  # at once: what one step of the way needs stays in the cache


def time_warping_distances(x: np.ndarray, y: np.ndarray, *, band: int) -> np.ndarray:
    """The distance of row i of x and row i of y, all rows in step.

    x, y: (n, time), floating. band: how far the clocks may lie apart; 0 is the Euclidean
    distance. Returns (n,); two series without any entry are alike, at distance 0. Squares that
    would overflow or vanish are those of scaled series. TypeError for integers, ValueError for
    shapes that differ.
    """
    check_floating("x", x, ndim=2)
    check_like("y", y, "x", x)
    check_count("band", band, least=0)
    found = np.zeros(len(x), x.dtype)
    if x.shape[1]:
        for start in range(0, len(x), PAIRS):
            part = slice(start, start + PAIRS)
            found[part] = _scaled(x[part], y[part], band)
    return found


def _scaled(x: np.ndarray, y: np.ndarray, band: int) -> np.ndarray:
    """The distances of rows, again with a largest entry of 1 where the squares lose them."""
    with np.errstate(over="ignore"):
        found = _distances(x.T, y.T, band)
        square = found * found
    again = np.flatnonzero(~in_range(square, square, x.shape[1]))
    if len(again):
        x, y = x[again], y[again]
        scale = np.maximum(np.abs(x).max(axis=1), np.abs(y).max(axis=1))
        scale[~(np.isfinite(scale) & (scale > 0))] = 1
        found[again] = scale * _distances((x / scale[:, None]).T, (y / scale[:, None]).T, band)
    return found


def _distances(x: np.ndarray, y: np.ndarray, band: int) -> np.ndarray:
    """x, y: (time, n). The costs of one antidiagonal, i + j = s, follow from the two before."""
    time, n = x.shape
    x, y = np.ascontiguousarray(x), np.ascontiguousarray(y[::-1])
    # cost[i + 1] is that of (i, s − i); what is outside of the band stays infinite.
    before, last, cost = np.full((3, time + 1, n), np.inf, x.dtype)
    for s in range(2 * time - 1):
        first = max(0, s - time + 1, (s - band + 1) // 2)
        end = min(time, s + 1, (s + band) // 2 + 1)
        cost[first : end + 1] = np.inf
        here = cost[first + 1 : end + 1]
        np.subtract(x[first:end], y[time - 1 - s + first : time - 1 - s + end], out=here)
        here *= here
        if s > 0:
            best = np.minimum(last[first:end], last[first + 1 : end + 1])
            here += np.minimum(best, before[first:end], out=best)
        cost[end + 1 : end + 2] = np.inf
        before, last, cost = last, cost, before
    distances: np.ndarray = np.sqrt(last[time])
    return distances
