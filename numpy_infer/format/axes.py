"""How many axes a layer of a chain takes and gives, and how they are laid out.

The framework packages ask: a model file does not say what shape its input has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy_infer.format.row import (
    FEATURES,
    IDS,
    PERMUTED,
    REDUCED,
    RESHAPED,
    SEQUENCE,
    SPATIAL,
    TIMES,
    Row,
)
from numpy_infer.format.vocabulary import LAYERS

SAME = "same"  # the output has as many axes as the input
GROWN = "grown"  # the output has one axis more


def takes(name: str, config: Mapping[str, Any]) -> str | None:
    """The layout of a layer's input, "channels" or "features"; None where either is right."""
    if config.get("axis") == -1:
        return FEATURES
    return LAYERS.get(name, Row()).takes


def gives(name: str, config: Mapping[str, Any], before: str) -> str:
    """The layout of a layer's output; before: that of its input."""
    if config.get("keepdims"):
        return before
    return LAYERS.get(name, Row()).gives or before


def ranks(name: str, config: Mapping[str, Any]) -> tuple[int | str | None, int | str | None]:
    """The number of axes of a layer's input and output, None where it can be any.

    Instead of a number also ("same", None) and ("grown", None).
    """
    axes = LAYERS.get(name, Row()).axes
    if axes == SPATIAL and _space(config):
        rank = 2 + _space(config)
        return rank, rank
    if axes == SEQUENCE:
        return 3, 3 if config.get("return_sequences") else 2
    if axes == TIMES:
        return 3, 3
    if axes == IDS:
        return GROWN, None
    if axes == RESHAPED:
        return None, 1 + len(config["shape"])
    if axes == PERMUTED:
        return 1 + len(config["order"]), 1 + len(config["order"])
    if axes == REDUCED and not config.get("keepdims"):
        return None, 2
    return SAME, None


def fewest(name: str, config: Mapping[str, Any]) -> int | None:
    """The fewest axes that a layer's input can have; None where it does not tell."""
    axes = LAYERS.get(name, Row()).axes
    if axes == SPATIAL and _space(config):
        return 2 + _space(config)
    if axes == PERMUTED and "order" in config:
        return 1 + len(config["order"])
    return 3 if axes in (SPATIAL, SEQUENCE, REDUCED) else None


def _space(config: Mapping[str, Any]) -> int:
    """For how many axes of space a layer has options; 0 where it has none."""
    return next(
        (len(config[key]) for key in ("stride", "padding", "scale", "size") if key in config), 0
    )
