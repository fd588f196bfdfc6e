"""Components by their names: "file.Class"."""

from __future__ import annotations

import importlib

import keras

PACKAGE = "tf2_impl"


def component_name(layer: keras.Layer) -> str | None:
    """ "file.Class" of a component; None for any other layer."""
    path, _, file = type(layer).__module__.rpartition(".")
    own = path == PACKAGE and isinstance(getattr(layer, "config", None), dict)
    return f"{file}.{type(layer).__name__}" if own else None


def component_class(component: str) -> type[keras.Layer]:
    """The class of a component, "file.Class", or "file" where there is but one.

    ValueError for an unknown one.
    """
    file, _, name = component.partition(".")
    try:
        module = importlib.import_module(f"{PACKAGE}.{file}")
    except ImportError:
        raise ValueError(f"component: expected a file of {PACKAGE}, got {file!r}") from None
    models = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, keras.Layer)
        and value.__module__ == module.__name__
    }
    if name not in models and (name or len(models) != 1):
        choices = [f"{file}.{key}" for key in models]
        raise ValueError(f"component: expected one of {choices}, got {component!r}")
    return models[name] if name else next(iter(models.values()))
