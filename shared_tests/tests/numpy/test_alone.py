"""Where NumPy is installed and nothing else, every model loads and runs."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import numpy as np

from shared_tests.golden import models
from shared_tests.tests.all.test_golden import NO_INFERENCE

ROOT = Path(__file__).parents[3]
# Run isolated and without site-packages; the arguments are where NumPy is and where we are.
PROGRAM = """
import sys
sys.path += sys.argv[1:]
from importlib.metadata import distributions
from shared_tests import golden
from fourfold.backends.numpy_backend import BACKEND
from fourfold.agreement import assert_close

print(*sorted(one.metadata["Name"] for one in distributions()))
for path in golden.models():
    if not path.stem.startswith({no_inference!r}):
        call = golden.call(path)
        outputs, _ = BACKEND.run_file(path, call.case)
        for name, array in outputs.items():
            assert_close(array, call.outputs[name], 1e-5, name)
        print(path.parent.name, path.stem)
"""


def test_every_golden_model_runs_with_numpy_alone(tmp_path):
    site = Path(np.__file__).parents[1]
    for path in site.glob("numpy*"):  # the package, its libraries and its metadata
        (tmp_path / path.name).symlink_to(path)
    program = PROGRAM.format(no_inference=NO_INFERENCE)
    command = [sys.executable, "-I", "-S", "-c", program, str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    packages, *ran = done.stdout.splitlines()
    assert packages == "numpy"
    assert len(ran) == sum(not path.stem.startswith(NO_INFERENCE) for path in models())
    assert importlib.metadata.version("numpy") == np.__version__
