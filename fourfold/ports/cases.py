"""Cases from shapes and from strategies: seeded, asymmetric, and awkward on purpose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fourfold.definition import Case


@dataclass(frozen=True)
class Integers:
    """An input of whole numbers from low to high − 1, each of which occurs if there is room.

    Args:
        shape: of the array.
        high: one more than the largest.
        low: the smallest.

    Example:
        >>> Integers((5,), 3).high
        3
    """

    shape: tuple[int, ...]
    high: int
    low: int = 0


Shape = tuple[int, ...] | Integers


def cases_from_shapes(
    shapes: Mapping[str, Shape],
    *,
    options: Mapping[str, Any] | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
    channels: Sequence[str] = (),
    seed: int = 0,
) -> list[Case]:
    """Several cases for inputs of these shapes, the same for the same seed.

    ordinary: standard normal numbers, all of them different. zeros: every floating entry 0. ties:
    few different numbers, so that maxima and sorted orders meet equals. large: a hundred times the
    ordinary. one row: the ordinary case's first row, where all inputs have the same first axis.

    Args:
        shapes: {input: shape}, or `Integers` for labels and ids.
        options: keyword arguments of the implementations.
        weights: one mapping for all implementations.
        channels: the inputs and outputs that are (batch, channels, *space).
        seed: of the numbers.

    Returns:
        The cases.

    Raises:
        ValueError: when a shape holds two equal sizes other than 1: a transposed input would pass
            where both have the same shape.

    Example:
        >>> [case.name for case in cases_from_shapes({"x": (5, 7), "labels": Integers((5,), 3)})]
        ['ordinary', 'zeros', 'ties', 'large', 'one row']
    """
    for name, shape in shapes.items():
        sizes = [size for size in _sizes(shape) if size != 1]
        if len(set(sizes)) < len(sizes):
            raise ValueError(f"{name}: expected a shape of different sizes, got {_sizes(shape)}")
    generator = np.random.default_rng(seed)
    ordinary = {name: _numbers(shape, generator) for name, shape in shapes.items()}

    def case(name: str, change: Any) -> Case:
        inputs = {
            key: change(value) if value.dtype.kind == "f" else value
            for key, value in ordinary.items()
        }
        return Case(name, inputs, dict(options or {}), weights, channels=tuple(channels))

    cases = [
        case("ordinary", lambda x: x),
        case("zeros", np.zeros_like),
        case("ties", lambda x: np.round(x * 2) / 2),
        case("large", lambda x: 100 * x),
    ]
    rows = {_sizes(shape)[:1] for shape in shapes.values()}
    if len(rows) == 1 and rows != {()}:
        first = {name: value[:1] for name, value in ordinary.items()}
        cases.append(Case("one row", first, dict(options or {}), weights, channels=tuple(channels)))
    return cases


def cases_from_strategies(
    strategies: Mapping[str, Any],
    count: int = 10,
    *,
    options: Mapping[str, Any] | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
) -> list[Case]:
    """Cases that hypothesis draws, the same ones each time.

    Args:
        strategies: {input: strategy}, such as those of `hypothesis.extra.numpy.arrays`.
        count: how many at most; hypothesis draws fewer where there are no more.
        options: keyword arguments of the implementations.
        weights: one mapping for all implementations.

    Returns:
        The cases, `drawn 0` and so on.

    Raises:
        ImportError: where hypothesis is not installed.
    """
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    drawn: list[Mapping[str, Any]] = []
    once = settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    def draw(inputs: Mapping[str, Any]) -> None:
        drawn.append(inputs)

    once(given(st.fixed_dictionaries(dict(strategies)))(draw))()
    return [
        Case(f"drawn {index}", inputs, dict(options or {}), weights)
        for index, inputs in enumerate(drawn)
    ]


def _sizes(shape: Shape) -> tuple[int, ...]:
    return shape.shape if isinstance(shape, Integers) else tuple(shape)


def _numbers(shape: Shape, generator: np.random.Generator) -> np.ndarray:
    if not isinstance(shape, Integers):
        return generator.normal(size=shape)
    count = int(np.prod(shape.shape))
    numbers = shape.low + np.arange(count) % (shape.high - shape.low)
    return generator.permutation(numbers).reshape(shape.shape)
