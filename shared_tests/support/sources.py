"""The packages as syntax trees, so that no framework has to be installed to test them."""

from __future__ import annotations

import ast
from copy import copy
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
FRAMEWORK_PACKAGES = ("pytorch_impl", "tf2_impl", "theano_impl")
PACKAGES = (*FRAMEWORK_PACKAGES, "numpy_infer")
# What stands at the top of a package beside its components.
NO_COMPONENTS = ("__init__", "__main__", "distributed", "interchange")


@cache
def trees(package: str) -> dict[str, ast.Module]:
    """{module name below the package: syntax tree} of every file of a package.

    The file of the package itself is `__init__`; that of a room has the room's name.
    """
    root = ROOT / package
    return {
        module_name(path.relative_to(root)): ast.parse(path.read_text())
        for path in sorted(root.rglob("*.py"))
    }


def module_name(path: Path) -> str:
    """The dotted name of a file below its package: fast/x.py is fast.x, fast/__init__.py fast."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def components(package: str) -> dict[str, ast.Module]:
    """The files at the top of a package: each holds a component."""
    rooms = {name.partition(".")[0] for name in trees(package) if "." in name}
    return {
        name: tree
        for name, tree in trees(package).items()
        if "." not in name and name not in (*NO_COMPONENTS, *rooms)
    }


def imports(tree: ast.Module) -> set[str]:
    """The full names of all modules that a file imports, at any place."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported(package: str) -> dict[str, set[str]]:
    """{file: the files of the same package that it imports}, by names below the package."""
    files = trees(package)
    return {
        name: {found for one in imports(tree) if (found := file_of(one, package, files))} - {name}
        for name, tree in files.items()
    }


def file_of(name: str, package: str, files: dict) -> str | None:
    """The file that an import reads: package.a.b is the file a.b, or the name b in the file a."""
    parts = name.split(".")
    if parts[0] != package:
        return None
    below = (".".join(parts[1:end]) for end in range(len(parts), 1, -1))
    return next((one for one in below if one in files), None)


def importers(package: str, helper: str, file: str) -> list[str]:
    """The files by which a file imports a helper, itself the last: each after what it imports."""
    arrows = imported(package)

    @cache
    def reaches(name: str) -> bool:
        return name == helper or any(map(reaches, arrows[name]))

    order = TopologicalSorter({name: arrows[name] for name in arrows}).static_order()
    below = [file]
    for name in below:
        below += [one for one in arrows[name] if one not in below]
    return [one for one in order if one in below and one != helper and reaches(one)]


def public(tree: ast.Module) -> dict[str, ast.FunctionDef | ast.ClassDef]:
    """The public functions and classes that a file defines, in order.

    Before them those that it imports from another file of these packages and names in `__all__`:
    what belongs to no framework, and parts of a component that have a file of their own.
    """
    kinds = (ast.FunctionDef, ast.ClassDef)
    taken: dict[str, ast.FunctionDef | ast.ClassDef] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and f"{node.module}".partition(".")[0] in PACKAGES:
            names = {alias.asname or alias.name for alias in node.names}.intersection(
                exported(tree)
            )
            if not names:
                continue
            file = f"{node.module}".replace(".", "/")
            home = public(ast.parse((ROOT / f"{file}.py").read_text()))
            taken |= {name: one for name, one in home.items() if name in names}
    defined = {node.name: node for node in tree.body if isinstance(node, kinds)}
    own = {name: node for name, node in defined.items() if name[0] != "_"}
    return {**taken, **{name: with_constructor(node, defined) for name, node in own.items()}}


def with_constructor(
    node: ast.FunctionDef | ast.ClassDef, defined: dict[str, ast.FunctionDef | ast.ClassDef]
) -> ast.FunctionDef | ast.ClassDef:
    """A class that has no constructor of its own, with that of its base class in the same file."""
    bases = [defined.get(ast.unparse(base)) for base in getattr(node, "bases", ())]
    inherited = [one for base in bases if base for one in constructors(base)]
    if not inherited or constructors(node):
        return node
    found = copy(node)
    found.body = [*node.body, *inherited]
    return found


def constructors(node: ast.FunctionDef | ast.ClassDef) -> list[ast.stmt]:
    return [one for one in node.body if getattr(one, "name", "") == "__init__"]


def exported(tree: ast.Module) -> list[str]:
    """What a file lists in `__all__`, less the lists that it unpacks there."""
    values = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    names = [one for value in values for one in ast.walk(value) if isinstance(one, ast.Constant)]
    return [str(one.value) for one in names]


def arguments(node: ast.FunctionDef | ast.ClassDef) -> list[tuple[str, str, str | None]]:
    """(kind, name, default) of each argument of a function, or of a class's constructor."""
    if isinstance(node, ast.ClassDef):
        inits = constructors(node)
        return arguments(inits[0]) if inits else []  # type: ignore[arg-type]
    spec = node.args
    plain = [one.arg for one in spec.args if one.arg != "self"]
    padding: list[ast.expr | None] = [None] * (len(plain) - len(spec.defaults))
    defaults = [*padding, *spec.defaults]
    rows = [("positional", name, text(one)) for name, one in zip(plain, defaults, strict=True)]
    keywords = zip(spec.kwonlyargs, spec.kw_defaults, strict=True)
    return rows + [("keyword", one.arg, text(default)) for one, default in keywords]


def text(node: ast.expr | None) -> str | None:
    return None if node is None else ast.unparse(node)
