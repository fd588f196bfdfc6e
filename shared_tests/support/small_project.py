"""A project of a few lines that fails as it is told to, and the report on it in a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from shared_tests.support.sources import ROOT

PROJECT = """
from pathlib import Path

from fourfold.project import Project, register

PACKAGES = {"numpy": "small_numpy", "torch": "small_torch"}
register(
    Project(
        name="small", root=Path(__file__).parent, packages=PACKAGES, definitions="small_definitions"
    )
)
"""
DEFINITION = """
import numpy as np

from fourfold.definition import Case, Definition, Operation

cases = [Case("first", {"x": np.array([1.0, -2.0])}), Case("second", {"x": np.array([3.0])})]
double = Operation("double", lambda x: 2 * x, cases, numpy=True, differentiable=False)
DEFINITION = Definition(COMPONENT, [double], mutants=[])
"""
# Its twin in NumPy, which in the second case does something first.
IMPLEMENTATION = """
import ctypes, os, resource, signal, sys, time
from pathlib import Path

def double(x):
    if len(x) == 1:
        STATEMENT
    return 2 * x
"""


def write_project(folder: Path, statements: Mapping[str, str]) -> None:
    """Write a project whose components each do what the statement says: {component: statement}."""
    (folder / "small.py").write_text(PROJECT)
    for package in ("small_definitions", "small_numpy"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").touch()
    for component, statement in statements.items():
        definition = DEFINITION.replace("COMPONENT", repr(component))
        (folder / "small_definitions" / f"{component}.py").write_text(definition)
        implementation = IMPLEMENTATION.replace("STATEMENT", statement)
        (folder / "small_numpy" / f"{component}.py").write_text(implementation)


def start_report(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start the report on the project of this folder, in this interpreter."""
    command = [sys.executable, "-m", "fourfold.report", "--project=small"]
    command += [f"--python=numpy={sys.executable}", f"--theano-cache={folder}", *options]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
