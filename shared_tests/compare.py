"""The strict comparison: shape, kind of number, where NaN and infinity stand, then values."""

from __future__ import annotations

import math

import numpy as np

# values: every backend against the reference, and against each other.
# gradients: backend against backend; the reference's are differences, good to 1e-6.
VALUE_TOLERANCE = {
    ("layer", "float64"): 1e-12,
    ("layer", "float32"): 1e-5,
    ("model", "float64"): 1e-10,
    ("model", "float32"): 1e-4,
}
GRADIENT_TOLERANCE = {
    ("layer", "float64"): 1e-11,
    ("layer", "float32"): 1e-5,
    ("model", "float64"): 1e-9,
    ("model", "float32"): 1e-4,
}
DIFFERENCE_TOLERANCE = 1e-6
# A hundred steps, backend against backend, in float64.
TRAINING_TOLERANCE = 1e-8


def tolerance(quantity: str, kind: str, dtype: str, *, reference: bool) -> float:
    """How large an error may be; `reference` when one side is the definition."""
    if quantity.startswith("training:"):
        return TRAINING_TOLERANCE
    if quantity.startswith(("value:", "travel:")):
        return VALUE_TOLERANCE[kind, dtype]
    bound = GRADIENT_TOLERANCE[kind, dtype]
    return max(bound, DIFFERENCE_TOLERANCE) if reference else bound


def error(a: np.ndarray, b: np.ndarray) -> float:
    """max|a − b| / max(1, max|b|); infinite when anything but the values differs.

    Integers are compared exactly.
    """
    if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
        return math.inf
    if a.dtype.kind != "f":
        return 0.0 if np.array_equal(a, b) else math.inf
    a, b = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return math.inf
    a, b = a[finite], b[finite]
    if not np.isfinite(a).all():
        return math.inf
    if not a.size:
        return 0.0
    return float(np.abs(a - b).max() / max(1.0, np.abs(b).max()))


def assert_close(got: np.ndarray, wanted: np.ndarray, bound: float, what: str) -> None:
    """AssertionError with both sides unless their error is within the bound."""
    found = error(got, wanted)
    assert found <= bound, (
        f"{what}: error {found:.3g} > {bound:.3g}\n"
        f"got    {got.dtype} {got.shape}\n{got}\nwanted {wanted.dtype} {wanted.shape}\n{wanted}"
    )


def assert_dtype(got: np.ndarray, dtype: str, what: str) -> None:
    """Floating results keep the dtype of the input; indices are int64."""
    wanted = {"f": dtype, "i": "int64", "b": "bool"}.get(got.dtype.kind, "no such kind")
    assert got.dtype == wanted, f"{what}: dtype {got.dtype}, wanted {wanted}"
