"""Everything that is run: `nox` for all tests, lint and types; `nox -s parity` for the report.

`nox -s bench` times the components against their peers and their floors.

Sessions share one environment per file in `requirements/`, kept under `.nox` and remade when its
pins change. What follows `--` goes to pytest, or to the parity report.
"""

from __future__ import annotations

import os
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import nox

ROOT = Path(__file__).parent
ENVIRONMENTS = ROOT / ".nox"
REPORTS = ENVIRONMENTS / "reports" / str(os.getpid())  # of this run alone
THEANO_CACHE = ENVIRONMENTS / "theano-cache"
COUNTED = ("tests", "failures", "errors", "skipped")
BACKENDS = ("torch", "tf2", "theano", "numpy")
WORKERS = ("--numprocesses=auto", "--maxprocesses=4")

nox.options.default_venv_backend = "none"
nox.options.stop_on_first_error = False


def python(session: nox.Session, name: str) -> str:
    """The interpreter of an environment, made from requirements/NAME.txt when it has changed."""
    requirements = ROOT / "requirements" / f"{name}.txt"
    folder = ENVIRONMENTS / name
    interpreter, stamp = folder / "bin" / "python", folder / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != requirements.read_text():
        base = shutil.which("python3.11") or session.error("Python 3.11 is not on the path")
        session.log(f"making the {name} environment")
        session.run(base, "-m", "venv", "--clear", str(folder), silent=True)
        session.run(str(interpreter), "-m", "pip", "install", "--quiet", "-r", str(requirements))
        stamp.write_text(requirements.read_text())
    return str(interpreter)


def pytest(session: nox.Session, environment: str, *arguments: str, **env: str) -> None:
    """Run tests in an environment; the counts go to the session `total`."""
    report = REPORTS / f"{session.name}.xml"
    command = [python(session, environment), "-m", "pytest", "-q", f"--junit-xml={report}"]
    session.run(*command, *arguments, *session.posargs, env=env)


@nox.session
def lint(session: nox.Session) -> None:
    """Format and rules (ruff)."""
    ruff = [python(session, "lint"), "-m", "ruff"]
    session.run(*ruff, "format", "--check", ".")
    session.run(*ruff, "check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types (mypy)."""
    session.run(python(session, "lint"), "-m", "mypy")


@nox.session(name="tests-project")
def tests_project(session: nox.Session) -> None:
    """Tests that need no framework: layout, signatures, definitions, the report."""
    pytest(session, "project", "shared_tests/project")


def tests(backend: str) -> None:
    """Add the session with the tests of one backend."""

    def run(session: nox.Session) -> None:
        # Without a compiler Theano runs its Python mode, here with few rewrites of its graphs: C
        # code and all rewrites for every graph would take an hour. The session below and the
        # parity report have both.
        flags = f"cxx=,optimizer=fast_compile,base_compiledir={THEANO_CACHE / 'tests'}"
        workers = () if backend == "numpy" else WORKERS
        selected = ("shared_tests", f"--backend={backend}", *workers)
        pytest(session, backend, *selected, THEANO_FLAGS=flags)

    run.__doc__ = f"All tests of the {backend} backend."
    nox.session(name=f"tests-{backend}")(run)


for name in BACKENDS:
    tests(name)


@nox.session(name="tests-theano-c")
def tests_theano_c(session: nox.Session) -> None:
    """Theano's C mode: the first case of every component (the report runs all), and the traps."""
    files = ("shared_tests/test_agreement.py", "shared_tests/test_theano_traps.py")
    flags = f"base_compiledir={THEANO_CACHE / 'tests'}"
    selected = (*files, "--backend=theano", "--first-cases", *WORKERS)
    pytest(session, "theano", *selected, THEANO_FLAGS=flags)


@nox.session(name="tests-numpy-oldest")
def tests_numpy_oldest(session: nox.Session) -> None:
    """All tests of the numpy backend, with the oldest NumPy it supports."""
    pytest(session, "numpy-oldest", "shared_tests", "--backend=numpy")


@nox.session
def total(session: nox.Session) -> None:
    """The tests that ran, over all sessions, in one line."""
    suites = [suite for file in REPORTS.glob("*.xml") for suite in ET.parse(file).iter("testsuite")]
    count = {key: sum(int(suite.get(key, 0)) for suite in suites) for key in COUNTED}
    failed = count["failures"] + count["errors"]
    print(f"{count['tests'] - failed - count['skipped']} passed, {failed} failed")
    if failed:
        session.error("some tests failed")


@nox.session(default=False)
def parity(session: nox.Session) -> None:
    """Run every backend in its own environment and report how closely they agree.

    nox -s parity -- --component triplet_loss --backend torch    narrows it
    """
    chosen = [name for name in BACKENDS if name in session.posargs] or BACKENDS
    interpreters = [f"--python={name}={python(session, name)}" for name in chosen]
    command = [python(session, "project"), "-m", "shared_tests.parity"]
    session.run(*command, f"--theano-cache={THEANO_CACHE}", *interpreters, *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Time every component against its peers and the floor.

    nox -s bench -- --quick    --only soft_nearest_neighbor_loss    narrows it
    """
    names = ("numpy", "torch", "tf2", "theano", "bench")
    interpreters = [f"--python={name}={python(session, name)}" for name in names]
    command = [python(session, "project"), "-m", "benchmarks"]
    session.run(*command, f"--theano-cache={THEANO_CACHE}", *interpreters, *session.posargs)
