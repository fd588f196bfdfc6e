"""Adapters for other people's code: one for each framework, imported when it is asked for."""

from __future__ import annotations

import importlib
import importlib.util

from fourfold.ports.protocol import Measured, Port, Recorded, Trained, Training, WithWeights

__all__ = [
    "FRAMEWORKS",
    "Measured",
    "Port",
    "Recorded",
    "Trained",
    "Training",
    "WithWeights",
    "port",
]

# {framework: the package that it needs}
FRAMEWORKS = {
    "torch": "torch",
    "keras": "keras",
    "tensorflow": "tensorflow",
    "jax": "jax",
    "theano": "theano",
    "numpy": "numpy",
}


def port(framework: str) -> Port:
    """The adapter of a framework; only this framework is imported.

    Args:
        framework: torch, keras, tensorflow, jax, theano or numpy.

    Returns:
        The adapter.

    Raises:
        ValueError: for a framework that has no adapter.
        ImportError: where the framework is not installed.

    Example:
        >>> port("numpy").framework
        'numpy'
    """
    if framework not in FRAMEWORKS:
        raise ValueError(f"framework: expected one of {', '.join(FRAMEWORKS)}, got {framework!r}")
    package = FRAMEWORKS[framework]
    if importlib.util.find_spec(package) is None:
        raise ImportError(
            f"{framework}: expected the package {package}, got none: "
            f'pip install "fourfold[{framework}]"'
        )
    found: Port = importlib.import_module(f"fourfold.ports.{framework}_port").PORT
    return found
