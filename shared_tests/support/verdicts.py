"""Sanity checks for the tools: a case's options, and a verdict's details as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fourfold.definition import Case

OF_WEIGHTS = (
    *("reached", "missing", "zero", "not_finite", "left_out", "weights"),
    *("dead", "steps", "cancels", "unused"),
)
OF_THE_NETWORK = ("layers", "loss", "trained")


def arguments(case: Case, *batch: Any) -> dict[str, Any]:
    """What a case gives a check by name, what describes its network left out."""
    options = {key: one for key, one in case.options.items() if key not in OF_THE_NETWORK}
    return {"batch": batch, **options}


def trains(case: Case, place: int) -> bool:
    """Whether the projection at this place of the chain is trained."""
    return f"{place}.weight" in case.options.get("trained", ("1.weight", "3.weight"))


def outputs(verdict: Any, dtype: Any, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Numbers in this dtype; of the weights, called `names`, which ones a detail holds."""
    marks = {
        **dict.fromkeys(OF_WEIGHTS, names),
        "gradients": [f"the gradient of {name}" for name in names],
        "batch": ["batch[0]", "batch[1]"],
        "loss": ["the loss"],
    }
    found = {"ok": np.array(verdict.ok)}
    for key, detail in verdict.details.items():
        if key in marks:
            assert set(detail) <= set(marks[key]), detail
            found[key] = np.array([name in detail for name in marks[key]])
        elif key == "merged":
            found[key] = np.array(detail, int).reshape(-1, 2)
        else:
            found[key] = np.array(detail, dtype)
    return found
