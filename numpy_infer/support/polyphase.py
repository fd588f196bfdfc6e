"""Resampling by a rational factor as matrix products.

    y_m = Σ_k x_k h(m·down − k·up),  h a low pass of length 2·half + 1, half = 10·max(up, down)

Every up-th output has the same filter coefficients and reads inputs that lie `down` apart. So the
outputs m, m + up, m + 2·up, … of a few neighboring m are one product: rows of inputs that begin
`down` apart times a small matrix of coefficients.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from numpy_infer.support.checks import check_count

HALF = 10  # zero crossings of the sinc on each side
BETA = 5.0  # of the Kaiser window
ROWS = 4096  # of inputs, copied at once
TERMS = 2**20  # of the ratio of two rates: the filter has 20 times as many coefficients


def check_rates(rate: int, new_rate: int) -> tuple[int, int]:
    """up and down, new_rate / rate in lowest terms."""
    rate, new_rate = check_count("rate", rate), check_count("new_rate", new_rate)
    divisor = math.gcd(rate, new_rate)
    up, down = new_rate // divisor, rate // divisor
    if max(up, down) > TERMS:
        raise ValueError(f"new_rate: expected a ratio of terms up to {TERMS}, got {up}/{down}")
    return up, down


@lru_cache(maxsize=4)
def low_pass(up: int, down: int) -> np.ndarray:
    """The windowed sinc, (2·half + 1,), with gain `up` at frequency 0."""
    half = HALF * max(up, down)
    cut_off = 1 / max(up, down)  # as a part of the Nyquist frequency
    taps = cut_off * np.sinc(cut_off * np.arange(-half, half + 1)) * np.kaiser(2 * half + 1, BETA)
    scaled: np.ndarray = up * taps / taps.sum()
    return scaled


def polyphase(x: np.ndarray, first: int, start: int, stop: int, up: int, down: int) -> np.ndarray:
    """Outputs start..stop from the inputs x, (time,), of which x[0] has the index `first`.

    Inputs before and after x are zeros. The result has the dtype of x.
    """
    taps = low_pass(up, down).astype(x.dtype)
    half = len(taps) // 2
    # Index 0 of `padded` is the first input that any output reads.
    lowest = -((half - start * down) // up)
    highest = ((stop - 1) * down + half) // up + down
    before, after = max(0, first - lowest), max(0, highest + 1 - first - len(x))
    padded = np.pad(x[max(0, lowest - first) :], (before, after))
    y = np.empty(stop - start, x.dtype)
    group = max(1, min(up, half // down))  # outputs of one product: few of its entries are zero
    for offset in range(0, min(up, len(y)), group):
        count = min(group, up - offset, len(y) - offset)
        times = (start + offset + np.arange(count)) * down  # of the outputs, in units of 1/up
        low = -((half - int(times[0])) // up)  # the inputs that these outputs read: low..high
        high = (int(times[-1]) + half) // up
        index = half + times - np.arange(low, high + 1)[:, None] * up  # (high + 1 - low, count)
        inside = (index >= 0) & (index <= 2 * half)
        weight = np.where(inside, taps[np.clip(index, 0, 2 * half)], 0).astype(x.dtype)
        rows = -(-(len(y) - offset) // up)
        reads = np.lib.stride_tricks.sliding_window_view(padded[low - lowest :], high + 1 - low)
        for row in range(0, rows, ROWS):
            some = np.ascontiguousarray(reads[row * down :: down][: min(ROWS, rows - row)])
            product = some @ weight  # (rows, count)
            for column in range(count):
                part = y[offset + column + row * up :: up][: len(product)]
                part[:] = product[: len(part), column]
    return y
