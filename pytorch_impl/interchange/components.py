"""Components by their names, "file.Class"."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

PACKAGE = "pytorch_impl"


def component_name(module: nn.Module) -> str | None:
    """ "file.Class" of a component; None for any other module."""
    path, _, file = type(module).__module__.rpartition(".")
    own = path == PACKAGE and isinstance(getattr(module, "config", None), dict)
    return f"{file}.{type(module).__name__}" if own else None


def make_component(component: str, config: Mapping[str, Any], dtype: torch.dtype) -> nn.Module:
    """A component with its constructor's arguments; its random weights are yet to be replaced."""
    with torch.random.fork_rng(devices=[]):  # what a user draws afterwards does not depend on it
        return component_class(component)(**config).to(dtype)


def component_class(component: str) -> type[nn.Module]:
    """The class of a component, "file.Class", or "file" where there is but one.

    ValueError for an unknown one.
    """
    file, _, name = component.partition(".")
    try:
        module = importlib.import_module(f"{PACKAGE}.{file}")
    except ImportError:
        raise ValueError(f"component: expected a file of {PACKAGE}, got {file!r}") from None
    models = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, nn.Module)
        and value.__module__ == module.__name__
    }
    if name not in models and (name or len(models) != 1):
        choices = [f"{file}.{key}" for key in models]
        raise ValueError(f"component: expected one of {choices}, got {component!r}")
    return models[name] if name else next(iter(models.values()))
