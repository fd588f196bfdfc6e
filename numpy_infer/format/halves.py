"""Half precisions: bfloat16 as its bits, float32 numbers of them, and rounding to the nearest even.

NumPy has no bfloat16. An array of it is kept as its bits, in a dtype that says so and computes
nothing: `array["bfloat16"]` gives the bits.
"""

from __future__ import annotations

import numpy as np

BFLOAT16 = np.dtype([("bfloat16", "<u2")])
FLOATS: dict[str, np.dtype] = {
    **{name: np.dtype(name) for name in ("float16", "float32", "float64")},
    "bfloat16": BFLOAT16,
}


def dtype_name(dtype: np.dtype) -> str:
    """The dtype as users say it: float32, bfloat16, int64."""
    return "bfloat16" if dtype == BFLOAT16 else dtype.name


def is_float(dtype: np.dtype) -> bool:
    """Whether its numbers are floating, bfloat16's too."""
    return dtype == BFLOAT16 or dtype.kind == "f"


def converted(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Floating numbers in another floating dtype: exact, or rounded to the nearest, ties to even.

    ValueError for a finite number that is beyond the dtype's largest.
    """
    if array.dtype == dtype:
        return array
    source = widened(array)
    with np.errstate(over="ignore"):
        found = bfloat16(source) if dtype == BFLOAT16 else source.astype(dtype)
    if dtype.itemsize < source.dtype.itemsize:
        beyond = np.isinf(widened(found)) & np.isfinite(source)
        if beyond.any():
            raise ValueError(
                f"expected numbers that {dtype_name(dtype)} holds, got {source[beyond][0]:.4g}"
            )
    return found


def widened(array: np.ndarray) -> np.ndarray:
    """float32 numbers of bfloat16, exact; any other array as it is."""
    if array.dtype != BFLOAT16:
        return array
    bits = np.ascontiguousarray(array).view("<u2").astype(np.uint32) << np.uint32(16)
    return bits.view(np.float32).reshape(array.shape)


def bfloat16(array: np.ndarray) -> np.ndarray:
    """The nearest bfloat16 numbers, ties to even. NaN stays NaN."""
    bits = np.ascontiguousarray(_to_odd(array)).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    quiet = (bits >> np.uint32(16)) | np.uint32(0x40)
    nan = (bits & np.uint32(0x7FFFFFFF)) > 0x7F800000
    return np.where(nan, quiet, rounded).astype("<u2").view(BFLOAT16).reshape(array.shape)


def _to_odd(array: np.ndarray) -> np.ndarray:
    """float32 numbers; those that are not exact are odd, so that rounding again rounds once."""
    with np.errstate(over="ignore"):
        nearest = array.astype(np.float32)
    if array.dtype.itemsize <= 4:
        return nearest
    outward = np.abs(nearest.astype(array.dtype)) > np.abs(array)
    inward = np.where(outward, np.nextafter(nearest, np.float32(0)), nearest)
    inexact = np.isfinite(array) & (inward.astype(array.dtype) != array)
    odd = np.ascontiguousarray(inward).view(np.uint32) | inexact.reshape(inward.shape)
    found: np.ndarray = odd.astype(np.uint32).view(np.float32).reshape(array.shape)
    return found
