"""Functions of a framework that are replaced for a while, wherever they are called by name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def replacing(places: Mapping[tuple[Any, str], Callable[..., Any]], wrap: Any) -> Iterator[None]:
    """While it lasts, what stands at (module or class, name) is wrapped with its translation.

    A function that another module has imported by its name is replaced there too.

    Args:
        places: {(owner, name): translation}; what the framework does not have is left out.
        wrap: makes of a function and its translation what is called in its place.
    """
    changed: list[tuple[Any, str, Any]] = []
    wrapped: dict[int, tuple[Any, Any]] = {}
    for (owner, name), translation in places.items():
        native = getattr(owner, name, None)
        if native is None or id(native) in wrapped:
            continue
        wrapped[id(native)] = native, wrap(native, translation)
        if isinstance(owner, type):  # a method
            changed.append((owner, name, native))
            setattr(owner, name, wrapped[id(native)][1])
    for module in list(sys.modules.values()):
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if id(value) in wrapped and wrapped[id(value)][0] is value:
                changed.append((module, name, value))
                setattr(module, name, wrapped[id(value)][1])
    try:
        yield
    finally:
        for owner, name, native in reversed(changed):
            setattr(owner, name, native)
