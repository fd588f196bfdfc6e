"""What a training gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Training:
    """A trained model, and how it came about.

    Args:
        model: of the framework.
        save_model: of its package's interchange.
        history: of each epoch its mean loss, and what was measured after it.
        flows: of each epoch the mean gradient of each layer at its end.
    """

    model: Any
    save_model: Callable[..., None]
    history: list[dict[str, float]] = field(default_factory=list)
    flows: list[Mapping[str, float]] = field(default_factory=list)

    def save(self, path: Path, *, metadata: Mapping[str, Any]) -> None:
        """Write the model file, with what else serving needs."""
        self.save_model(self.model, path, metadata=metadata)
