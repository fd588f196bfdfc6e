"""The result of a comparison: true or false, a table, the worst row and the first difference."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fourfold.ports.difference import Entry
from fourfold.ports.explanation import Explanation, explain, matters
from fourfold.ports.location import Location, locate, located_in_training
from fourfold.ports.measurement import Measurement
from fourfold.ports.protocol import Training
from fourfold.ports.rounding import Rounding
from fourfold.ports.rows import Missing, Row
from fourfold.ports.sides import Origin
from fourfold.ports.table import table, verdict


@dataclass(frozen=True, repr=False)
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
        origin: the implementations and cases, where they were run here.
    """

    rows: tuple[Row, ...]
    missing: tuple[Missing, ...] = ()
    versions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    proposals: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    vacuous: tuple[str, ...] = ()
    measurements: Mapping[str, Measurement] = field(default_factory=dict, repr=False)
    origin: Origin | None = field(default=None, repr=False)

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

    def where(
        self,
        a: str | None = None,
        b: str | None = None,
        *,
        case: str | None = None,
        names: Mapping[str, str] | None = None,
        isolated: bool = True,
        training: Training | int | None = None,
    ) -> Location:
        """Where two implementations differ: their inner modules in pairs, and the first that does.

        Args:
            a, b: labels; by default those of the row that is farthest out of tolerance.
            case: its name; by default that of this row.
            names: {module of a: module of b}; the others are paired by order, name and shape.
            isolated: whether each module of b is also given the inputs of its counterpart, so that
                errors do not add up.
            training: take steps on both sides until a module differs.

        Returns:
            The location, which prints itself.

        Raises:
            ValueError: where the implementations were not run here, or for an unknown label.
        """
        origin, row = self._chosen(a, b, case)
        bound = _bound(row)
        one, other = (origin.side(label, row.case, row.dtype) for label in (row.a, row.b))
        if training is None:
            return locate(one, other, names=names, isolated=isolated, tolerance=bound)
        steps = Training(steps=training) if isinstance(training, int) else training
        return located_in_training(
            one, other, steps, names=names, isolated=isolated, tolerance=bound
        )

    def matters(
        self, a: str | None = None, b: str | None = None, *, case: str | None = None
    ) -> list[Rounding]:
        """Whether a difference in float32 is one of rounding: see `fourfold.ports.rounding`.

        Args:
            a: the label of the original; by default that of the row nearest to its tolerance.
            b: that of the port.
            case: the name of the case.

        Returns:
            A record for each output and gradient, with the errors of both sides.

        Raises:
            ValueError: where the implementations were not run here, or for an unknown label.
        """
        origin, row = self._chosen(a, b, case)
        return matters(origin, row.a, row.b, row.case)

    def why(
        self,
        a: str | None = None,
        b: str | None = None,
        *,
        case: str | None = None,
        names: Mapping[str, str] | None = None,
    ) -> Explanation:
        """Why two implementations differ: the traps of porting that make them agree.

        Args:
            a, b: labels; by default those of the row that is farthest out of tolerance. One of
                them is run again with one trap at a time: that in PyTorch, or else first a, and
                then b. PyTorch computes the traps, and has to be installed.
            case: the name of the case; by default that of this row.
            names: {module of a: module of b}, as for `where`.

        Returns:
            The explanation, which prints itself; false where no trap explains the difference.

        Raises:
            ValueError: where the implementations were not run here, or for an unknown label.
        """
        origin, row = self._chosen(a, b, case)
        bound = _bound(row)
        return explain(origin, row.a, row.b, row.case, row.dtype, names=names, tolerance=bound)

    def _chosen(self, a: str | None, b: str | None, case: str | None) -> tuple[Origin, Row]:
        """The row to look at: of these labels and this case, the farthest out of tolerance.

        One in float64 comes first, because rounding hides less there.
        """
        if self.origin is None:
            raise ValueError("comparison: expected one that was made here, got one of files")
        for label in (a, b):
            if label is not None and label not in self.origin.implementations:
                known = ", ".join(self.origin.implementations)
                raise ValueError(f"label: expected one of {known}, got {label!r}")
        wanted = {label for label in (a, b) if label is not None}
        rows = [
            row
            for row in self.rows
            if wanted <= {row.a, row.b}
            and {row.a, row.b} <= self.origin.implementations.keys()
            and case in (None, row.case)
            and row.dtype in ("float64", "float32")
        ]
        if not rows:
            raise ValueError("comparison: expected a row of these labels and case, got none")
        row = max(rows, key=lambda row: (not row.ok, row.dtype == "float64", row.share))
        return self.origin, replace(row, a=a or row.a, b=b or row.b)

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

    def __repr__(self) -> str:
        return f"<Comparison: {verdict(self.rows, self.missing, ok=self.ok)}>"

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


def _bound(row: Row) -> float | None:
    """The tolerance of a row in float32; in float64 that of a model tells enough."""
    measured = row.quantity.startswith(("value:", "gradient:"))
    return row.tolerance if measured and row.dtype == "float32" else None


def _finite(value: Any) -> Any:
    """NaN and infinity as text: JSON has no such numbers."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
