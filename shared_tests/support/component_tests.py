"""Which tests are a component's: those that are given it, and those that read its names."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from fourfold.definition import Cell, Definition
from shared_tests.repository import PACKAGES
from shared_tests.support.sources import ROOT

COMPONENTS = sorted(
    path.stem for path in (ROOT / "shared_tests" / "components").glob("*.py") if path.stem[0] != "_"
)
# A test with one of these arguments is run for cases or definitions of the component alone.
ASKED_BY_ARGUMENT = (
    "cell",
    "plain_cell",
    "batch_cell",
    "model_cell",
    "first_model_cell",
    "definition",
)


def unknown(component: str) -> str:
    """What is said of a name that no component has."""
    return f"--component: expected one of {', '.join(COMPONENTS)}, got {component}"


def may_have_tests(path: Path, component: str, backends: Iterable[str]) -> bool:
    """Whether a file of tests mentions the component at all, or has tests of any component."""
    text = set(re.findall(r"\w+", path.read_text()))
    names = {component}.union(*(names_of(backend, component) for backend in backends))
    return not text.isdisjoint(names | set(ASKED_BY_ARGUMENT)) or "golden" in text


def concerns(item: Any, component: str, backends: Collection[str]) -> bool:
    """Whether a collected test is about the component.

    Either 1. it is given one of its cases or its definition, or 2. the component's name is a part
    of the test's name, or 3. the test reads a name of the component's file.
    """
    given = item.callspec.params.values() if hasattr(item, "callspec") else ()
    about = [one.component for one in given if isinstance(one, Cell | Definition)]
    if about:
        return component in about
    if mentions(item.name, component):
        return True
    if any("_" in other and mentions(item.name, other) for other in COMPONENTS):
        return False  # it is another component's; "chain" or "distances" may be ordinary words
    return item.path.parent.name != "project" and any(
        item.originalname in tests_that_read(item.path, backend, component) for backend in backends
    )


def mentions(name: str, component: str) -> bool:
    """Whether the name of a test has the component's name between its brackets."""
    return bool(re.search(rf"\[(.*[^a-z_])?{component}([^a-z_].*)?\]$", name))


@cache
def tests_that_read(path: Path, backend: str, component: str) -> list[str]:
    """The tests of a file that read a name of the component, directly or through what they use.

    component: its name, or that of any module below the package, such as support.checks.
    """
    names = names_of(backend, component)
    body = ast.parse(path.read_text()).body
    reads = {name: words(node) for node in body for name in defined_names(node)}
    touched = {name for name in reads if name in names}
    imported = {
        alias.asname or alias.name
        for node in body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if f"{node.module}.{alias.name}.".startswith(f"{PACKAGES[backend]}.{component}.")
    }
    touched |= imported | names
    while more := {name for name, read in reads.items() if read & touched} - touched:
        touched |= more
    return [name for name in reads if name.startswith("test_") and name in touched]


@cache
def names_of(backend: str, component: str) -> set[str]:
    """The module's own name, and the names that its file in the backend's package defines."""
    path = ROOT / PACKAGES[backend] / f"{component.replace('.', '/')}.py"
    return {component.rpartition(".")[2]} | {
        name
        for node in (ast.parse(path.read_text()).body if path.exists() else ())
        for name in defined_names(node)
        if not isinstance(node, ast.Import | ast.ImportFrom)
        if len(name) > 3 and not name.isupper()  # ROWS or DTYPES are names of many files
    }


def defined_names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)]


def words(node: ast.AST) -> set[str]:
    """Names, attributes, arguments (a fixture is one) and short texts that a definition reads."""
    found = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            found.add(one.id)
        elif isinstance(one, ast.Attribute):
            found.add(one.attr)
        elif isinstance(one, ast.arg):
            found.add(one.arg)
        elif isinstance(one, ast.Constant) and isinstance(one.value, str):
            found |= set(one.value.split("."))
    return found
