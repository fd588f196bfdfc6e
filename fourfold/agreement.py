"""The strict comparison: shape, kind of number, where NaN and infinity stand, then values."""

from __future__ import annotations

import math
from fnmatch import fnmatch

import numpy as np

from fourfold.definition import Case

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

# A comparison must be able to fail: where the largest entry of what is wanted is less than this
# many tolerances, zeros would be taken for it, or nearly. A case then says that it vanishes.
LARGE_ENOUGH = 1000


def tolerance(quantity: str, kind: str, dtype: str, *, reference: bool) -> float:
    """How large an error may be; `reference` when one side is the definition."""
    if quantity.startswith("training:"):
        return TRAINING_TOLERANCE
    if quantity.startswith(("value:", "travel:")):
        return VALUE_TOLERANCE[kind, dtype]
    bound = GRADIENT_TOLERANCE[kind, dtype]
    return max(bound, DIFFERENCE_TOLERANCE) if reference else bound


def largest(array: np.ndarray) -> float:
    """The largest absolute value of the finite entries; 0 when there is none."""
    return float(np.abs(array[np.isfinite(array)]).max(initial=0))


def unit(case: Case, quantity: str, wanted: np.ndarray) -> float:
    """The size that errors of a quantity are relative to when its largest entry is below it.

    1, but 0 in two cases: for what the case says `vanishes`, which is compared relative to its
    own largest entry; and for zeros, which must then be zeros exactly, unless the case says that
    rounding `cancels` them.
    """
    if any(fnmatch(quantity, pattern) for pattern in case.vanishing):
        return 0.0
    rounded = any(fnmatch(quantity, pattern) for pattern in case.cancelling)
    return 0.0 if wanted.dtype.kind == "f" and not largest(wanted) and not rounded else 1.0


def error(a: np.ndarray, b: np.ndarray, unit: float = 1.0) -> float:
    """max|a − b| / max(unit, max|b|); infinite when anything but the values differs.

    Integers are compared exactly, and so are zeros when the unit is 0.
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
    difference, size = float(np.abs(a - b).max()), max(unit, float(np.abs(b).max()))
    if not size:
        return math.inf if difference else 0.0
    return difference / size


def assert_close(
    got: np.ndarray, wanted: np.ndarray, bound: float, what: str, unit: float = 1.0
) -> None:
    """AssertionError with both sides unless their error is within the bound."""
    found = error(got, wanted, unit)
    assert found <= bound, (
        f"{what}: error {found:.3g} > {bound:.3g}\n"
        f"got    {got.dtype} {got.shape}\n{got}\nwanted {wanted.dtype} {wanted.shape}\n{wanted}"
    )


def assert_dtype(got: np.ndarray, dtype: str, what: str) -> None:
    """Floating results keep the dtype of the input; indices are int64."""
    wanted = {"f": dtype, "i": "int64", "b": "bool"}.get(got.dtype.kind, "no such kind")
    assert got.dtype == wanted, f"{what}: dtype {got.dtype}, wanted {wanted}"
