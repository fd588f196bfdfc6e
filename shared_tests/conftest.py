"""Runs each test over the backends of this environment, or over the one named by --backend."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from docs.generator.programs import BLOCK, pages
from fourfold.backends import Backend, installed
from fourfold.backends import backend as load_backend
from fourfold.definition import INFERENCE_ONLY, BadInput, Cell, Definition, Mutant, Operation
from fourfold.measure import keep_expected
from fourfold.project import cells, definitions
from shared_tests.repository import CHAIN, PACKAGES
from shared_tests.support import component_tests
from shared_tests.support.batches import batch_cells
from shared_tests.support.sources import ROOT

TESTS = ROOT / "shared_tests" / "tests"
# The tests that hold on every device. With --device these are run, and those of tests/device/.
ON_A_DEVICE = ("test_agreement.py", "test_plain_ways.py", "test_training.py")

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # Theano locks the directory of its compiled code: each worker has one of its own.
    flags = os.environ.get("THEANO_FLAGS", "")
    os.environ["THEANO_FLAGS"] = re.sub(r"(base_compiledir=[^,]*)", rf"\1/{worker}", flags)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend", choices=list(PACKAGES), help="run the tests of this backend alone"
    )
    parser.addoption("--component", help="run the tests of this component alone")
    parser.addoption(
        "--device", help="run the tests of a device on this one, such as cuda, of one backend"
    )
    parser.addoption(
        "--first-cases", action="store_true", help="run each component's first case, in float64"
    )


def pytest_configure(config: pytest.Config) -> None:
    if folder := os.environ.get("EXPECTED"):  # of a run in several environments
        keep_expected(Path(folder))
    component = config.getoption("--component")
    if component and component not in component_tests.COMPONENTS:
        raise pytest.UsageError(component_tests.unknown(component))
    if device := config.getoption("--device"):
        name = config.getoption("--backend")
        if not name:
            raise pytest.UsageError(f"--device: expected --backend beside it, got {device} alone")
        try:
            load_backend(name).use_device(device)
        except ValueError as error:
            raise pytest.UsageError(f"--{error}") from None


def selected(config: pytest.Config) -> list[str]:
    name = config.getoption("--backend")
    return [name] if name else installed()


def frameworks(config: pytest.Config) -> list[str]:
    """The selected backends that hold trainable weights."""
    return [name for name in selected(config) if name not in INFERENCE_ONLY]


def compilable(
    config: pytest.Config, backend: str, tools: Iterable[str]
) -> list[tuple[Definition, Operation]]:
    """The operations of a backend on tensors: no tools, and nothing that makes tensors of lists."""
    component = config.getoption("--component")
    return [
        (definition, operation)
        for definition in definitions()
        if component in (None, definition.component)
        for operation in definition.operations
        if backend in operation.backends() and operation.name not in ("pad_token_lists", *tools)
    ]


def pytest_ignore_collect(collection_path, config: pytest.Config) -> bool | None:
    """A framework's own tests need that framework; those of the project are not a backend's."""
    if config.getoption("--device"):
        chosen = collection_path.parent.name == "device" or collection_path.name in ON_A_DEVICE
        return None if chosen or not collection_path.name.startswith("test_") else True
    if collection_path.parent == TESTS and collection_path.name == "device":
        return True
    absent = set(PACKAGES) - set(selected(config))
    if not frameworks(config):
        absent.add("frameworks")
    if config.getoption("--backend"):
        absent |= {"project", "ports", "pages", "book", "web"}
    if not all(map(importlib.util.find_spec, ("torch", "keras", "jax"))):
        absent.add("ports")
    if not importlib.util.find_spec("playwright"):
        absent |= {"pages", "book", "web"}
    if collection_path.parent == TESTS and collection_path.name in absent:
        return True
    component = config.getoption("--component")
    is_test_file = collection_path.name.startswith("test_")
    if component and is_test_file:
        concerned = component_tests.may_have_tests(collection_path, component, selected(config))
        return None if concerned else True
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --component, only the tests that are about the component are run.

    With --dist=loadgroup one process runs a component's cases and mutants, which share graphs.
    """
    for item in items if config.pluginmanager.hasplugin("xdist") else ():
        given = item.callspec.params.values() if hasattr(item, "callspec") else ()
        for value in given:
            if isinstance(value, Cell | Definition):
                item.add_marker(pytest.mark.xdist_group(value.component))
    component = config.getoption("--component")
    if not component:
        return
    backends = selected(config)
    kept = [item for item in items if component_tests.concerns(item, component, backends)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for every row of what its arguments ask for."""
    names = set(metafunc.fixturenames)
    config = metafunc.config
    component = config.getoption("--component")
    chosen = [one for one in definitions() if component in (None, one.component)]
    arguments: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    if "cell" in names:
        arguments = ("backend_name", "cell")
        chosen_cells = {name: cells(name, component) for name in selected(config)}
        if config.getoption("--first-cases"):
            chosen_cells = {name: first_of_each(own) for name, own in chosen_cells.items()}
        rows = [(name, cell) for name, own in chosen_cells.items() for cell in own]
    elif "plain_cell" in names:  # of components that have a faster way
        arguments = ("backend_name", "plain_cell")
        rows = [
            (name, cell)
            for name in selected(config)
            for cell in cells(name, component)
            if (ROOT / PACKAGES[name] / "fast" / f"{cell.component}.py").exists()
        ]
    elif "batch_cell" in names:
        arguments = ("backend_name", "batch_cell")
        rows = [(name, cell) for name in selected(config) for cell in batch_cells(name, component)]
    elif "model_cell" in names:
        arguments = ("framework_name", "model_cell")
        rows = [
            (name, cell)
            for name in frameworks(config)
            for cell in distinct_models(cells(name, component))
        ]
    elif "first_model_cell" in names:
        arguments = ("framework_name", "first_model_cell")
        rows = [
            (name, cell)
            for name in frameworks(config)
            for cell in first_models(cells(name, component))
        ]
    elif "mutant" in names:
        arguments = ("backend_name", "definition", "mutant")
        rows = [
            (name, definition, mutant)
            for name in selected(config)
            for definition in chosen
            for mutant in definition.mutants
            if PACKAGES[name] in mutant.edits
        ]
    elif "bad_input" in names:
        arguments = ("backend_name", "definition", "operation", "bad_input")
        rows = [
            (name, definition, operation, bad)
            for name in selected(config)
            for definition in chosen
            for operation in definition.operations
            if name in operation.backends()
            for bad in operation.bad_inputs
            if bad.numpy or name != "numpy"
        ]
    elif {"definition", "operation"} <= names:
        arguments = ("backend_name", "definition", "operation")
        rows = [
            (name, definition, operation)
            for name in selected(config)
            for definition in chosen
            for operation in definition.operations
            if name in operation.backends() and definition.component != CHAIN
            if getattr(metafunc.module, "concerns", lambda _: True)(operation)
        ]
    elif {"backend_name", "page"} <= names:  # of the book, with code of a backend
        arguments = ("backend_name", "page")
        rows = [
            (name, page)
            for page, text in pages().items()
            for name in selected(config)
            if name in {block["backend"] for block in BLOCK.finditer(text)}
        ]
    elif "backend_name" in names:
        arguments, rows = ("backend_name",), [(name,) for name in selected(config)]
    elif "framework_name" in names:
        arguments, rows = ("framework_name",), [(name,) for name in frameworks(config)]
    elif "definition" in names:
        arguments, rows = ("definition",), [(one,) for one in chosen]
    else:
        return
    ids = ["-".join(map(describe, row)) for row in rows]
    metafunc.parametrize(arguments, rows, ids=ids)


def first_of_each(chosen: list[Cell]) -> list[Cell]:
    """The first cell of each component."""
    return list({cell.component: cell for cell in reversed(chosen)}.values())


def distinct_models(chosen: list[Cell]) -> list[Cell]:
    """The first cell of each operation with other options, weights or dtype: inputs aside."""
    models = [cell for cell in reversed(chosen) if cell.case.weights is not None]
    return list({model_of(cell): cell for cell in models}.values())


def model_of(cell: Cell) -> tuple[Any, ...]:
    """What tells a cell's model from others."""
    weights = cell.case.cast(cell.dtype).weights or {}
    arrays = tuple((name, one.shape, one.tobytes()) for name, one in weights.items())
    return cell.component, cell.operation.name, repr(cell.case.options), cell.dtype, arrays


def first_models(chosen: list[Cell]) -> list[Cell]:
    """The first cell of each operation that has weights."""
    models = [cell for cell in reversed(chosen) if cell.case.weights is not None]
    return list({(cell.component, cell.operation.name): cell for cell in models}.values())


def describe(value: Any) -> str:
    """A part of a test's name: `triplet_loss`, `margin=-1`, `anchor=int64(5, 7)`."""
    if isinstance(value, BadInput):
        given = value.changes[value.argument]
        shape = getattr(given, "shape", None)
        text = repr(given) if shape is None else f"{given.dtype}{shape}"
        return f"{value.argument}={text}"
    if isinstance(value, Definition):
        return value.component
    return value.name if isinstance(value, Operation | Mutant) else str(value)


@pytest.fixture
def backend(backend_name: str) -> Backend:
    """The adapter that a test is run with."""
    return load_backend(backend_name)
