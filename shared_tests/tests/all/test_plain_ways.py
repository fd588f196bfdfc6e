"""The plain formula of every component that has a faster way, over all of its cases, by itself."""

import importlib
from functools import cache

from fourfold.backends import Backend
from fourfold.backends import backend as load_backend
from fourfold.definition import Cell
from fourfold.measure import measured
from fourfold.project import cells
from shared_tests.repository import PACKAGES
from shared_tests.support.sources import ROOT
from shared_tests.tests.all.test_agreement import test_values_and_gradients as check_agreement


def test_values_and_gradients(backend_name, plain_cell, monkeypatch):
    switch_off(PACKAGES[backend_name], plain_cell.component, monkeypatch)
    check_agreement(plain_backend(backend_name), backend_name, plain_cell)


def new_backend(name: str) -> Backend:
    """An adapter of its own: one that has compiled a faster way for a case would run that again."""
    return type(load_backend(name))()


plain_backend = cache(new_backend)  # one for all the plain ways, which compiles each graph once


def test_the_question_is_asked_again(backend_name, monkeypatch):
    """An adapter of its own asks whether the faster way applies, even after that has run."""
    folder = ROOT / PACKAGES[backend_name] / "fast"
    components = sorted(path.stem for path in folder.glob("[!_]*.py"))
    assert components
    for component in components:
        backend = new_backend(backend_name)
        assert any(
            asks(backend_name, backend, cell, monkeypatch)
            for cell in each_operation_first(cells(backend_name, component))
        ), component


def each_operation_first(chosen: list[Cell]) -> list[Cell]:
    """The first cell of each operation, then the others: an operation asks in all or in few."""
    first = {cell.operation.name: cell for cell in reversed(chosen)}.values()
    return [*first, *(cell for cell in chosen if cell not in first)]


def asks(name: str, backend: Backend, cell: Cell, monkeypatch) -> bool:
    """Whether this adapter asks for a case if a faster way applies, once another has run it."""
    measured(load_backend(name), cell)
    with monkeypatch.context() as patch:
        asked = switch_off(PACKAGES[name], cell.component, patch)
        measured(backend, cell)
    return bool(asked)


def switch_off(package: str, component: str, monkeypatch) -> list[str]:
    """Let no question whether a faster way applies be answered with yes; which were asked."""
    fast = importlib.import_module(f"{package}.fast.{component}")
    questions = [name for name in vars(fast) if name.startswith("applies")]
    assert questions, f"{fast.__name__}: expected a function whose name begins with applies"
    asked: list[str] = []
    for name in questions:
        monkeypatch.setattr(fast, name, lambda *_, name=name, **__: asked.append(name))
    return asked
