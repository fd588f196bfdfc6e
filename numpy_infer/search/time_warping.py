"""Dynamic time warping: the distance of two series whose clocks run at different paces.

    ‖x − y‖ along the best path: √ of the least Σ (x_i − y_j)² over paths from (0, 0) to the
    last pair by steps (1, 0), (0, 1) and (1, 1), all with |i − j| ≤ band (Sakoe, Chiba 1978);
    for series of n and m steps the band is at least |n − m|

Source: Sakoe, Chiba 1978, Dynamic programming algorithm optimization for spoken word recognition;
and a description of a small world graph that searches the time series of the UCR archive by it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from numpy_infer.search.row_distances import in_range
from numpy_infer.search.series import Series, as_series, longer
from numpy_infer.support.checks import check_count, check_dtype, check_floating, check_like

PAIRS = 4096  # at once: what one step of the way needs stays in the cache


def time_warping_distances(
    x: np.ndarray | Sequence[np.ndarray],
    y: np.ndarray | Sequence[np.ndarray],
    *,
    band: int,
    x_lengths: np.ndarray | None = None,
    y_lengths: np.ndarray | None = None,
) -> np.ndarray:
    """The distance of series i of x and series i of y, all pairs in step.

    Squared differences are summed over the channels. The band of two series of n and m steps is
    max(band, |n − m|): a narrower one would leave no path from their beginnings to their ends.
    Squares that would overflow or vanish are those of scaled series.

    Args:
        x: (n, time) or (n, time, channels), floating, or a list of n series, (time,) or
            (time, channels).
        y: as x, of its dtype; without lengths an array is of the shape of x.
        band: how far the clocks may lie apart; 0 is the Euclidean distance of series of one length.
        x_lengths: (n,) integers, how many steps of each row of an array x are the series.
        y_lengths: those of y.
    Returns:
        (n,); two series without any entry are alike, at distance 0.
    Raises:
        TypeError: no floating arrays, dtypes that differ.
        ValueError: shapes, numbers of series or channels that differ; lengths outside of 1..time.
    Example:
        >>> time_warping_distances([np.array([1.0, 5.0])], [np.array([1.0, 1.0, 5.0])], band=0)
        array([0.])
    """
    whole = x_lengths is None and y_lengths is None
    if whole and isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
        check_floating("x", x, ndim=3 if x.ndim == 3 else 2)
        check_like("y", y, "x", x)
    one, other = (
        as_series("x", x, x_lengths, "x_lengths"),
        as_series("y", y, y_lengths, "y_lengths"),
    )
    check_dtype("y", other.values, one.values.dtype)
    for axis, what in ((0, "series"), (2, "channels")):
        wanted, got = one.values.shape[axis], other.values.shape[axis]
        if got != wanted:
            raise ValueError(f"y: expected {wanted} {what} as in x, got {got}")
    check_count("band", band, least=0)
    time = max(one.values.shape[1], other.values.shape[1])
    one, other = (Series(longer(each.values, time), each.lengths) for each in (one, other))
    found = np.zeros(len(one), one.values.dtype)
    if time:
        for start in range(0, len(one), PAIRS):
            part = slice(start, start + PAIRS)
            found[part] = _scaled(one[part], other[part], band)
    return found


def _scaled(x: Series, y: Series, band: int) -> np.ndarray:
    """The distances of rows, again with a largest entry of 1 where the squares lose them."""
    with np.errstate(over="ignore"):
        found = _distances(x, y, band)
        square = found * found
    again = np.flatnonzero(~in_range(square, square, x.values[0].size))
    if len(again):
        x, y = x[again], y[again]
        scale = np.maximum(*(np.abs(one.values).max(axis=(1, 2)) for one in (x, y)))
        scale[~(np.isfinite(scale) & (scale > 0))] = 1
        x, y = (Series(one.values / scale[:, None, None], one.lengths) for one in (x, y))
        found[again] = scale * _distances(x, y, band)
    return found


def _distances(x: Series, y: Series, band: int) -> np.ndarray:
    """The costs of one antidiagonal, i + j = s, follow from the two before."""
    n, time, _ = x.values.shape
    # (channels, time, n); the rows of y the other way round
    x_values = np.ascontiguousarray(x.values.transpose(2, 1, 0))
    y_values = np.ascontiguousarray(y.values.transpose(2, 1, 0)[:, ::-1])
    bands = np.maximum(band, np.abs(x.lengths - y.lengths))  # (n,)
    widest, differ = int(bands.max(initial=band)), bool((bands != band).any())
    ends = x.lengths + y.lengths - 2  # the antidiagonals where the series end, (n,)
    distances = np.empty(n, x_values.dtype)
    # cost[i + 1] is that of (i, s − i); what is outside of the band stays infinite.
    before, last, cost = np.full((3, time + 1, n), np.inf, x_values.dtype)
    for s in range(int(ends.max(initial=-1)) + 1):
        first = max(0, s - time + 1, (s - widest + 1) // 2)
        end = min(time, s + 1, (s + widest) // 2 + 1)
        cost[first : end + 1] = np.inf
        here = cost[first + 1 : end + 1]
        theirs = slice(time - 1 - s + first, time - 1 - s + end)
        np.subtract(x_values[0, first:end], y_values[0, theirs], out=here)
        here *= here
        for ours, others in zip(x_values[1:], y_values[1:], strict=True):
            here += np.square(ours[first:end] - others[theirs])
        if s > 0:
            best = np.minimum(last[first:end], last[first + 1 : end + 1])
            here += np.minimum(best, before[first:end], out=best)
        if differ:
            apart = np.abs(2 * np.arange(first, end) - s)  # |i − j|
            here[apart[:, None] > bands] = np.inf
        cost[end + 1 : end + 2] = np.inf
        done = np.flatnonzero(ends == s)
        distances[done] = np.sqrt(cost[x.lengths[done], done])
        before, last, cost = last, cost, before
    return distances
