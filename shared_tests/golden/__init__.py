"""Model files of format version 1, as each framework wrote them, and what they must compute.

FRAMEWORK/COMPONENT.safetensors is the model, COMPONENT.npz a call: its inputs and outputs. They
are never written anew: what was saved once has to load for ever. `python -m shared_tests.golden
BACKEND`, run where that framework is, adds those that are missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from fourfold.definition import Case

FOLDER = Path(__file__).parent


class Call(NamedTuple):
    """The inputs of a model, as a case, and the outputs that it gave."""

    case: Case
    outputs: dict[str, np.ndarray]


def models() -> list[Path]:
    """All model files."""
    return sorted(FOLDER.glob("*/*.safetensors"))


def call(model: Path) -> Call:
    """What was computed with a model when it was recorded."""
    with np.load(FOLDER / f"{model.stem}.npz") as file:
        found = {name: file[name] for name in file.files}
    groups: dict[str, dict[str, np.ndarray]] = {"input": {}, "output": {}}
    channels = tuple(map(str, found.pop("channels")))
    for name, array in found.items():
        group, _, key = name.partition(":")
        groups[group][key] = array
    return Call(Case("golden", groups["input"], channels=channels), groups["output"])
