"""What earlier model files say, in today's words: what was saved once loads for ever.

1. A `SoftNearestNeighborLoss` that learns its temperature kept 1/T, `inverse_temperature`. Now it
   keeps the logarithm, `log_inverse_temperature`, so that no step of an optimizer makes T negative.
2. A `MixtureOfExperts` divided its gates by their sum, with a single gate too, and its
   configuration did not say so. Now `renormalize` says it, and new models with k = 1 do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

LOSS = "soft_nearest_neighbor_loss.SoftNearestNeighborLoss"
MIXTURE = "top_k_gating.MixtureOfExperts"


def todays(
    component: str, config: dict[str, Any], arrays: Mapping[str, np.ndarray]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Configuration and arrays of a component, or of a chain or graph, as they are saved today."""
    config, arrays = _component(component, config, "", arrays)
    layers = config.get("layers")
    if component in ("chain", "graph") and isinstance(layers, list):
        entries = []
        for place, entry in enumerate(layers):
            if isinstance(entry, dict) and isinstance(entry.get("config"), dict):
                name = str(entry.get("layer"))
                own, arrays = _component(name, entry["config"], f"{place}.", arrays)
                entry = {**entry, "config": own}
            entries.append(entry)
        config = {**config, "layers": entries}
    return config, dict(arrays)


def _component(
    name: str, config: dict[str, Any], path: str, arrays: Mapping[str, np.ndarray]
) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
    if name == MIXTURE and "renormalize" not in config:
        config = {**config, "renormalize": True}
    older = f"{path}inverse_temperature"
    if name == LOSS and older in arrays:
        inverse = arrays[older]
        if not (inverse > 0).all():
            raise ValueError(f"array {older!r}: expected a number above 0, got {inverse!r:.99}")
        others = {key: array for key, array in arrays.items() if key != older}
        arrays = {**others, f"{path}log_inverse_temperature": np.log(inverse)}
    return config, arrays
