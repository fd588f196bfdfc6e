"""The tests of a component file: its cases, and the tests of its package that read its names."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from fourfold.definition import INFERENCE_ONLY
from fourfold.project import definitions
from shared_tests.repository import PACKAGES
from shared_tests.support.sources import ROOT, trees

TESTS = ROOT / "shared_tests" / "tests"
EQUIVALENT = Path(__file__).parent / "equivalent.toml"
# What trains, compiles or runs other processes is slow: last, after all that may catch an edit.
LAST = ("test_overfit", "test_training", "distributed", "compile", "xla", "cli", "crash")
# These break files, or edit sources themselves.
LEFT_OUT = ("all/test_mutants.py", "numpy/test_file_fuzzer.py", "all/test_readme.py")
# These are asked for the component by its name.
AGREEMENT = ("all/test_agreement.py", "all/test_bad_input.py")
INTERCHANGE, TRAINING = "frameworks/test_interchange.py", "frameworks/test_training.py"
BY_NAME = ("all/test_defaults.py", "all/test_golden.py")


def own_tests(backend: str, component: str) -> list[list[str]]:
    """Arguments of pytest, one list for each run; the first that fails has caught an edit."""
    common = [f"--backend={backend}", f"--component={component}"]
    defined = component in {one.component for one in definitions()}
    runs = []
    if defined:
        trained = () if backend in INFERENCE_ONLY else (INTERCHANGE,)
        runs.append([*(str(TESTS / name) for name in (*AGREEMENT, *trained)), *common])
        # The tests of these are named after the component that they are given.
        named = [str(TESTS / name) for name in (*BY_NAME, f"{backend}/test_components.py")]
        runs.append([*named, f"--backend={backend}", f"-k={component}"])
    quick: list[str] = []
    slow: list[str] = []
    for path in sorted(TESTS.glob("*/test_*.py")):
        if belongs(path, backend):
            found = [f"{path}::{name}" for name in tests_that_read(path, backend, component)]
            (slow if any(one in path.stem for one in LAST) else quick).extend(found)
    runs += [[*found, f"--backend={backend}"] for found in (quick, slow) if found]
    if defined and backend not in INFERENCE_ONLY:
        runs.append([str(TESTS / TRAINING), f"--backend={backend}", f"-k={component}"])
    return runs


def belongs(path: Path, backend: str) -> bool:
    """Whether a file of tests is a backend's own, or shared by the frameworks."""
    asked_by_name = (*AGREEMENT, INTERCHANGE, TRAINING, *BY_NAME)
    if str(path.relative_to(TESTS)) in (*LEFT_OUT, *asked_by_name):
        return False
    frameworks = () if backend in INFERENCE_ONLY else ("frameworks",)
    return path.parent.name in ("all", backend, *frameworks)


def tests_that_read(path: Path, backend: str, component: str) -> list[str]:
    """The tests of a file that read a name of the component, directly or through what they use."""
    names = names_of(backend, component)
    body = ast.parse(path.read_text()).body
    reads = {name: words(node) for node in body for name in defined_names(node)}
    touched = {name for name in reads if name in names}
    imported = {
        alias.asname or alias.name
        for node in body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if (node.module or "").endswith(f".{component}") or alias.name == component
    }
    touched |= imported | names
    while more := {name for name, read in reads.items() if read & touched} - touched:
        touched |= more
    return [name for name in reads if name.startswith("test_") and name in touched]


@cache
def names_of(backend: str, component: str) -> set[str]:
    """The file's own name, and those that it defines."""
    return {component} | {
        name
        for node in trees(PACKAGES[backend])[component].body
        for name in defined_names(node)
        if not isinstance(node, ast.Import | ast.ImportFrom) and len(name) > 3
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
