"""A component's files in each package, and its functions beside each other."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache

from docs.generator.programs import TITLES
from shared_tests.repository import PACKAGES
from shared_tests.support.sources import ROOT, components, imported


@dataclass(frozen=True)
class Implementation:
    """One package's file of a component. parts: {path: source} of the files that it alone uses."""

    backend: str
    path: str
    source: str
    parts: dict[str, str]

    @property
    def title(self) -> str:
        return TITLES[self.backend]


def implementations(component: str) -> list[Implementation]:
    """Those that exist, in the order of the packages."""
    found = []
    for backend, package in PACKAGES.items():
        if component in components(package):
            parts = {_path(package, one): _read(package, one) for one in _parts(package, component)}
            source = _read(package, component)
            found.append(Implementation(backend, _path(package, component), source, parts))
    return found


def _parts(package: str, component: str) -> list[str]:
    """What makes a component fast, and what it is built of, that no other component imports."""
    arrows = _arrows(package)
    others = {one for name in components(package) if name != component for one in arrows[name]}
    rooms = ("fast.", "support.")
    return sorted(one for one in arrows[component] - others if one.startswith(rooms))


@cache
def _arrows(package: str) -> dict[str, set[str]]:
    return imported(package)


def _path(package: str, file: str) -> str:
    return f"{package}/{file.replace('.', '/')}.py"


def _read(package: str, file: str) -> str:
    return (ROOT / _path(package, file)).read_text(encoding="utf-8")


def functions(implementation: Implementation) -> dict[str, str]:
    """{name: source} of the functions and classes at the top of the component's file."""
    lines = implementation.source.splitlines()
    found = {}
    for node in ast.parse(implementation.source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            found[node.name] = "\n".join(lines[first - 1 : node.end_lineno])
    return found


def beside(found: list[Implementation]) -> dict[str, dict[str, str]]:
    """{function: {backend: source}}, in the order in which the first package has them."""
    sources = {one.backend: functions(one) for one in found}
    names = list(dict.fromkeys(name for own in sources.values() for name in own))
    return {
        name: {backend: own[name] for backend, own in sources.items() if name in own}
        for name in names
    }
