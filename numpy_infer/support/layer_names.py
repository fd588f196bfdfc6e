"""Names of weights as names of layers: the same rule for every framework."""

from __future__ import annotations

from collections.abc import Sequence


def is_bias(name: str) -> bool:
    """Whether a parameter is a bias, by its own name, without those of the layers around it.

    A shift or beta is one, and a name with the word bias in it: bias, input_bias, bias_ih_l0.
    """
    return name in ("beta", "shift") or "bias" in name.split("_")


def layer_names(names: Sequence[str], endings: Sequence[str]) -> list[str]:
    """The names of weights without these endings, such as ".weight"; numbered where alike."""
    for ending in endings:
        names = [name.removesuffix(ending) for name in names]
    return [
        f"{name} ({names[: index + 1].count(name)})" if names.count(name) > 1 else name
        for index, name in enumerate(names)
    ]
