"""Arrays that fit in several layouts: which one makes the outputs agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fourfold.agreement import VALUE_TOLERANCE
from fourfold.ports.difference import difference
from fourfold.ports.measurement import Measurement
from numpy_infer.format.weight_proposal import alternatives


def turned(
    again: Callable[[Mapping[str, str]], Measurement],
    found: Measurement,
    original: Measurement,
) -> tuple[dict[str, str], list[str]]:
    """The layouts of arrays that make the outputs those of the original.

    Where the outputs agree already, or in no layout, there are none. Arrays of like names are
    turned alike.

    Args:
        again: measures with these layouts of arrays.
        found: what was measured, with what else its arrays could have been.
        original: what its outputs are held to.

    Returns:
        {original: layout}, and a line for each array that the values show to be laid out otherwise.
    """
    if not found.choices or agree(found, original):
        return {}, []
    for layouts in alternatives(found.choices):
        if agree(again(layouts), original):
            return layouts, [
                f"{name}: {layout}, as the values show" for name, layout in layouts.items()
            ]
    return {}, []


def agree(a: Measurement, b: Measurement) -> bool:
    """Whether all outputs that both have agree, and there are some."""
    compared: list[Any] = []
    for point in a.quantities.keys() & b.quantities.keys():
        bound = VALUE_TOLERANCE.get(("model", point[1]), 1e-2)
        compared += [
            difference(b.quantities[point][name], array, bound).error <= bound
            for name, array in a.quantities[point].items()
            if name.startswith("value:") and name in b.quantities[point]
        ]
    return bool(compared) and all(compared)
