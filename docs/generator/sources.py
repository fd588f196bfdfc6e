"""A component's files in each package, and its functions beside each other."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "torch": "pytorch_impl",
    "tf2": "tf2_impl",
    "theano": "theano_impl",
    "numpy": "numpy_infer",
}
TITLES = {"torch": "PyTorch", "tf2": "TensorFlow 2", "theano": "Theano", "numpy": "NumPy"}


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
        path = f"{package}/{component}.py"
        if not (ROOT / path).exists():
            continue
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        near = [one for one in _imported(tree, package) if one.split("/")[1] in ("fast", "support")]
        own = [one for one in near if _belongs(one, component)]
        parts = {one: (ROOT / one).read_text(encoding="utf-8") for one in own}
        found.append(
            Implementation(backend, path, (ROOT / path).read_text(encoding="utf-8"), parts)
        )
    return found


def _imported(tree: ast.Module, package: str) -> list[str]:
    """The files of the same package that a module imports, by their paths."""
    paths = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}."):
            module = str(node.module).replace(".", "/")
            inside = [f"{module}/{alias.name}.py" for alias in node.names]
            paths += [one for one in (f"{module}.py", *inside) if (ROOT / one).exists()]
    return list(dict.fromkeys(paths))


def _belongs(path: str, component: str) -> bool:
    """Whether a file below a package serves this component alone: no other component imports it."""
    package = path.split("/")[0]
    for other in (ROOT / package).glob("*.py"):
        if other.stem in (component, "__init__", "__main__", "interchange", "distributed"):
            continue
        if path in _imported(ast.parse(other.read_text(encoding="utf-8")), package):
            return False
    return True


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
