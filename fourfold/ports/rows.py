"""One comparison of two implementations, and what one of them did not give."""

from __future__ import annotations

from dataclasses import dataclass

from fourfold.ports.difference import Entry


@dataclass(frozen=True)
class Row:
    """One comparison: a quantity of a case in a dtype, of two implementations.

    Args:
        case, quantity, dtype: what is compared: value:NAME, gradient:NAME, weight:NAME,
            training:losses or training:NAME.
        a, b: the labels; a is what b is held to.
        error: max|a − b| / max(1, max|a|), infinite where anything but the values differs.
        tolerance: how large it may be.
        ok: whether it is within.
        reason: why it is not.
        first: the first entry out of tolerance, its index and both numbers.
        worst: the entry that differs most.
        note: that what is compared is too small to differ, if so.
    """

    case: str
    quantity: str
    dtype: str
    a: str
    b: str
    error: float
    tolerance: float
    ok: bool
    reason: str = ""
    first: Entry | None = None
    worst: Entry | None = None
    note: str = ""

    @property
    def share(self) -> float:
        """The error as a share of its tolerance: above 1 it fails."""
        return self.error / self.tolerance if self.error else 0.0

    def __str__(self) -> str:
        place = f"{self.case}, {self.quantity}, {self.dtype}: {self.a} and {self.b}"
        if self.ok:
            return f"{place} agree, error {self.error:.3g} ≤ {self.tolerance:.3g}"
        beyond = f"error {self.error:.3g} > {self.tolerance:.3g}"
        first = f", first at {self.first}" if self.first else ""
        note = f" ({self.note})" if self.note else ""
        return f"{place} differ in {self.reason}, {beyond}{first}{note}"


@dataclass(frozen=True)
class Missing:
    """What an implementation did not give, and why."""

    case: str
    quantity: str
    dtype: str
    implementation: str
    reason: str

    def __str__(self) -> str:
        return f"{self.case}, {self.quantity}, {self.dtype}: {self.implementation}: {self.reason}"
