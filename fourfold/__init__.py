"""Proves that implementations of one component agree: definitions, comparison, adapters, report.

import fourfold

print(fourfold.compare({"torch": original, "jax": port}, fourfold.cases_from_shapes({"x": (5, 7)})))
"""

from __future__ import annotations

import importlib
import importlib.metadata
import tomllib
from pathlib import Path
from typing import Any

# {public name: module that defines it}: nothing but NumPy is imported before it is asked for.
_HOMES = {
    "Case": "fourfold.definition",
    "Comparison": "fourfold.ports.comparison",
    "Elsewhere": "fourfold.ports.elsewhere",
    "Integers": "fourfold.ports.cases",
    "Mutant": "fourfold.definition",
    "Training": "fourfold.ports.protocol",
    "cases_from_shapes": "fourfold.ports.cases",
    "cases_from_strategies": "fourfold.ports.cases",
    "compare": "fourfold.ports.comparison",
    "parity": "fourfold.ports.parity",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module 'fourfold' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def _version() -> str:
    """That of the installed package, or of pyproject.toml in a checkout."""
    project = Path(__file__).parents[1] / "pyproject.toml"
    if project.exists():
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
    return importlib.metadata.version("fourfold")
