"""A comparison as one self-contained page: no scripts, no network. It looks like the report's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fourfold.ports.result import Comparison
from fourfold.ports.table import NOTHING, SHOWN, cells, mark
from fourfold.report.template import environment


def comparison_page(found: Comparison, made: dict[str, Any], explanation: str = "") -> str:
    """The page's text: the verdict and one table, then what differs or is missing.

    Args:
        found: the comparison.
        made: when and where, as `fourfold.report.provenance.made` says it.
        explanation: where two sides differ, and why, as text.

    Returns:
        HTML.
    """
    lines, pairs = cells(found.rows)
    page = environment(Path(__file__).parent).get_template("comparison.html")
    return str(
        page.render(
            found=found,
            made=made,
            explanation=explanation,
            labels=list(found.versions),
            pairs=pairs,
            lines=[
                {
                    "quantity": quantity,
                    "dtype": dtype,
                    "marks": [_shown(mark(line.get(pair, []))) for pair in pairs],
                }
                for (quantity, dtype), line in lines.items()
            ],
            differing=found.differing,
            SHOWN=SHOWN,
        )
    )


def _shown(text: str) -> dict[str, str]:
    """A mark with its sign, and which kind of cell it is."""
    if text == NOTHING:
        return {"text": text, "kind": "none"}
    return {"text": text, "kind": "bad"} if text[0] == "✗" else {"text": f"✓ {text}", "kind": "ok"}
