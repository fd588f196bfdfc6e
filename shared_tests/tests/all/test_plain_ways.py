"""The plain formula of every component that has a faster way, over all of its cases, by itself."""

import importlib

from shared_tests.repository import PACKAGES
from shared_tests.tests.all.test_agreement import test_values_and_gradients as check_agreement


def test_values_and_gradients(backend, backend_name, plain_cell, monkeypatch):
    switch_off(PACKAGES[backend_name], plain_cell.component, monkeypatch)
    check_agreement(backend, backend_name, plain_cell)


def switch_off(package: str, component: str, monkeypatch) -> None:
    """Let no question whether a faster way applies be answered with yes."""
    fast = importlib.import_module(f"{package}.fast.{component}")
    questions = [name for name in vars(fast) if name.startswith("applies")]
    assert questions, f"{fast.__name__}: expected a function whose name begins with applies"
    for name in questions:
        monkeypatch.setattr(fast, name, lambda *_, **__: False)
