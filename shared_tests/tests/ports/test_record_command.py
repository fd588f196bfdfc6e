"""`fourfold record`, the comparison of its files, and `fourfold compare --why`."""

import json
import os
import subprocess
import sys

import pytest

from shared_tests.support.sources import ROOT

MODELS = """
import torch
from torch import nn

def model(epsilon):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7, eps=epsilon), nn.Linear(7, 3))

original, port = model(1e-5), model(1e-2)
"""
CASES = """
import numpy as np
from fourfold import Case

x = np.random.default_rng(0).normal(size=(3, 5))
CASES = [Case("ordinary", {"x": x}), Case("small", {"x": x / 10})]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("record")
    (path / "mylib.py").write_text(MODELS)
    (path / "my_cases.py").write_text(CASES)
    return path


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "fourfold", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def recorded(folder):
    for name in ("original", "port"):
        implementation = ("--torch", f"mylib:{name}")
        done = run(folder, "record", "my_cases.py", *implementation, "--output", f"{name}.npz")
        assert done.returncode == 0, done
        assert done.stdout == (
            f"{name}.npz: ordinary, float32, 2 outputs and gradients, 3 calls of inner modules\n"
        )
    return folder


def test_two_files_are_compared(recorded):
    done = run(recorded, "compare", "original.npz", "port.npz", "--output", "result.json")
    assert done.returncode == 1, done
    assert done.stdout.startswith("differ\nvalue:output: error ")
    assert "\n→ 1 (LayerNorm) and 1 (LayerNorm): forward " in done.stdout
    assert json.loads((recorded / "result.json").read_text())["first"] == ["1", "1"]


def test_a_file_agrees_with_itself(recorded):
    done = run(recorded, "compare", "port.npz", "port.npz", "--json")
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["ok"]


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (
            ("compare", "my_cases.py", "port.npz"),
            2,
            "my_cases.py: expected a file of fourfold record",
        ),
        (("compare", "port.npz", "absent.npz"), 2, "absent.npz: No such file"),
        (("record", "my_cases.py", "--output", "a.npz"), 2, "expected one implementation"),
        (("record", "my_cases.py", "--torch", "mylib:absent", "--output", "a.npz"), 3, "torch: "),
    ],
)
def test_what_goes_wrong_is_said_in_a_line(recorded, arguments, status, text):
    done = run(recorded, *arguments)
    assert done.returncode == status, done
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_why_is_printed_below_the_table(folder):
    sides = ("--torch", "a=mylib:original", "--torch", "b=mylib:port")
    done = run(folder, "compare", "my_cases.py", *sides, "--why", "--case", "ordinary")
    assert done.returncode == 1, done
    assert "→ 1 (LayerNorm) and 1 (LayerNorm): forward " in done.stdout
    assert "value:output: more than rounding" in done.stdout
    assert "1: agrees when epsilon is 0.01 (layer_norm at LayerNorm.forward)" in done.stdout
