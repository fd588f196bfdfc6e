"""Which package may import which: the sameness is proven, not enforced by a wrapper."""

import ast
import sys
from pathlib import Path

import pytest

from shared_tests.support.sources import FRAMEWORK_PACKAGES, PACKAGES, ROOT, imports, trees

# What belongs to no framework: file format, audio, text, samplers, verdicts, plots.
SHARED = {
    "numpy_infer.audio",
    "numpy_infer.evaluation",
    "numpy_infer.format",
    "numpy_infer.gradient_flow",
    "numpy_infer.markers",
    "numpy_infer.model_file",
    "numpy_infer.sampling",
    "numpy_infer.sanity_checks",
    "numpy_infer.support.embedding_spread",
    "numpy_infer.support.gradient_reach",
    "numpy_infer.support.index_draws",
    "numpy_infer.support.layer_names",
    "numpy_infer.support.plain_checks",
    "numpy_infer.support.sanity_verdicts",
    "numpy_infer.text",
    "numpy_infer.weights",
}


def own(name: str) -> bool:
    return name.split(".")[0] in (*PACKAGES, "fourfold", "shared_tests", "benchmarks", "examples")


@pytest.mark.parametrize("package", FRAMEWORK_PACKAGES)
def test_framework_packages_import_only_themselves_and_what_belongs_to_none(package):
    for module, tree in trees(package).items():
        for name in filter(own, imports(tree)):
            shared = any(f"{name}.".startswith(f"{one}.") for one in SHARED)
            allowed = name.startswith(f"{package}.") or shared
            assert allowed, f"{package}/{module}.py imports {name}"


def test_numpy_infer_imports_numpy_and_the_standard_library_alone():
    for module, tree in trees("numpy_infer").items():
        for name in imports(tree):
            top = name.split(".")[0]
            allowed = top in ("numpy", "numpy_infer") or top in sys.stdlib_module_names
            plots = top == "matplotlib" and name not in imports_when_imported(tree)
            assert allowed or plots, f"numpy_infer/{module}.py imports {name}"


def imports_when_imported(tree: ast.Module) -> set[str]:
    """What importing a file imports: not what a function does when it is called, nor for types."""
    return imports(ast.Module([one for one in tree.body if runs_on_import(one)], type_ignores=[]))


def runs_on_import(node: ast.stmt) -> bool:
    """Any statement of a module but a function, a class and what only a type checker reads."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return False
    return not isinstance(node, ast.FunctionDef | ast.ClassDef)


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_imports_the_tests_or_the_tool_that_proves_it(package):
    for module, tree in trees(package).items():
        for name in imports(tree):
            assert not name.startswith(("shared_tests", "fourfold")), f"{module} imports {name}"


# How weights are turned from one framework's layout to another's: it exists once, and is no part
# of what is proven.
TURNING = tuple(f"numpy_infer.format.weight_{part}" for part in ("map", "names", "proposal"))
IMPORTS = tuple(f"from {name} import" for name in TURNING)


def test_fourfold_imports_no_package_that_it_proves():
    """It imports them by name, when a backend is asked for: so it works on other people's code."""
    for module, tree in trees("fourfold").items():
        for name in filter(own, imports(tree)):
            allowed = name.startswith(("fourfold.", *TURNING))
            assert allowed, f"fourfold/{module}.py imports {name}"


def test_fourfold_names_no_package_of_this_repository():
    """But in its commands for model files, which call the packages that it is installed with, and
    where it imports how weights are turned."""
    commands = ROOT / "fourfold" / "command_line" / "model_files.py"
    worker = ROOT / "fourfold" / "ports" / "elsewhere.py"  # takes the second one along
    for path in {*(ROOT / "fourfold").rglob("*.py")} - {commands, worker}:
        lines = [line for line in code(path).splitlines() if not line.startswith(IMPORTS)]
        found = [name for name in (*PACKAGES, "shared_tests") if name in "\n".join(lines)]
        assert not found, f"{path.name}: {found}"


def is_text(node: ast.AST) -> bool:
    value = getattr(node, "value", None)
    return isinstance(node, ast.Expr) and isinstance(getattr(value, "value", None), str)


def code(path: Path) -> str:
    """A file's source without its docstrings and comments."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and is_text(body[0]):
            body[0] = ast.Pass()
    return ast.unparse(tree)


@pytest.mark.parametrize("package", FRAMEWORK_PACKAGES)
def test_init_does_not_re_export(package):
    """It sees whether the framework is there, and says which extra brings it."""
    allowed = {"importlib.util.find_spec", "sys", "theano_impl.support.setup"}
    assert imports(trees(package)["__init__"]) <= allowed
