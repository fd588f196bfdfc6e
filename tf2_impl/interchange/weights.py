"""The weights of a layer, or of a component and all layers in it, under their canonical names.

The records of the layers say where they are. The variables that belong to a component itself are
canonical as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from tf2_impl.interchange.records import WEIGHTS
from tf2_impl.interchange.weight import Weight


def weights(layer: keras.Layer) -> dict[str, Weight]:
    """The weights of a layer, or of a component and the layers in it, {canonical name: weight}.

    A layer of a component has its path before the name: `encoder.weight`.
    """
    found: dict[str, Weight] = {}
    seen: set[int] = set()

    def walk(value: Any, path: str) -> None:
        if isinstance(value, keras.Variable):
            found[path] = Weight(value)
        elif isinstance(value, list | tuple):
            for place, one in enumerate(value):
                walk(one, f"{path}.{place}")
        elif isinstance(value, keras.Layer) and id(value) not in seen:
            seen.add(id(value))
            own = layer_weights(value)
            for name, one in _children(value) if own is None else own.items():
                if isinstance(one, Weight):
                    found[f"{path}.{name}".lstrip(".")] = one
                else:
                    walk(one, f"{path}.{name}".lstrip("."))

    walk(layer, "")
    return found


def layer_weights(layer: keras.Layer) -> dict[str, Weight] | None:
    """The weights of one of Keras's layers, which has been built; None for any other."""
    for kind in type(layer).__mro__:
        if kind in WEIGHTS:
            return WEIGHTS[kind](layer)
    return None


def _children(layer: keras.Layer) -> Iterator[tuple[str, Any]]:
    if isinstance(layer, keras.Sequential):
        yield from ((str(place), one) for place, one in enumerate(layer.layers))
    else:
        yield from ((name, one) for name, one in vars(layer).items() if name[0] != "_")
