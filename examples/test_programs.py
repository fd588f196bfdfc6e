"""Every program, as its user runs it: `--quick`, with PyTorch; and served with NumPy alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
PROGRAMS = sorted(path.parent.name for path in FOLDER.glob("*/__main__.py"))
# What a module of a program may import to serve: what NumPy has, and no framework or plots.
HEAVY = ("torch", "tensorflow", "theano", "matplotlib", "sklearn", "pandas", "click", "rich")
IMPORTED = f"import sys; print([name for name in {HEAVY} if name in sys.modules])"


def run(*arguments: str) -> str:
    """What a module prints."""
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_same_command_gives_the_same_results(program, tmp_path):
    found = []
    for name, plots in (("first", "--plots"), ("second", "--no-plots")):
        output = tmp_path / name
        said = run(f"examples.{program}", "--quick", plots, f"--output={output}")
        found.append((output / "results.json").read_text())
        for measures in json.loads(found[-1]).values():
            assert all(measure in said for measure in measures)
    assert found[0] == found[1]
    assert list((tmp_path / "first").glob("*.png"))
    assert not list((tmp_path / "second").glob("*.png"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_serving_needs_numpy_alone(program):
    code = f"import examples.{program}.serve; {IMPORTED}"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_bad_option_is_named(program):
    command = [sys.executable, "-m", f"examples.{program}", "--seed=-1"]
    done = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Invalid value for '--seed'" in done.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_is_built_as_the_guide_says(program):
    files = {path.name for path in (FOLDER / program).iterdir()}
    wanted = {"__init__.py", "program.py", "data.py", "serve.py", "README.md", f"test_{program}.py"}
    assert wanted <= files
    assert list((FOLDER / program).glob("*.png")), "a plot for the README"
    assert f"[{program}]({program})" in (FOLDER / "README.md").read_text()
