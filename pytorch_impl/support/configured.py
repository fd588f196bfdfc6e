"""The base of the package's modules: `config` holds the arguments of the constructor."""

from __future__ import annotations

from typing import Any

from torch import nn


class ConfiguredModule(nn.Module):
    """An `nn.Module` that prints the arguments it was built with.

    A subclass sets `config`, a dictionary of its constructor's arguments. Model files record it.
    """

    config: dict[str, Any]

    def extra_repr(self) -> str:
        """The arguments, as `print(module)` shows them between the parentheses."""
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())
