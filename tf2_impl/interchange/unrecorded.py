"""What a Keras layer computes that its type, its options and its weights do not say.

A model file records those three. A call that was patched on an instance, an option that was
changed behind the back of a component's config: both run, and neither is in the file. Nothing is
saved of a model that has any of them.
"""

from __future__ import annotations

import random
from types import BuiltinFunctionType, FunctionType
from typing import Any

import keras

PLAIN = (bool, int, float, str, type(None), FunctionType, BuiltinFunctionType)
FREE = ("name", "built", "seed", "sparse", "supports_masking", "supports_jit")
# What Keras itself puts on every instance in the place of its class's.
WRAPPED = vars(keras.layers.Layer()).keys()


def unrecorded(layer: keras.Layer) -> str | None:
    """What of a layer, or of one in it, no file records; None for nothing."""
    for one in layer._flatten_layers():
        kind = type(one)
        for name in vars(one):
            if name not in WRAPPED and isinstance(getattr(kind, name, None), FunctionType):
                return f"{kind.__name__} with a {name} of its own ({one.name})"
    return None


def changed_option(component: Any) -> str | None:
    """What of a component is not as its config makes it; None for nothing."""
    state = random.getstate()  # what a user draws afterwards does not depend on it
    made = type(component)(**component.config, dtype=component.dtype_policy)
    random.setstate(state)
    own, wanted = component._flatten_layers(), made._flatten_layers()
    if [type(one) for one in own] != [type(one) for one in wanted]:
        found, names = ([type(one).__name__ for one in some[1:]] for some in (own, wanted))
        return f"{type(component).__name__} of {found} in the place of {names}"
    for one, other in zip(own, wanted, strict=True):
        for name, value in vars(other).items():
            free = name in WRAPPED or name in FREE or name[0] == "_"
            kept = isinstance(value, PLAIN) and not free
            if kept and vars(one).get(name) != value:
                return f"{type(one).__name__}({name}={vars(one).get(name)!r}) ({one.name})"
    return None
