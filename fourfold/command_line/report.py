"""`fourfold report`: the parity report of a project, every backend in its own environment."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import tempfile
from pathlib import Path

import click

from fourfold.command_line.failure import not_installed

HELP = """Compare every component of a project, every pair of backends, and write parity.html.

A project is a module that registers itself (`fourfold.project.register`). Each backend runs in an
interpreter of its own, which has NumPy, the framework and the project on its path. Without --python
those are taken that nox has made, under .nox.

\b
Examples, in the folder of the project:
  fourfold report --project proofs
  fourfold report --project proofs --component triplet_loss --backend torch --backend numpy
  fourfold report --project proofs --python torch=/a/bin/python --python tf2=/b/bin/python

\b
Exit status:
  0  every comparison is there and within its tolerance
  1  one is not
  2  there was nothing to run
  3  a package that the report needs is not installed
"""
BACKENDS = ("torch", "tf2", "theano", "numpy")


@click.command(help=HELP, short_help="Compare every component of a project.")
@click.option("--project", required=True, metavar="MODULE", help="What registers the project.")
@click.option("--python", multiple=True, metavar="BACKEND=PATH", help="An interpreter.")
@click.option("--component", multiple=True, metavar="NAME", help="This component alone.")
@click.option("--backend", multiple=True, type=click.Choice(BACKENDS), help="This backend alone.")
@click.option("--compiled", is_flag=True, help="Let Theano compile every graph with g++.")
@click.option("--timeout", type=float, metavar="S", help="Seconds without a step for a backend.")
def report(
    project: str,
    python: tuple[str, ...],
    component: tuple[str, ...],
    backend: tuple[str, ...],
    compiled: bool,
    timeout: float | None,
) -> int:
    try:
        program = importlib.import_module("fourfold.report.__main__")
    except ModuleNotFoundError as error:
        name = error.name or ""
        if name.startswith("fourfold"):
            raise
        raise not_installed("report", name) from error
    sys.path.insert(0, os.getcwd())
    if importlib.util.find_spec(project.partition(".")[0]) is None:
        raise click.UsageError(f"--project: expected a module, got {project!r}")
    arguments = [f"--project={project}"]
    arguments += [f"--python={pair}" for pair in python or made_by_nox()]
    arguments += [f"--component={name}" for name in component]
    arguments += [f"--backend={name}" for name in backend]
    arguments += ["--compiled"] * compiled
    arguments += [f"--timeout={timeout}"] if timeout else []
    cache = Path(".nox" if Path(".nox").is_dir() else tempfile.gettempdir(), "theano-cache")
    status: int = program.main([*arguments, f"--theano-cache={cache}"])
    return status


def made_by_nox() -> list[str]:
    """BACKEND=PATH of the environments under .nox."""
    paths = {name: Path(".nox", name, "bin", "python") for name in BACKENDS}
    found = [f"{name}={path.absolute()}" for name, path in paths.items() if path.exists()]
    if not found:
        raise click.UsageError("--python: expected BACKEND=PATH, or environments in .nox, got none")
    return found
