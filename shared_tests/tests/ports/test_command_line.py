"""`fourfold`: what it prints, what it leaves, and how it ends."""

import html
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared_tests.support.small_project import write_project
from shared_tests.support.sources import ROOT

# NumPy alone: these tests are about the command line.
IMPLEMENTATIONS = """
import numpy as np

print("a user's own words")  # not part of a result

def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)

def shifted(x):
    return softmax(x) + 1e-3 * (np.arange(x.size).reshape(x.shape) == 8)

def broken(x):
    raise RuntimeError("no")

def endless(x):
    while True:
        pass

def killed(x):
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
"""
CASES = """
import numpy as np
from fourfold import Case

x = np.random.default_rng(0).normal(size=(3, 5))
CASES = [Case("ordinary", {"x": x}), Case("large", {"x": 30 * x}), Case("two", {"x": x[:2]})]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mylib.py").write_text(IMPLEMENTATIONS)
    (tmp_path / "my_cases.py").write_text(CASES)
    return tmp_path


def command(*arguments):
    return [sys.executable, "-m", "fourfold", *arguments]


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"}


def run(folder, *arguments):
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment(), capture_output=True, text=True
    )


def pair(second, *more):
    return ("compare", "my_cases.py", "--numpy=a=mylib:softmax", f"--numpy=b=mylib:{second}", *more)


def line(done, status):
    """The one line on stderr of a command that could not do what it was asked."""
    assert done.returncode == status, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.strip()


def test_what_agrees_ends_with_0(folder):
    done = run(folder, *pair("softmax"))
    assert done.returncode == 0, done
    assert done.stdout.splitlines()[0].split() == ["quantity", "dtype", "numpy:a", "/", "numpy:b"]
    assert done.stdout.endswith("agree: 6 comparisons, 0 out of tolerance, 0 missing\n")
    assert "own words" in done.stderr


def test_what_differs_ends_with_1_and_says_where(folder):
    done = run(folder, *pair("shifted", "--case=ordinary", "--case=two", "--dtype=float64"))
    assert done.returncode == 1, done
    (first, second) = [one for one in done.stdout.splitlines() if one.startswith("differs: ")]
    assert first.startswith("differs: ordinary, value:output, float64: numpy:a and numpy:b differ")
    assert second.startswith("differs: two")
    assert "first at [1, 3]: " in first
    assert "DO NOT AGREE: 2 comparisons, 2 out of tolerance" in done.stdout


def test_what_could_not_be_measured_ends_with_3(folder):
    done = run(folder, *pair("broken", "--case=two"))
    assert done.returncode == 3, done
    assert "missing: two, everything, float64: numpy:b: RuntimeError: no\n" in done.stdout
    assert "Traceback" not in done.stderr


def test_json_is_all_that_is_printed_and_the_file_says_the_same(folder):
    done = run(folder, *pair("shifted", "--json", "--output=result.json", "--case=large"))
    found = json.loads(done.stdout)
    assert found == json.loads((folder / "result.json").read_text())
    assert not found["ok"]
    rows = {row["dtype"]: row for row in found["rows"]}
    assert sorted(rows) == ["float32", "float64"]
    assert rows["float64"]["first"]["index"] == [1, 3]
    assert rows["float64"]["error"] == pytest.approx(1e-3)
    assert sorted(one.name for one in folder.iterdir() if one.suffix == ".json") == ["result.json"]


def test_the_table_goes_to_a_text_file(folder):
    done = run(folder, *pair("softmax", "--output=result.txt"))
    assert (folder / "result.txt").read_text() == done.stdout


def test_the_page_holds_the_verdict_the_table_and_the_explanation(folder):
    (folder / "my_cases.py").write_text(CASES.replace("ordinary", "<b>ordinary"))
    done = run(folder, *pair("shifted", "--output=result.html", "--why"))
    assert done.returncode == 1, done
    page = (folder / "result.html").read_text()
    assert "✗ 6 out of tolerance, 0 missing, 0 agree" in page
    assert page.count("✗ 1e+09×") == 1
    assert "&lt;b&gt;ordinary, value:output, float64: numpy:a and numpy:b differ" in page
    assert "<b>" not in page
    explanation = done.stdout.partition("0 missing\n")[2].strip()
    assert explanation.splitlines()[0] in html.unescape(page)
    assert "numpy" in page.partition("<dt>numpy:b</dt>")[2].splitlines()[0]


def test_a_page_needs_its_extra(folder):
    (folder / "jinja2.py").write_text("raise ModuleNotFoundError(name='jinja2')")
    text = line(run(folder, *pair("softmax", "--output=result.html")), 3)
    assert text.endswith(
        '--output: expected jinja2, which is not installed: pip install "fourfold[report]"'
    )


def test_a_case_file_may_have_a_reference_weights_and_names(folder):
    (folder / "my_cases.py").write_text(
        CASES
        + "WEIGHTS = {'scale': np.array([1.0, 2.0, 3.0, 4.0, 5.0])}\n"
        + "REFERENCE = lambda weights, x: x * weights['scale']\n"
        + "def product(weights, x):\n    return weights['scale'] * x\n"
        + "def named(w, x):\n    return w['own'] * x\n"
        + "NAMES = {'numpy:b': {'scale': 'own'}}\n"
    )
    targets = ("--numpy=a=my_cases:product", "--numpy=b=my_cases:named")
    done = run(folder, "compare", "my_cases.py", *targets)
    assert done.returncode == 0, done
    assert "reference / numpy:a" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["compare"],
            "fourfold compare: Missing argument 'CASE_FILE'; see `fourfold compare --help`",
        ),
        (["compare", "my_cases.py"], "expected implementations, by --torch, --keras"),
        (["compare", "none.py", "--torch=a:b"], "fourfold: none.py: No such file or directory"),
        (["compare", "my_cases.py", "--torhc=a:b"], "No such option '--torhc'"),
        (["compare", "my_cases.py", "--torch=a"], "--torch: expected MODULE:ATTRIBUTE, got 'a'"),
        (
            ["compare", "my_cases.py", "--numpy=mylib:softmax"],
            "expected two, or a reference, got 1",
        ),
        (
            pair("softmax", "--case=none"),
            "--case: expected one of ordinary, large, two, got 'none'",
        ),
        (pair("softmax", "--numpy=mylib:softmax"), "expected LABEL=MODULE:ATTRIBUTE where"),
        (pair("softmax", "--numpy=b=mylib:softmax"), "expected labels that differ, got 'b' twice"),
        (pair("softmax", "--python=keras=x"), "LABEL=PATH with a label of numpy:a, numpy:b, got"),
        (pair("softmax", "--reference=c"), "reference: expected one of numpy:a, numpy:b, got 'c'"),
        (
            pair("softmax", "--optimizer=a=x:y"),
            "--optimizer: expected --training N with it, got none",
        ),
        (
            pair("softmax", "--training=2", "--optimizer=none"),
            "--optimizer: expected LABEL=MODULE:ATTRIBUTE with a label of numpy:a, numpy:b, got",
        ),
        (pair("softmax", "--output=result.pdf"), "expected a name ending in .json, .txt or .html"),
        (["train"], "fourfold: No such command 'train'; see `fourfold --help`"),
    ],
)
def test_what_is_not_understood_ends_with_2_and_one_line(arguments, message, folder):
    (folder / "mylib.py").write_text(IMPLEMENTATIONS.replace("print", "str"))
    assert message in line(run(folder, *arguments), 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "my_cases.py: CASES: expected a Case or several, got nothing"),
        ("CASES = []", "my_cases.py: CASES: expected a Case or several, got []"),
        ("CASES = [1]", "my_cases.py: CASES: expected Cases only, got 1"),
        ("CASES = \x1b", "my_cases.py: SyntaxError: invalid non-printable character"),
        ("import none_such", "my_cases.py: ModuleNotFoundError: No module named 'none_such'"),
        ("raise ValueError('two\\nlines')", "my_cases.py: ValueError: two lines"),
        ("exit(3)", "my_cases.py: SystemExit: 3"),
        ("open('none')", "my_cases.py: FileNotFoundError: [Errno 2] No such file or directory"),
    ],
)
def test_a_bad_case_file_is_one_line(text, message, folder):
    (folder / "my_cases.py").write_text(text)
    (folder / "mylib.py").write_text(IMPLEMENTATIONS.replace("print", "str"))
    assert line(run(folder, *pair("softmax")), 2).startswith(f"fourfold: {message}")


TRAINED = """
import jax.numpy as jnp
import optax
import torch

