"""The groups of parameters that an optimizer is made of, and how it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer


def listed_parameters(params: Tensor | Iterable[Tensor]) -> list[Tensor]:
    """The parameters of a group, given as one tensor or as several."""
    return [params] if isinstance(params, Tensor) else list(params)


def copied_group(group: dict[str, Any]) -> dict[str, Any]:
    """An optimizer keeps the group it is given, and writes into it."""
    return {**group, "params": list(group["params"])}


def made_optimizer(
    name: str,
    make: Callable[[list[dict[str, Any]]], Optimizer],
    groups: Sequence[dict[str, Any]],
) -> Optimizer:
    """What the function makes of copies of the groups; TypeError unless it is an optimizer."""
    if not callable(make):
        raise TypeError(f"{name}: expected a function of groups, got {type(make).__name__}")
    made = make([copied_group(group) for group in groups])
    if not isinstance(made, Optimizer):
        raise TypeError(f"{name}: expected it to make an Optimizer, got {type(made).__name__}")
    return made
