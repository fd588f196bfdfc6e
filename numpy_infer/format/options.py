"""The options of the components in model files: one rule for each name, the same in every package.

What is outside of its rule here is refused before any package builds a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numpy_infer.distances import DISTANCES
from numpy_infer.support.checks import (
    check_choice,
    check_count,
    check_counts,
    check_flag,
    check_number,
)

COUNTS = (
    *("vocabulary_size", "embedding_dim", "char_dim", "dim", "hidden", "n_filters", "width"),
    *("in_features", "out_features", "in_channels", "kernel_size", "pool_size", "n_mels"),
    *("n_experts", "k", "size", "block_size"),
)
FLAGS = (
    "reverse",
    "unit_norm",
    "noisy",
    "renormalize",
    "bias",
    "learn_temperature",
    "weight_by_leaves",
)
CHOICES = {
    "reduce": ("mean", "sum"),
    "rule": ("age", "circular", "average"),
    "activation": ("linear", "tanh", "sigmoid", "relu"),
    "pairs": ("all", "adjacent"),
    "distance": DISTANCES,
    "reduction": ("mean", "sum", "none"),
}
OPTIONAL = ("block_size", "out_features")  # may be None, where the component says so


def check_options(config: Mapping[str, Any]) -> None:
    """TypeError or ValueError for an option outside of its rule."""
    for name, value in config.items():
        if not (value is None and name in OPTIONAL):
            RULES[name](name, value)


def _dropout(name: str, value: Any) -> None:
    if not check_number(name, value, least=0) < 1:
        raise ValueError(f"{name}: expected a number below 1, got {value}")


def _one_of(choices: tuple[str, ...]) -> Callable[[str, Any], Any]:
    return lambda name, value: check_choice(name, value, choices)


RULES: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(COUNTS, check_count),
    **dict.fromkeys(("channels", "classes"), check_counts),
    **dict.fromkeys(FLAGS, check_flag),
    **{name: _one_of(choices) for name, choices in CHOICES.items()},
    **dict.fromkeys(
        ("margin", "age_noise"), lambda name, value: check_number(name, value, least=0)
    ),
    "temperature": lambda name, value: check_number(name, value, above=0),
    "dropout": _dropout,
}