def in_torch(weights, x):
    return torch.tanh(x @ weights["kernel"])

def in_jax(weights, x):
    return jnp.tanh(x @ weights["kernel"])

def adam(parameters):
    return torch.optim.Adam(parameters, lr=0.05)

same, other = optax.adam(0.05), optax.adam(0.05, b1=0.8)
"""


@pytest.mark.parametrize(("optimizer", "status"), [("same", 0), ("other", 1)])
def test_each_side_is_trained_by_its_own_optimizer(optimizer, status, folder):
    (folder / "mylib.py").write_text(TRAINED)
    weights = '\nWEIGHTS = {"kernel": np.random.default_rng(1).normal(size=(5, 2))}\n'
    (folder / "my_cases.py").write_text(CASES + weights)
    sides = ("--torch=mylib:in_torch", "--jax=mylib:in_jax")
    narrow = ("--case=two", "--dtype=float64", "--training=4")
    optimizers = ("--optimizer=torch=mylib:adam", f"--optimizer=jax=mylib:{optimizer}")
    done = run(folder, "compare", "my_cases.py", *sides, *narrow, *optimizers)
    assert done.returncode == status, done
    assert "note: torch: trained by Adam, lr 0.05, betas (0.9, 0.999), eps 1e-08" in done.stdout
    first = "training:kernel, float64: torch and jax differ in values"
    assert (first in done.stdout) == bool(status)


def test_another_python_measures_what_it_is_told_to(folder):
    """Its own interpreter, with modules found where the command was started."""
    other = folder / "python"
    other.write_text(f'#!/bin/sh\ntouch {folder}/used\nexec {sys.executable} "$@"\n')
    other.chmod(0o755)
    done = run(folder, *pair("shifted", "--dtype=float64", f"--python=b={other}"))
    assert done.returncode == 1, done
    assert (folder / "used").exists()
    assert "first at [1, 3]" in done.stdout


@pytest.mark.parametrize(
    ("target", "python", "message"),
    [
        ("softmax", "/none/python", "/none/python: No such file or directory"),
        ("killed", sys.executable, f"{sys.executable}: killed by SIGKILL"),
        ("endless", sys.executable, f"{sys.executable}: no result after 3 s"),
        ("softmax", "/bin/false", "/bin/false: exit status 1: no message"),
    ],
)
def test_another_python_that_fails_costs_its_own_results(target, python, message, folder):
    more = (f"--python=b={python}", "--timeout=3", "--case=two", "--dtype=float64")
    done = run(folder, *pair(target, *more))
    assert done.returncode == 3, done
    assert f"missing: two, everything, float64: numpy:b: {message}\n" in done.stdout


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_comparison_leaves_no_process_and_no_traceback(number, status, folder):
    slow = "import os\nopen('started', 'w').write(str(os.getpid()))\nimport time\ntime.sleep(60)\n"
    (folder / "mylib.py").write_text(IMPLEMENTATIONS.replace("print", "str") + slow)
    started = subprocess.Popen(
        command(*pair("softmax", f"--python=a={sys.executable}")),
        cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (folder / "started").exists() or not (folder / "started").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    started.send_signal(number)
    output, _ = started.communicate(timeout=30)
    assert (started.returncode, output.strip()) == (status, "")
    worker = int((folder / "started").read_text())
    assert not Path(f"/proc/{worker}").exists()


@pytest.mark.parametrize(
    "name", ["compare", "report", "describe", "check", "predict", "weights", "convert"]
)
def test_help_has_an_example(name, folder):
    done = run(folder, name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"fourfold {name} " in done.stdout.partition("xample")[2], "an example of a call"


def test_report(folder):
    """On the environments that nox has made, or on those that are named."""
    write_project(folder, {"double": "pass"})
    path = folder / ".nox" / "numpy" / "bin" / "python"
    path.parent.mkdir(parents=True)
    path.write_text(f'#!/bin/sh\nPYTHONPATH={folder}:{ROOT} exec {sys.executable} "$@"\n')
    path.chmod(0o755)
    done = run(folder, "report", "--project=small", "--component=double")
    assert done.returncode == 0, done
    assert json.loads((folder / "parity.json").read_text())["ok"]
    path.unlink()
    assert "expected BACKEND=PATH, or env" in line(run(folder, "report", "--project=small"), 2)
    assert "--project: expected a module" in line(run(folder, "report", "--project=none"), 2)
    assert "Missing option '--project'" in line(run(folder, "report"), 2)


def test_version(folder):
    assert run(folder, "--version").stdout == "fourfold 0.1.0\n"
