"""Every test can fail: it asserts or expects something, itself or through a function it calls.

Looked up in the syntax trees, so that no framework has to be installed.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from shared_tests.support.sources import ROOT

FILES = sorted((ROOT / "shared_tests").rglob("test_*.py"))
EXPECTS = ("raises", "warns", "deprecated_call", "fail")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def functions(path: Path) -> dict[str, tuple[Path, ast.FunctionDef]]:
    """{name: where it is defined} of the functions that a file defines, or imports from ours."""
    found: dict[str, tuple[Path, ast.FunctionDef]] = {}
    for node in tree(path).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("shared_tests"):
            source = ROOT / f"{(node.module or '').replace('.', '/')}.py"
            imported = functions(source) if source.exists() else {}
            for alias in node.names:
                if alias.name in imported:
                    found[alias.asname or alias.name] = imported[alias.name]
        elif isinstance(node, ast.FunctionDef):
            found[node.name] = (path, node)
    return found


def can_fail(path: Path, function: ast.FunctionDef, seen: frozenset[str] = frozenset()) -> bool:
    """Whether a function asserts or expects something, or calls one of ours that does."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if not isinstance(node, ast.Call):
            continue
        *_, name = ast.unparse(node.func).split(".")
        if name in EXPECTS or name.startswith("assert_"):
            return True
        ours = isinstance(node.func, ast.Name) and name in functions(path) and name not in seen
        if ours and can_fail(*functions(path)[name], seen | {name}):
            return True
    return False


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_test_can_fail(path):
    tests = [
        node
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    silent = [one.name for one in tests if not can_fail(path, one)]
    assert not silent, f"{path.name}: nothing is asserted in {', '.join(silent)}"


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("assert x", True),
        ("np.testing.assert_array_equal(x, y)", True),
        ("with pytest.raises(ValueError): x()", True),
        ("x == y", False),
        ("check(x)", False),
        ("for one in x: print(one)", False),
    ],
)
def test_what_can_fail(body, wanted):
    (function,) = ast.parse(f"def test_it(): {body}").body if ":" not in body else _several(body)
    assert can_fail(Path(__file__), function) is wanted


def _several(body):
    return ast.parse(f"def test_it():\n    {body}").body
