"""Twins: the argument checks of the four packages are the same, but for their arrays."""

import ast

import pytest

from shared_tests.support.sources import FRAMEWORK_PACKAGES, PACKAGES, trees

# What looks at plain values: their text is the same in every package.
PLAIN = (
    "check_choice",
    "check_number",
    "check_flag",
    "check_count",
    "check_counts",
    "_shown",
)
WINDOWS = ("check_sizes", "check_padding", "_list")  # of the two that have layers of their own


def functions(package: str) -> dict[str, str]:
    """{name: source} of a package's `checks.py`, in order."""
    nodes = trees(package)["support.checks"].body
    return {node.name: ast.unparse(node) for node in nodes if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("package", FRAMEWORK_PACKAGES[1:])
@pytest.mark.parametrize("name", [*PLAIN, "check_seed"])
def test_checks_of_plain_values_are_the_same(package, name):
    assert functions(package)[name] == functions(FRAMEWORK_PACKAGES[0])[name]


@pytest.mark.parametrize("name", PLAIN)
def test_checks_of_plain_values_are_the_same_without_a_framework(name):
    assert functions("numpy_infer")[name] == functions(FRAMEWORK_PACKAGES[0])[name]


@pytest.mark.parametrize("name", WINDOWS)
def test_checks_of_windows_are_the_same(name):
    assert functions("theano_impl")[name] == functions("numpy_infer")[name]


@pytest.mark.parametrize("package", PACKAGES[1:])
def test_checks_stand_in_the_same_order(package):
    ours, theirs = functions(PACKAGES[0]), functions(package)
    assert [name for name in theirs if name in ours] == [name for name in ours if name in theirs]


@pytest.mark.parametrize("package", FRAMEWORK_PACKAGES[1:])
def test_frameworks_have_the_same_checks(package):
    def names(one: str) -> set[str]:
        return {name for name in functions(one) if name.startswith("check_")}

    # Whose values are known only when a graph runs, and who has windows of its own.
    assert names(package) - {"check_values", "check_sizes", "check_padding"} == names(
        FRAMEWORK_PACKAGES[0]
    )
