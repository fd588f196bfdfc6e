"""The default of every argument is that of the other packages, in the functions as they run.

The other side is read from a syntax tree, since frameworks do not live in one environment.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from functools import cache
from typing import Any

import pytest

from fourfold.definition import Definition
from fourfold.project import definitions
from shared_tests.repository import CHAIN, PACKAGES
from shared_tests.support.sources import arguments, components, public

RENAMED = {"learning_rate": "lr"}  # what Keras calls it in every optimizer


@cache
def files(package: str) -> dict[str, ast.Module]:
    return components(package)


def defaults_of(target: Any) -> dict[str, Any]:
    """{argument: default} of a function, or of a class's constructor."""
    found = inspect.signature(target).parameters.values()
    return {
        RENAMED.get(one.name, one.name): one.default
        for one in found
        if one.default is not inspect.Parameter.empty
    }


def written_defaults(package: str, component: str, name: str) -> dict[str, Any]:
    """The same, as another package has it in its source; only what is a literal."""
    node = public(files(package)[component]).get(name)
    found = {}
    for _, argument, default in arguments(node) if node else ():
        if default is not None:
            try:
                found[RENAMED.get(argument, argument)] = ast.literal_eval(default)
            except ValueError:
                continue  # a name, and no literal
    return found


DEFINED = [one for one in definitions() if one.component != CHAIN]


@pytest.mark.parametrize("component", DEFINED, ids=lambda one: one.component)
def test_defaults_are_those_of_the_other_packages(backend_name, component: Definition):
    """Of the functions, the constructors, and of what NumPy reads configurations with."""
    file = component.component
    other = "tf2_impl" if backend_name == "torch" else "pytorch_impl"
    for operation in component.operations:
        if backend_name not in operation.backends() or file not in files(other):
            continue  # NumPy has components of its own
        module = importlib.import_module(f"{PACKAGES[backend_name]}.{file}")
        target = getattr(module, operation.name)
        wanted = written_defaults(other, file, operation.name)
        for one in (target, getattr(target, "array_shapes", None)):
            for argument, default in defaults_of(one).items() if one else ():
                # An array that may be left out is no flag, though it has the name of one; and where
                # a framework's constructor decides, a configuration says what it has decided.
                decided = backend_name == "numpy" and None in (default, wanted.get(argument, 0))
                if argument in wanted and not decided:
                    place = f"{file}.{operation.name}: {argument}"
                    assert default == wanted[argument], place
                    assert type(default) is type(wanted[argument]), place
