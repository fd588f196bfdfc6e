"""Whether a difference matters: what of it the rounding of the original itself explains.

An original in float32 has an error of its own, which shows against the same computation in float64.
A port that computes the same by other roundings has an error of that size. How large it may be is
not guessed: the original runs again with inputs and weights that are moved by one rounding each,
up or down, and the worst of its errors in these runs, doubled, is the bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fourfold.agreement import largest
from fourfold.definition import Arrays
from fourfold.ports.sides import Side

# How often the original runs with moved inputs and weights.
SAMPLES = 8
# A port's error is held to so many times the worst error of these runs. Of 128 quantities of right
# ports, other ways to the same numbers of linear layers of 8 to 4096 inputs, convolutions, layer
# norms, feed-forward blocks and attention, the largest was at 0.93 of it.
FACTOR = 2.0


@dataclass(frozen=True)
class Rounding:
    """Whether a port's error is one of rounding, in one quantity.

    Args:
        quantity: value:NAME or gradient:NAME.
        original: the error of the original in float32 against its own float64, relative to the
            largest entry.
        port: the error of the port in float32 against the original's float64.
        bound: the error that rounding explains.
    """

    quantity: str
    original: float
    port: float
    bound: float

    @property
    def ok(self) -> bool:
        """Whether rounding explains the port's error."""
        return self.port <= self.bound

    def __str__(self) -> str:
        verdict = "rounding" if self.ok else "more than rounding"
        ratio = f", {self.port / self.original:.2g} times" if self.original else ""
        return (
            f"{self.quantity}: {verdict}: the original is off by {self.original:.2g}, the port by "
            f"{self.port:.2g}{ratio}, rounding explains {self.bound:.2g}"
        )


def rounding(
    exact: Side,
    original: Side,
    port: Mapping[str, np.ndarray],
    *,
    gradients: bool = True,
    samples: int = SAMPLES,
    seed: int = 0,
) -> list[Rounding]:
    """How far both sides are from the original in float64, and what rounding explains.

    Args:
        exact: the original in float64, on inputs and weights rounded to float32.
        original: the original in float32.
        port: {quantity: array}: what the port gave in float32, as value:NAME and gradient:NAME.
        gradients: whether gradients of the inputs are held to it too.
        samples: how often the original runs with moved inputs and weights.
        seed: of the moves.

    Returns:
        A record for each quantity that the port and the original both give.
    """
    truth = exact.quantities(gradients=gradients)
    own = original.quantities(gradients=gradients)
    generator = np.random.default_rng(seed)
    bounds = {name: distance(own[name], truth[name]) for name in own}
    weights = original.port.weights(original.target)
    for _ in range(samples):
        inputs = nudged(original.case.inputs, generator)
        moved = replace(original, case=replace(original.case, inputs=inputs))
        if weights:
            moved = moved.with_weights(nudged(weights, generator))
        found = moved.quantities(gradients=gradients)
        for name in bounds:
            bounds[name] = max(bounds[name], distance(found[name], truth[name]))
    return [
        Rounding(
            name,
            distance(own[name], truth[name]),
            distance(array, truth[name]),
            FACTOR * bounds[name],
        )
        for name, array in port.items()
        if name in truth and truth[name].dtype.kind == "f"
    ]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """max|a − b| / max|b|; infinite where the shapes differ, or one side alone is no number."""
    if a.shape != b.shape:
        return float("inf")
    apart = np.abs(a.astype(np.float64) - b.astype(np.float64))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    apart = np.where(same, 0.0, np.where(np.isfinite(apart), apart, np.inf))
    return float(apart.max(initial=0) / (largest(b) or 1.0))


def nudged(arrays: Arrays | Mapping[str, Any], generator: np.random.Generator) -> dict[str, Any]:
    """Floating arrays with every entry moved to the next number above or below.

    Example:
        >>> moved = nudged({"x": np.ones(4, np.float32)}, np.random.default_rng(0))["x"]
        >>> bool((np.abs(moved - 1) < 2e-7).all() and (moved != 1).all())
        True
    """

    def one(value: Any) -> Any:
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            return value
        ends = np.where(generator.random(value.shape) < 0.5, -np.inf, np.inf).astype(value.dtype)
        return np.where(value == 0, value, np.nextafter(value, ends))

    return {name: one(value) for name, value in arrays.items()}
