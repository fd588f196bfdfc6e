"""What the rows say: targets met or missed, and with which exponent the times grow."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from benchmarks.harness import Benchmark, Row, Target, exponent


def target_rows(described: Benchmark, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each target that was measured, with what was found."""
    found = []
    for target in described.targets:
        value = ratio(target, rows)
        if value is not None:
            found.append({**asdict(target), "found": value, "ok": value <= target.most})
    return found


def ratio(target: Target, rows: list[dict[str, Any]]) -> float | None:
    """What the target is about; None when it was not measured."""
    kind = "bytes" if target.memory else "seconds"
    values = {
        row["contender"]: row[kind]
        for row in rows
        if (row["environment"], row["size"]) == (target.environment, target.size)
    }
    if target.contender not in values or (target.of or target.contender) not in values:
        return None
    return values[target.contender] / (1 if target.of is None else max(values[target.of], 1e-12))


def growth_rows(described: Benchmark, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The exponent of each contender that names one, in each environment; over all sizes."""
    found = []
    for environment in described.contenders:
        for contender, expected in (described.growth or {}).items():
            own = [
                Row(**row)
                for row in rows
                if (row["environment"], row["contender"]) == (environment, contender)
            ]
            if len(own) >= 3:
                place = {"environment": environment, "contender": contender}
                found.append({**place, "expected": expected, "found": exponent(own)})
    return found
