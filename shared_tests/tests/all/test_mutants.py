"""Each mutant, a porter's mistake in a package's source, is caught by the case it names."""

import importlib
import inspect
import sys
from types import ModuleType

import pytest

from fourfold.project import edited_module
from shared_tests.repository import PACKAGES
from shared_tests.support.sources import importers
from shared_tests.tests.all.test_agreement import test_values_and_gradients as check_agreement


def mutated(module: ModuleType, old: str, new: str) -> ModuleType:
    """The module, with its source edited in one place."""
    source = inspect.getsource(module)
    assert source.count(old) == 1, f"{module.__name__}: {source.count(old)} places read {old!r}"
    return executed(module, source.replace(old, new))


def executed(module: ModuleType, source: str) -> ModuleType:
    """A module like this one, made of another source."""
    made = ModuleType(module.__name__)
    made.__package__ = module.__package__
    made.__file__ = module.__file__
    exec(compile(source, f"<mutant of {module.__name__}>", "exec"), vars(made))
    return made


def put_in_place(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Let what is imported from now on find this module under its name."""
    parent, _, name = module.__name__.rpartition(".")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(sys.modules[parent], name, module)


def importing(edited: ModuleType, package: str, component: str) -> list[ModuleType]:
    """The modules by which a component imports the edited one, and at last the component."""
    name = edited.__name__
    if name == f"{package}.{component}":
        return []
    inside = name.startswith(f"{package}.")
    files = importers(package, name.removeprefix(f"{package}."), component) if inside else []
    return [importlib.import_module(f"{package}.{one}") for one in files or [component]]


@pytest.fixture(autouse=True)
def _keras_registry():
    """Keras registers a class where it is defined: a mutant must not stay in its place."""
    if "keras" not in sys.modules:
        yield
        return
    registered = sys.modules["keras"].saving.get_custom_objects()
    before = dict(registered)
    yield
    registered.clear()
    registered.update(before)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a mutant may well divide by zero
def test_mutant_is_caught(backend, backend_name, definition, mutant, monkeypatch):
    package = PACKAGES[backend_name]
    cell = definition.cell(mutant.operation, mutant.case)
    edited = importlib.import_module(edited_module(mutant, package, definition.component))
    changed = mutated(edited, *mutant.edits[package])
    put_in_place(monkeypatch, changed)
    for module in importing(edited, package, definition.component):  # they import the mutant
        put_in_place(monkeypatch, executed(module, inspect.getsource(module)))
    with pytest.raises(AssertionError, match=r": error \S+ > "):
        check_agreement(backend, backend_name, cell)
