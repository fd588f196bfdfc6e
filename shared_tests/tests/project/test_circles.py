"""No file of a package imports itself through others: the files can be read in an order."""

from graphlib import CycleError, TopologicalSorter

import pytest

from shared_tests.support.sources import PACKAGES, imports, trees


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
