"""What the parity report measured of one component: the worst error of each kind and backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fourfold.definition import BACKENDS, BROWSER

KINDS = {"value": "values", "gradient": "gradients", "training": "training", "travel": "travel"}


class Cell(NamedTuple):
    """The comparison of one kind that came closest to its tolerance."""

    error: float
    tolerance: float
    compared: int
    case: str

    @property
    def share(self) -> float:
        return self.error / self.tolerance


class Line(NamedTuple):
    """One line of the table: what is compared in which dtype, and {backend: cell}."""

    kind: str
    dtype: str
    cells: dict[str, Cell]


def verdict(parity: Mapping[str, Any], component: str) -> list[Line]:
    """The lines of a component's table; empty when nothing of it was measured."""
    worst: dict[tuple[str, str], dict[str, Cell]] = {}
    for row in parity["rows"]:
        if row["component"] != component:
            continue
        kind = KINDS[row["quantity"].partition(":")[0]]
        cells = worst.setdefault((kind, row["dtype"]), {})
        for backend in {row["a"], row["b"]} & set(BACKENDS):
            before = cells.get(backend, Cell(0.0, 1.0, 0, row["case"]))
            this = Cell(row["error"], row["tolerance"], before.compared + 1, row["case"])
            nearer = this.share > before.share or not before.compared
            cells[backend] = this if nearer else before._replace(compared=this.compared)
    order = list(KINDS.values())
    places = sorted(worst, key=lambda key: (order.index(key[0]), -int(key[1][-2:])))
    return [Line(*place, worst[place]) for place in places]


def in_browser(parity: Mapping[str, Any], component: str) -> Cell | None:
    """The model that came closest to its tolerance in a browser; None where none was loaded."""
    rows = [row for row in parity["rows"] if row["component"] == component and row["b"] == BROWSER]
    cells = [Cell(row["error"], row["tolerance"], len(rows), row["case"]) for row in rows]
    return max(cells, key=lambda cell: cell.share, default=None)


def agrees(parity: Mapping[str, Any], component: str) -> bool:
    """Whether all comparisons of a component are there, and within their tolerances."""
    rows = [row["ok"] for row in parity["rows"] if row["component"] == component]
    missing = [one for one in parity["missing"] if one["component"] == component]
    return bool(rows) and all(rows) and not missing
