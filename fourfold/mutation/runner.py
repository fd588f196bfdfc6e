"""Tries edits: each in a fork of a process that has imported the framework, and not the package.

The fork imports the package anew, one file of it with the edit, and runs the file's tests until
one fails. So an edit costs its tests, and not the seconds that a framework takes to import, nor
those of the definition's differences.
TensorFlow may be forked as long as it has run nothing; Theano and PyTorch while they have one
thread.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf
from pathlib import Path
from typing import Any

from fourfold.measure import expected
from fourfold.mutation.edits import Edit
from fourfold.project import cells, package, registered, tests_module

LEAST_SECONDS = 180  # before an edit that may run for ever is given up
FAILURE = "failure.json"
PASSED = (0, 5)  # pytest's exit status; 5: nothing was selected
FRAMEWORKS = {
    "torch": ("torch", "torch._dynamo"),
    "tf2": ("tensorflow", "keras"),
    "theano": ("theano.tensor.nnet", "scipy.sparse"),
    "numpy": ("numpy",),
}


def preload(backend: str) -> None:
    """Import what every fork needs and no edit changes."""
    if backend == "theano":
        importlib.import_module(package(backend))  # it prepares what the first import needs
    for name in (*FRAMEWORKS[backend], "pytest", "_pytest.assertion.rewrite"):
        importlib.import_module(name)
    if backend == "torch":
        sys.modules["torch"].set_num_threads(1)


def prepare(backend: str, edit: Edit) -> None:
    """Compute what the definitions behind an edit expect: every fork compares with it."""
    for component in tests_module().components_of(backend, edit.file, edit.name_of_scope):
        _compute(backend, component)


@cache
def _compute(backend: str, component: str) -> None:
    for cell in cells(backend, component):
        expected(cell)


# sitecustomize.py, which every Python runs as it starts: a test may start some.
SITE = """
import importlib.abc, importlib.util, sys

class Edited(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            return importlib.util.spec_from_file_location(name, {path!r})

sys.meta_path.insert(0, Edited())
"""


@dataclass(frozen=True)
class Outcome:
    """What the tests say of an edit, with the first test that fails and pytest's arguments."""

    what: str  # survived, caught or timeout
    seconds: float
    arguments: tuple[str, ...] = ()
    test: str = ""


def outcome(
    backend: str,
    file: str,
    edit: Edit | None,
    quick: bool,
    limit: Callable[[], float] = lambda: inf,
) -> Outcome:
    """Run the tests of a file with an edit, or without one; quick: without the slow tests.

    After LEAST_SECONDS it waits while `limit` says how many the tests may take altogether.
    """
    with tempfile.TemporaryDirectory() as folder:
        begin, allowed = time.monotonic(), None
        child = _fork(lambda: _tested(backend, file, edit, quick, Path(folder)))
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            seconds = time.monotonic() - begin
            if done:
                survived = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
                kept = Path(folder) / FAILURE
                arguments, test = json.loads(kept.read_text()) if kept.exists() else ((), "")
                return Outcome(
                    "survived" if survived else "caught", seconds, tuple(arguments), test
                )
            if seconds > LEAST_SECONDS and allowed is None:
                os.killpg(child, signal.SIGSTOP)
                allowed = max(LEAST_SECONDS, limit())
                os.killpg(child, signal.SIGCONT)
                begin = time.monotonic() - seconds
            elif allowed is not None and seconds > allowed:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return Outcome("timeout", seconds)
            time.sleep(0.02)


def passes_without_the_edit(found: Outcome) -> bool:
    """Whether the test that failed with an edit passes in the file as it is."""
    with tempfile.TemporaryDirectory() as folder:
        child = _fork(lambda: _pytest(found.arguments, Path(folder), _Only(found.test)))
        _, status = os.waitpid(child, 0)
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) in PASSED


def _fork(run: Callable[[], int]) -> int:
    """The number of a process that imports the packages anew and ends with what `run` returns."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.setpgid(0, 0)
        sink = os.open(os.environ.get("MUTATION_LOG", os.devnull), os.O_WRONLY | os.O_APPEND)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        packages = registered().packages.values()
        for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
            del sys.modules[name]
        os.chdir(registered().root)
        status = run()
    finally:
        os._exit(status)


class _First:
    """Keeps the name of the first test, or file of tests, that fails."""

    def __init__(self) -> None:
        self.test = ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.test = self.test or report.nodeid

    pytest_collectreport = pytest_runtest_logreport


class _Only:
    """Runs one test of those that are collected."""

    def __init__(self, test: str) -> None:
        self.test = test

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if item.nodeid == self.test]


def _tested(backend: str, file: str, edit: Edit | None, quick: bool, folder: Path) -> int:
    """pytest's exit status: 0 if all tests passed."""
    if edit is not None:
        path = folder / Path(file).name
        path.write_text(edit.applied((registered().root / file).read_text()))
        module = file.removesuffix(".py").replace("/", ".")
        site = folder / "sitecustomize.py"
        site.write_text(SITE.format(module=module, path=str(path)))
        os.environ["PYTHONPATH"] = str(folder)
        runpy.run_path(str(site))
    name = edit.name_of_scope if edit else ""
    runs: Sequence[Sequence[str]] = tests_module().own_tests(backend, file, name, quick=quick)
    for arguments in runs:
        first = _First()
        status = _pytest(arguments, folder, first)
        if status not in PASSED:
            (folder / FAILURE).write_text(json.dumps([arguments, first.test]))
            return status
    return 0


def _pytest(arguments: Sequence[str], folder: Path, plugin: object) -> int:
    import pytest

    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={folder}/tmp"]
    return int(pytest.main([*options, *arguments], plugins=[plugin]))
