"""The result of a comparison: true or false, a table, the worst row and the first difference."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fourfold.ports.difference import Entry
from fourfold.ports.measurement import Measurement
from fourfold.ports.rows import Missing, Row
from fourfold.ports.table import table


@dataclass(frozen=True)
class Comparison:
    """The result: true when everything was measured and agrees; it prints itself as a table.

    Args:
        rows: every comparison.
        missing: what an implementation did not give, and why.
        versions: {implementation: {package: version}}.
        proposals: {implementation: lines of its map of weights}: which array is which original,
            and how it is turned.
        notes: what was not compared, and why.
        vacuous: quantities that are zero in every case: zeros would pass for them.
        measurements: what the rows were made from.
    """

    rows: tuple[Row, ...]
    missing: tuple[Missing, ...] = ()
    versions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    proposals: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    vacuous: tuple[str, ...] = ()
    measurements: Mapping[str, Measurement] = field(default_factory=dict, repr=False)

    @property
    def ok(self) -> bool:
        """Whether everything was measured, can differ, and agrees."""
        agree = all(row.ok for row in self.rows)
        return bool(self.rows) and agree and not self.missing and not self.vacuous

    def __bool__(self) -> bool:
        return self.ok

    @property
    def worst(self) -> Row | None:
        """The row that comes nearest to its tolerance, or goes farthest beyond."""
        return max(self.rows, key=lambda row: row.share, default=None)

    @property
    def differing(self) -> list[Row]:
        """The rows that are out of tolerance."""
        return [row for row in self.rows if not row.ok]

    @property
    def first_difference(self) -> Entry | None:
        """The first entry of the first row that is out of tolerance: index and both numbers."""
        return next((row.first for row in self.differing if row.first), None)

    def to_json(self) -> str:
        """The whole result: environments, rows, missing, proposals, notes and whether it is ok."""
        rows = [
            {**asdict(row), "error": row.error if math.isfinite(row.error) else str(row.error)}
            for row in self.rows
        ]
        content = {
            "ok": self.ok,
            "environments": {name: dict(one) for name, one in self.versions.items()},
            "rows": [_finite(row) for row in rows],
            "missing": [asdict(one) for one in self.missing],
            "vacuous": list(self.vacuous),
            "proposals": {name: list(lines) for name, lines in self.proposals.items()},
            "notes": list(self.notes),
        }
        return json.dumps(content, indent=1, allow_nan=False)

    def __str__(self) -> str:
        return table(
            self.rows,
            self.missing,
            self.proposals,
            notes=[
                *(f"vacuous: {one}" for one in self.vacuous),
                *(f"note: {one}" for one in self.notes),
            ],
            ok=self.ok,
        )


def _finite(value: Any) -> Any:
    """NaN and infinity as text: JSON has no such numbers."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
