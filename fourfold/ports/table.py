"""A comparison as text: the worst error of each quantity, then what differs or is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fourfold.ports.comparison import Comparison, Row

SHOWN = 20  # rows that differ, and as many that are missing


def table(comparison: Comparison) -> str:
    """The summary, what differs or is missing, the map of weights, and the verdict."""
    lines = [*summary(comparison)]
    differing = comparison.differing
    lines += [f"differs: {row}" for row in differing[:SHOWN]]
    lines += [f"… and {len(differing) - SHOWN} more"] if len(differing) > SHOWN else []
    lines += [f"missing: {one}" for one in comparison.missing[:SHOWN]]
    lines += [f"vacuous: {one}" for one in comparison.vacuous]
    lines += [f"note: {one}" for one in comparison.notes]
    for label, proposals in comparison.proposals.items():
        lines += [f"weights of {label}:", *(f"  {line}" for line in proposals)]
    lines.append(verdict(comparison))
    return "\n".join(lines)


def verdict(comparison: Comparison) -> str:
    """Whether everything agrees, in one line."""
    rows, differing = comparison.rows, comparison.differing
    word = "agree" if comparison.ok else "DO NOT AGREE"
    return (
        f"{word}: {len(rows)} comparisons, {len(differing)} out of tolerance, "
        f"{len(comparison.missing)} missing"
    )


def summary(comparison: Comparison) -> list[str]:
    """A line for each quantity and dtype: per pair the worst error as a share of its tolerance."""
    pairs = list(dict.fromkeys((row.a, row.b) for row in comparison.rows))
    quantities = list(dict.fromkeys((row.quantity, row.dtype) for row in comparison.rows))
    head = ["quantity", "dtype", *(f"{a} / {b}" for a, b in pairs)]
    body = []
    for quantity, dtype in quantities:
        cells = []
        for pair in pairs:
            found = [
                row
                for row in comparison.rows
                if (row.quantity, row.dtype, row.a, row.b) == (quantity, dtype, *pair)
            ]
            cells.append(mark(found))
        body.append([quantity, dtype, *cells])
    return aligned([head, *body])


def mark(rows: list[Row]) -> str:
    """The worst of these rows: its error as a share of its tolerance."""
    if not rows:
        return "–"
    worst = max(rows, key=lambda row: row.share)
    return f"{worst.share:.1%}" if worst.ok else f"✗ {worst.share:.3g}×"


def aligned(rows: list[list[str]]) -> list[str]:
    """Rows of a table with columns of one width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
