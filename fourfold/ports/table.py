"""A comparison as text: the worst error of each quantity, then what differs or is missing."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Mapping, Sequence

from fourfold.ports.rows import Missing, Row

SHOWN = 20  # rows that differ, and as many that are missing
NOTHING = "–"  # the mark where there is nothing to compare

Pair = tuple[str, str]


def table(
    rows: Sequence[Row],
    missing: Sequence[Missing],
    proposals: Mapping[str, Sequence[str]],
    *,
    notes: Sequence[str],
    ok: bool,
) -> str:
    """The summary, what differs or is missing, the maps of weights, and the verdict."""
    differing = [row for row in rows if not row.ok]
    lines = summary(rows)
    lines += shown([f"differs: {row}" for row in differing])
    lines += shown([f"missing: {one}" for one in missing])
    lines += notes
    for label, proposed in proposals.items():
        lines += [f"weights of {label}:", *(f"  {line}" for line in proposed)]
    return "\n".join([*lines, verdict(rows, missing, ok=ok)])


def verdict(rows: Sequence[Row], missing: Sequence[Missing], *, ok: bool) -> str:
    """Whether everything agrees, in one line."""
    word = "agree" if ok else "DO NOT AGREE"
    differing = sum(not row.ok for row in rows)
    return f"{word}: {len(rows)} comparisons, {differing} out of tolerance, {len(missing)} missing"


def shown(lines: list[str]) -> list[str]:
    """The first lines, and how many there are more."""
    more = [f"… and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return lines[:SHOWN] + more


def cells(
    rows: Sequence[Row],
) -> tuple[dict[tuple[str, str], dict[Pair, list[Row]]], list[Pair]]:
    """{(quantity, dtype): {pair: its rows}}, and the pairs in their order."""
    found: dict[tuple[str, str], dict[Pair, list[Row]]] = {}
    for row in rows:
        line = found.setdefault((row.quantity, row.dtype), {})
        line.setdefault((row.a, row.b), []).append(row)
    return found, list(dict.fromkeys((row.a, row.b) for row in rows))


def summary(rows: Sequence[Row]) -> list[str]:
    """A line for each quantity and dtype: per pair the worst error as a share of its tolerance."""
    lines, pairs = cells(rows)
    head = ["quantity", "dtype", *(f"{a} / {b}" for a, b in pairs)]
    body = [
        [*place, *(mark(line.get(pair, [])) for pair in pairs)] for place, line in lines.items()
    ]
    if not rows:
        return []
    if sys.stdout.isatty() and importlib.util.find_spec("rich"):
        return colored(head, body)
    return aligned([head, *body])


def colored(head: list[str], body: list[list[str]]) -> list[str]:
    """The table for a terminal: green where it agrees, red where it does not."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(*head, title="Worst error as a share of its tolerance")
    for quantity, dtype, *marks in body:
        texts = [Text(one, style="bold red" if one.startswith("✗") else "green") for one in marks]
        grid.add_row(Text(quantity), dtype, *texts)
    console = Console(file=io.StringIO(), force_terminal=True)
    with console.capture() as capture:
        console.print(grid)
    return capture.get().splitlines()


def mark(rows: list[Row]) -> str:
    """The worst of these rows: its error as a share of its tolerance."""
    if not rows:
        return NOTHING
    worst = max(rows, key=lambda row: row.share)
    return f"{worst.share:.1%}" if worst.ok else f"✗ {worst.share:.3g}×"


def aligned(rows: list[list[str]]) -> list[str]:
    """Rows of a table with columns of one width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
