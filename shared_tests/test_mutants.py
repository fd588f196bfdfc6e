"""Each mutant, a porter's mistake in a package's source, is caught by the case it names."""

import importlib
import inspect
import sys
from types import ModuleType

import pytest

from shared_tests.definition import PACKAGES
from shared_tests.test_agreement import test_values_and_gradients as check_agreement


def mutated(module: ModuleType, old: str, new: str) -> ModuleType:
    """The module, with its source edited in one place."""
    source = inspect.getsource(module)
    assert source.count(old) == 1, f"{module.__name__}: {source.count(old)} places read {old!r}"
    mutant = ModuleType(module.__name__)
    mutant.__package__ = module.__package__
    mutant.__file__ = module.__file__
    exec(compile(source.replace(old, new), f"<mutant of {module.__name__}>", "exec"), vars(mutant))
    return mutant


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
    name = f"{PACKAGES[backend_name]}.{definition.component}"
    cell = definition.cell(mutant.operation, mutant.case)
    module = importlib.import_module(name)
    check_agreement(backend, backend_name, cell)
    changed = mutated(module, *mutant.edits[PACKAGES[backend_name]])
    monkeypatch.setitem(sys.modules, name, changed)
    with pytest.raises(AssertionError, match=r": error \S+ > "):
        check_agreement(backend, backend_name, cell)
