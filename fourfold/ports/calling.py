"""How a case's inputs become the arguments of a function, whatever its framework."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

KEYWORD = inspect.Parameter.KEYWORD_ONLY
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def resolved(target: Any) -> Any:
    """The target itself, or what a "module:attribute" string names, imported now."""
    if not isinstance(target, str):
        return target
    module, colon, path = target.partition(":")
    if not (module and colon and path):
        raise ValueError(f"implementation: expected module:attribute, got {target!r}")
    found: Any = importlib.import_module(module)
    for attribute in path.split("."):
        found = getattr(found, attribute)
    return found


def arguments(
    function: Callable[..., Any], inputs: Mapping[str, Any], skip: int = 0
) -> tuple[list[Any], dict[str, Any]]:
    """The positional and the keyword arguments for a case's inputs.

    By name, where the function has a parameter of each input's name: then another order of the
    parameters does not matter. In the case's order otherwise; only what the function takes by
    keyword alone is given by name.

    Args:
        function: whose signature counts.
        inputs: by name, in order.
        skip: how many leading parameters are filled otherwise, such as weights.

    Returns:
        (positional, keyword)
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())[skip:]
    except (TypeError, ValueError):  # of a builtin
        return list(inputs.values()), {}
    kinds = {parameter.name: parameter.kind for parameter in parameters}
    if inputs and all(kinds.get(name) in (*POSITIONAL, KEYWORD) for name in inputs):
        leading = []
        for parameter in parameters:
            if parameter.kind not in POSITIONAL or parameter.name not in inputs:
                break
            leading.append(parameter.name)
        rest = {name: value for name, value in inputs.items() if name not in leading}
        return [inputs[name] for name in leading], rest
    keyword = {name: value for name, value in inputs.items() if kinds.get(name) is KEYWORD}
    return [value for name, value in inputs.items() if name not in keyword], keyword
