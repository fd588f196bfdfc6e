"""No file of a package imports itself through others: the files can be read in an order."""

from graphlib import CycleError, TopologicalSorter

import pytest

from shared_tests.support.sources import PACKAGES, file_of, imported


@pytest.mark.parametrize("package", [*PACKAGES, "fourfold"])
def test_no_circular_imports(package):
    try:
        TopologicalSorter(imported(package)).prepare()
    except CycleError as error:
        pytest.fail(f"{package}: {' imports '.join(reversed(error.args[1]))}")


def test_a_circle_is_found():
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()
    assert file_of("p.a.b", "p", {"a": None, "a.b": None}) == "a.b"
    assert file_of("p.a.b", "p", {"a": None}) == "a"
