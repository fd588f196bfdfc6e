"""What a program found: a table on the terminal, and the same numbers in results.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

Quality = Mapping[str, Mapping[str, float]]  # {method: {measure: value}}


def show(title: str, quality: Quality) -> None:
    """Print a table: a row for each method, a column for each measure."""
    from rich.console import Console  # the tests of a training run without rich
    from rich.table import Table

    table = Table(title=title)
    table.add_column("method")
    measures = list(dict.fromkeys(name for row in quality.values() for name in row))
    for name in measures:
        table.add_column(name, justify="right")
    for method, row in quality.items():
        table.add_row(method, *(f"{row[name]:.4g}" if name in row else "" for name in measures))
    Console(width=None if Console().is_terminal else 100).print(table)


def write(folder: Path, quality: Quality) -> None:
    """Write results.json: no times, so that the same run gives the same file."""
    text = json.dumps(quality, indent=2, allow_nan=False)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")
