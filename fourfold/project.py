"""What fourfold has to know of the code that it proves: a project says it once, by names.

    register(Project(name="shared_tests", root=..., packages={"torch": "my_package"}, ...))

Everything is a name of a module, which is imported when it is asked for: no framework, and none of
the packages, is imported to register them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from fourfold.definition import DTYPES, Cell, Definition, Mutant


@dataclass(frozen=True)
class Project:
    """Where a project keeps what fourfold compares, and what only the project knows how to run.

    Args:
        name: the module that registers the project when it is imported. Each worker of the report
            imports it in its own environment.
        root: the folder that holds the packages.
        packages: {backend: package}. The module PACKAGE.COMPONENT holds a component, and
            PACKAGE.interchange, or PACKAGE.model_file for NumPy, reads and writes its models.
        definitions: the package whose modules each assign `DEFINITION`.
        layered: the component whose models the case describes layer by layer, by its options.
        tools: {backend: module whose `TOOLS` maps the name of an operation to the function that
            runs it on a case}, for operations that are neither functions of arrays nor models.
        trainings: the module whose `TRAININGS` lists what is trained in every framework, with
            each of its `OPTIMIZERS`.
        trainers: {backend: module whose `train` carries out a training}.
        defaults: the package with the trainings on each framework's own defaults: `variants` of a
            backend, `run` of one of them in BACKEND_runs, `costs`, `panels` and `legend` of all in
            plots.
        browser: the module that runs model files in a browser: `lacking`, what this machine has not
            for it; `carries`, whether browsers run the model of a component's operation; `BACKEND`,
            an adapter that loads models, in the environment that the report is given for it.
        mutation: the module with `own_tests` and `components_of` a file of a package, and
            `EQUIVALENT`, the file of edits that no test can see.
    """

    name: str
    root: Path
    packages: Mapping[str, str]
    definitions: str
    layered: str | None = None
    tools: Mapping[str, str] = field(default_factory=dict)
    trainings: str | None = None
    trainers: Mapping[str, str] = field(default_factory=dict)
    defaults: str | None = None
    browser: str | None = None
    mutation: str | None = None


_registered: list[Project] = []


def register(project: Project) -> None:
    """Let everything below be about this project."""
    _registered[:] = [project]
    definitions.cache_clear()


def registered() -> Project:
    """The project that was registered last. RuntimeError when there is none."""
    if not _registered:
        raise RuntimeError("no project is registered: expected a call of fourfold.project.register")
    return _registered[0]


def package(backend: str) -> str:
    """The package of a backend."""
    return registered().packages[backend]


def package_module(backend: str, name: str) -> ModuleType:
    """A module of a backend's package, imported now: a component, or another one by its name."""
    return importlib.import_module(f"{package(backend)}.{name}")


def tools(backend: str) -> Mapping[str, Any]:
    """{operation: function of the operation's target and a case that returns named outputs}."""
    name = registered().tools.get(backend)
    return importlib.import_module(name).TOOLS if name else {}


def defaults_module(name: str = "") -> ModuleType | None:
    """The package of the trainings on the frameworks' own defaults, or a module in it; or None."""
    home = registered().defaults
    return importlib.import_module(f"{home}.{name}" if name else home) if home else None


def tests_module() -> ModuleType:
    """The module with `own_tests` and `components_of` a file, and `EQUIVALENT`."""
    name = registered().mutation
    if name is None:
        raise RuntimeError(
            f"{registered().name}: expected a module registered as mutation, got None"
        )
    return importlib.import_module(name)


def variants(backend: str) -> Sequence[str]:
    """What a backend can train with its own defaults; nothing where the project has none."""
    home = defaults_module()
    return home.variants(backend) if home else ()


@cache
def definitions() -> tuple[Definition, ...]:
    """All definitions, in the order of their names."""
    home = importlib.import_module(registered().definitions)
    names = sorted(module.name for module in pkgutil.iter_modules(home.__path__))
    return tuple(importlib.import_module(f"{home.__name__}.{name}").DEFINITION for name in names)


def cells(backend: str | None = None, component: str | None = None) -> list[Cell]:
    """Every cell, or every one that a backend has to fill."""
    return [
        Cell(definition.component, operation, case, dtype)
        for definition in definitions()
        if component in (None, definition.component)
        for operation in definition.operations
        if backend is None or backend in operation.backends()
        for case in operation.cases
        for dtype in DTYPES
    ]


def travels(cell: Cell) -> bool:
    """Whether a cell's model is saved by each framework and loaded by all: one case of each."""
    (definition,) = [one for one in definitions() if one.component == cell.component]
    weighted = [
        case
        for operation in definition.operations
        if operation.name == cell.operation.name
        for case in operation.cases
        if case.weights is not None
    ]
    return bool(weighted) and cell.case is weighted[0]


def browsed(cell: Cell) -> bool:
    """Whether a browser loads a cell's model: it computes in float32."""
    home = registered().browser
    if home is None or cell.dtype != "float32" or not travels(cell):
        return False
    carries = importlib.import_module(home).carries(cell.component, cell.operation.name)
    return bool(carries)


def browser_lacks() -> str:
    """What there is not that models need to run in a browser, in one line; empty where all is."""
    home = registered().browser
    if home is None:
        return f"{registered().name}: expected a module registered as browser, got None"
    lacking: str = importlib.import_module(home).lacking()
    return lacking


def model_name(component: str, operation: str) -> str:
    """What model files call the model of an operation."""
    return component if component == registered().layered else f"{component}.{operation}"


def edited_module(mutant: Mutant, package: str, component: str) -> str:
    """The full name of the module that a mutant edits in a package."""
    file = mutant.file or component
    is_full_name = file.partition(".")[0] in registered().packages.values()
    return file if is_full_name else f"{package}.{file}"
