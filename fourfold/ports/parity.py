"""A test's assertion that implementations agree, and the decorator `fourfold.parity`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from fourfold.ports.comparison import compare
from fourfold.ports.result import Comparison
from fourfold.ports.rows import Row

SHOWN = 5  # comparisons that a failure names, the worst ones


class Disagreement(AssertionError):
    """Implementations differ, or could not be compared: the worst entries, one line each."""


def checked(implementations: Mapping[str, Any], cases: Any, **options: Any) -> Comparison:
    """`fourfold.compare`, and an error unless all agree.

    Raises:
        Disagreement: which says where the worst differences are, with both numbers.
    """
    __tracebackhide__ = True  # pytest shows the line of the test
    comparison = compare(implementations, cases, **options)
    if not comparison:
        raise Disagreement(explained(comparison))
    return comparison


def explained(comparison: Comparison) -> str:
    """The verdict and the worst differences: where, both numbers, the error and its tolerance."""
    worst = sorted(comparison.differing, key=lambda row: -row.share)
    lines = [str(comparison).splitlines()[-1]]
    for row in worst[:SHOWN]:
        lines += [f"  {row.case}, {row.quantity}, {row.dtype}: {where(row)}"]
    hidden = len(worst) - SHOWN
    lines += [f"  and {hidden} more that differ"] if hidden > 0 else []
    lines += [f"  missing: {one}" for one in comparison.missing[:SHOWN]]
    lines += [f"  vacuous: {one}" for one in comparison.vacuous[:SHOWN]]
    return "\n".join(lines)


def where(row: Row) -> str:
    """The worst entry of a row that differs."""
    entry = row.worst or row.first
    if entry is None:
        return f"{row.a} and {row.b} differ in {row.reason}"
    index = ", ".join(map(str, entry.index))
    return (
        f"at [{index}] {row.a} {entry.a!r}, {row.b} {entry.b!r}; "
        f"error {row.error:.3g}, tolerance {row.tolerance:.3g}"
    )


def parity(cases: Any, reference: Any = None, **options: Any) -> Callable[..., Callable[..., None]]:
    """Make a test of a function that returns implementations.

    Args:
        cases: one or several, as `fourfold.compare` takes them.
        reference: a float64 function, or the name of one of the implementations; without it every
            pair is compared.
        options: further arguments of `fourfold.compare`.
    Returns:
        The decorator. The function's own arguments, as pytest's fixtures, stay its arguments.
    Raises:
        Disagreement: from the test, when the implementations differ.
    Example:
        >>> import numpy as np
        >>> from fourfold import Case
        >>> @parity(Case("ordinary", {"x": np.array([0.5, -1.0])}), reference=np.tanh)
        ... def test_tanh():
        ...     return {"numpy": lambda x: np.sinh(x) / np.cosh(x)}
        >>> test_tanh()
    """

    def decorate(function: Callable[..., Mapping[str, Any]]) -> Callable[..., None]:
        @functools.wraps(function)
        def test(*arguments: Any, **named: Any) -> None:
            __tracebackhide__ = True
            checked(function(*arguments, **named), cases, reference=reference, **options)

        return test

    return decorate
