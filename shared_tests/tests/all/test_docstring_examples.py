"""Every example in a public docstring prints what it says, in its backend's environment."""

import doctest
import importlib
from importlib.util import find_spec

import pytest

from shared_tests.conftest import selected
from shared_tests.repository import PACKAGES
from shared_tests.support.sources import components, public, trees

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
NEEDS = {"plot_gradient_flow": "matplotlib"}  # NumPy's environment has nothing but NumPy
BESIDE = ("distributed", "interchange", "prediction", "text")  # public, and no components


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each public file of the selected packages."""
    if "module_name" in metafunc.fixturenames:
        names = [
            f"{PACKAGES[backend]}.{name}"
            for backend in selected(metafunc.config)
            for name in public_files(PACKAGES[backend])
        ]
        metafunc.parametrize("module_name", names)


def public_files(package: str) -> list[str]:
    beside = [name for name in BESIDE if name in trees(package)]
    return sorted({*components(package), *beside})


def failures(module_name: str) -> list[str]:
    """What the examples of a module's public functions and classes print and should not."""
    module = importlib.import_module(module_name)
    package, _, below = module_name.partition(".")
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    found: list[str] = []
    for name in public(trees(package)[below]):
        if name in NEEDS and find_spec(NEEDS[name]) is None:
            continue
        target = getattr(module, name)
        for test in doctest.DocTestFinder().find(target, name, module, dict(vars(module))):
            runner.run(test, out=found.append)
    return found


def test_examples(module_name):
    found = failures(module_name)
    assert not found, "".join(found)


def test_an_example_can_fail(tmp_path, monkeypatch):
    """An example that prints something else is seen, and the right one is not."""

    def finds(example: str) -> int:
        test = doctest.DocTestParser().get_doctest(example, {}, "example", None, 0)
        return doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=len).failed

    assert not finds(">>> 1 + 1\n2\n")
    assert finds(">>> 1 + 1\n3\n")
