"""Runs each test over the backends of this environment, or over the one named by --backend."""

from __future__ import annotations

import pytest

from shared_tests.backends import backend as load_backend
from shared_tests.backends import installed
from shared_tests.definition import PACKAGES, cells, definitions

NATIVE_TESTS = {name: f"test_{name}.py" for name in PACKAGES}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend", choices=list(PACKAGES), help="run the tests of this backend alone"
    )
    parser.addoption("--component", help="run the tests of this component alone")
    parser.addoption("--first-cases", action="store_true", help="run each operation's first case")


def selected(config: pytest.Config) -> list[str]:
    name = config.getoption("--backend")
    return [name] if name else installed()


def pytest_ignore_collect(collection_path, config: pytest.Config) -> bool | None:
    """A framework's own tests need that framework; those of the project are not a backend's."""
    absent = {file for name, file in NATIVE_TESTS.items() if name not in selected(config)}
    if config.getoption("--backend"):
        absent.add("project")
    return True if collection_path.name in absent else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    component = metafunc.config.getoption("--component")
    names = set(metafunc.fixturenames)
    backends = selected(metafunc.config)
    if {"backend_name", "cell"} <= names:
        first = metafunc.config.getoption("--first-cases")
        pairs = [
            (name, cell)
            for name in backends
            for cell in cells(name, component)
            if not first or cell.case is cell.operation.cases[0]
        ]
        ids = [f"{name}-{cell}" for name, cell in pairs]
        metafunc.parametrize(("backend_name", "cell"), pairs, ids=ids)
    elif {"backend_name", "mutant"} <= names:
        triples = [
            (name, definition, mutant)
            for name in backends
            for definition in definitions()
            if component in (None, definition.component)
            for mutant in definition.mutants
            if PACKAGES[name] in mutant.edits
        ]
        ids = [f"{name}-{d.component}-{mutant.name}" for name, d, mutant in triples]
        metafunc.parametrize(("backend_name", "definition", "mutant"), triples, ids=ids)
    elif {"backend_name", "bad_input"} <= names:
        rows = [
            (name, definition, operation, bad)
            for name in backends
            for definition in definitions()
            if component in (None, definition.component)
            for operation in definition.operations
            if name in operation.backends()
            for bad in operation.bad_inputs
        ]
        ids = [f"{name}-{d.component}-{o.name}-{describe(bad)}" for name, d, o, bad in rows]
        metafunc.parametrize(
            ("backend_name", "definition", "operation", "bad_input"), rows, ids=ids
        )
    elif "backend_name" in names:
        metafunc.parametrize("backend_name", backends)
    elif "definition" in names:
        chosen = [d for d in definitions() if component in (None, d.component)]
        metafunc.parametrize("definition", chosen, ids=[d.component for d in chosen])


def describe(bad) -> str:
    """A test id such as `margin=-1`."""
    value = next(iter(bad.changes.values()))
    shape = getattr(value, "shape", None)
    return f"{bad.argument}={value!r}" if shape is None else f"{bad.argument}={value.dtype}{shape}"


@pytest.fixture
def backend(backend_name: str):
    return load_backend(backend_name)
