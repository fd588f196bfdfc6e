"""Mutants, a porter's mistakes, in the place of the modules that they are edits of."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from fourfold.definition import Mutant
from fourfold.project import edited_module
from shared_tests.support.sources import importers


@contextmanager
def in_place(mutant: Mutant, package: str, component: str) -> Iterator[None]:
    """While inside, what is imported of a component's package holds the mistake."""
    edited = importlib.import_module(edited_module(mutant, package, component))
    importing = _importing(edited, package, component)  # they import the mutant anew
    kept = {module.__name__: module for module in (edited, *importing)}
    with _registry_of_keras():
        try:
            _put(mutated(edited, *mutant.edits[package]))
            for module in importing:
                _put(_executed(module, inspect.getsource(module)))
            yield
        finally:
            for module in kept.values():
                _put(module)


def mutated(module: ModuleType, old: str, new: str) -> ModuleType:
    """The module, with its source edited in one place."""
    source = inspect.getsource(module)
    assert source.count(old) == 1, f"{module.__name__}: {source.count(old)} places read {old!r}"
    return _executed(module, source.replace(old, new))


def _executed(module: ModuleType, source: str) -> ModuleType:
    """A module like this one, made of another source."""
    made = ModuleType(module.__name__)
    made.__package__ = module.__package__
    made.__file__ = module.__file__
    exec(compile(source, f"<mutant of {module.__name__}>", "exec"), vars(made))
    return made


def _put(module: ModuleType) -> None:
    """Let what is imported from now on find this module under its name."""
    parent, _, name = module.__name__.rpartition(".")
    sys.modules[module.__name__] = module
    setattr(sys.modules[parent], name, module)


def _importing(edited: ModuleType, package: str, component: str) -> list[ModuleType]:
    """The modules by which a component imports the edited one, and at last the component."""
    name = edited.__name__
    if name == f"{package}.{component}":
        return []
    inside = name.startswith(f"{package}.")
    files = importers(package, name.removeprefix(f"{package}."), component) if inside else []
    return [importlib.import_module(f"{package}.{one}") for one in files or [component]]


@contextmanager
def _registry_of_keras() -> Iterator[None]:
    """Keras registers a class where it is defined: a mutant must not stay in its place."""
    if "keras" not in sys.modules:
        yield
        return
    registered = sys.modules["keras"].saving.get_custom_objects()
    before = dict(registered)
    try:
        yield
    finally:
        registered.clear()
        registered.update(before)
