"""Twins: the argument checks of the four packages are the same, but for their arrays."""

import ast

import pytest

from shared_tests.support.sources import FRAMEWORK_PACKAGES, PACKAGES, public, trees

FOR_ALL = {"check_choice", "check_count", "check_counts", "check_flag", "check_number"}


def functions(package: str) -> list[str]:
    """The functions that a package's `checks.py` defines, in order."""
    nodes = trees(package)["support.checks"].body
    return [node.name for node in nodes if isinstance(node, ast.FunctionDef)]


def taken(package: str) -> list[str]:
    """The names that a package's `checks.py` takes from `plain_checks`, each under its own name."""
    lines = map(ast.unparse, trees(package)["support.checks"].body)
    pairs = [line.split(" = plain_checks.") for line in lines if " = plain_checks." in line]
    assert all(ours == theirs for ours, theirs in pairs)
    return [theirs for _, theirs in pairs]


@pytest.mark.parametrize("package", PACKAGES)
def test_checks_of_plain_values_exist_once(package):
    """Every package offers them with its own checks, and defines none of them."""
    once = set(public(trees("numpy_infer")["support.plain_checks"]))
    offered = set(taken(package))
    assert not once.intersection(functions(package))
    assert offered <= once
    assert offered >= FOR_ALL


@pytest.mark.parametrize("package", PACKAGES[1:])
def test_checks_stand_in_the_same_order(package):
    ours, theirs = functions(PACKAGES[0]), functions(package)
    assert [name for name in theirs if name in ours] == [name for name in ours if name in theirs]


@pytest.mark.parametrize("package", FRAMEWORK_PACKAGES[1:])
def test_frameworks_have_the_same_checks(package):
    def names(one: str) -> set[str]:
        return {name for name in functions(one) if name.startswith("check_")}

    # Whose values are known only when a graph runs.
    assert names(package) - {"check_values"} == names(FRAMEWORK_PACKAGES[0])
