"""How long a component takes beside what people would use instead, as the benchmarks found it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Timed(NamedTuple):
    """One contender in one environment, at the largest size that it was timed with."""

    environment: str
    contender: str
    size: int
    milliseconds: float
    mebibytes: float | None


def speed(benchmarks: Mapping[str, Any], component: str) -> list[Timed]:
    """All contenders of a component's benchmark; none where it was not run."""
    rows = benchmarks.get("benchmarks", {}).get(component, {}).get("rows", [])
    largest: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        place = (row["environment"], row["contender"])
        if place not in largest or row["size"] > largest[place]["size"]:
            largest[place] = row
    return [
        Timed(
            *place,
            row["size"],
            1e3 * row["seconds"],
            row["bytes"] / 2**20 if row["bytes"] else None,
        )
        for place, row in largest.items()
    ]
