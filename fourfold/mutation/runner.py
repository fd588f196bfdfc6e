"""Tries edits: each in a fork of a process that has imported the framework, and not the package.

The fork imports the package anew, one file of it with the edit, and runs the file's tests until
one fails. So an edit costs its tests, and not the seconds that a framework takes to import, nor
those of the definition's differences.
TensorFlow may be forked as long as it has run nothing; Theano and PyTorch while they have one
thread.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from fourfold.measure import expected
from fourfold.mutation.edits import Edit
from fourfold.project import cells, package, registered, tests_module

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


def prepare(backend: str, file: str) -> None:
    """Compute what the definitions behind a file expect: every fork compares with it."""
    for component in tests_module().components_of(backend, file):
        for cell in cells(backend, component):
            expected(cell)


class _Edited(importlib.abc.MetaPathFinder):
    """Finds one module in another file."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name == self.name:
            return importlib.util.spec_from_file_location(name, self.path)
        return None


def outcome(backend: str, file: str, edit: Edit | None, seconds: float) -> tuple[str, float]:
    """("survived", "caught" or "timeout", seconds taken); no edit: of the file as it is."""
    begin = time.monotonic()
    child = os.fork()
    if not child:
        _run(backend, file, edit)  # does not return
    while time.monotonic() - begin < seconds:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            survived = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
            return ("survived" if survived else "caught"), time.monotonic() - begin
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout", time.monotonic() - begin


def _run(backend: str, file: str, edit: Edit | None) -> None:
    status = 1
    try:
        os.setpgid(0, 0)
        sink = os.open(os.environ.get("MUTATION_LOG", os.devnull), os.O_WRONLY | os.O_APPEND)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        with tempfile.TemporaryDirectory() as folder:
            status = _tested(backend, file, edit, Path(folder))
    finally:
        os._exit(status)


def _tested(backend: str, file: str, edit: Edit | None, folder: Path) -> int:
    """pytest's exit status: 0 if all tests passed."""
    import pytest

    if edit is not None:
        path = folder / Path(file).name
        path.write_text(edit.applied((registered().root / file).read_text()))
        module = file.removesuffix(".py").replace("/", ".")
        sys.meta_path.insert(0, _Edited(module, path))
    runs: Sequence[Sequence[str]] = tests_module().own_tests(backend, file)
    packages = registered().packages.values()
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]
    os.chdir(registered().root)
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={folder}/tmp"]
    for arguments in runs:
        status = pytest.main([*options, *arguments])
        if status not in (0, 5):  # 5: nothing was selected
            return int(status)
    return 0
