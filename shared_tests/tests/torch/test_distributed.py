"""The losses of a batch that is spread over ranks are those of one process."""

import os
import re
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
import torch.distributed as dist

from pytorch_impl.distributed import gather_batch
from shared_tests.distributed import SPLITS, wrong
from shared_tests.distributed.torch_worker import DTYPES, LOSSES, MUTANTS, alone, findings

ROOT = Path(__file__).parents[3]
SECONDS = 120  # a launch takes ten


def torchrun(ranks, program, cwd):
    """Start the ranks, wait for all of them, and leave none behind."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*command, f"--nproc-per-node={ranks}", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
        env=environment,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"{ranks} ranks took more than {SECONDS} s:\n{process.communicate()[0]}")
    return process.returncode, output


@cache
def launched():
    """{"SIZE-RANK": what that rank found}; all are started once for all tests."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "shared_tests.distributed.torch_worker", folder]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        settings = {"capture_output": True, "text": True, "cwd": ROOT, "env": environment}
        done = subprocess.run(command, **settings)
        assert done.returncode == 0, done.stdout + done.stderr
        return {path.stem: dict(np.load(path)) for path in Path(folder).glob("*.npz")}


def found(size):
    """What each of so many ranks found."""
    return [launched()[f"{size}-{rank}"] for rank in range(size)]


@pytest.mark.parametrize("size", [2, 4])
def test_every_rank_has_the_loss_and_gradients_of_one_process(size):
    ranks = found(size)
    check(ranks)
    for rank in ranks:
        # What outlived the group could abort the interpreter's end.
        assert (rank["threads"] > 0).tolist() == [True, False]
        if size == 2:
            assert {name: str(rank[name]) for name in REFUSALS} == REFUSALS


def check(ranks):
    for loss in LOSSES:
        wanted = alone(loss)
        for split in SPLITS[len(ranks)]:
            assert wrong(ranks, wanted, split, loss) == {}, f"{loss}, {split}"
    # Rows come in the order of the ranks, and keep their dtype.
    rows = [[rank] for rank in range(len(ranks)) for _ in range(2 + rank)]
    for rank in ranks:
        for dtype in DTYPES:
            np.testing.assert_array_equal(rank[str(dtype)], rows)


REFUSALS = {
    "width": "tensors[0]: expected rows of shape (3,), torch.float32, without gradient "
    "as on rank 0, got rows of shape (4,), torch.float32, without gradient on rank 1",
    "dtype": "tensors[1]: expected rows of shape (), torch.int64, without gradient "
    "as on rank 0, got rows of shape (), torch.int32, without gradient on rank 1",
    "gradient": "tensors[0]: expected rows of shape (3,), torch.float32, with gradient "
    "as on rank 0, got rows of shape (3,), torch.float32, without gradient on rank 1",
    "number": "tensors: expected 1 of them as on rank 0, got 2 on rank 1",
}


@pytest.mark.parametrize("loss", LOSSES)
def test_there_is_something_to_find(loss):
    """No loss is zero, every parameter learns, and the miners find triplets."""
    for quantity, array in alone(loss).items():
        assert array.size, quantity
        assert "gradient" not in quantity or np.abs(array).max() > 1e-4, quantity
        assert quantity != "loss" or array > 0.01


def test_mistakes_are_caught():
    ranks = found(2)
    for mistake in MUTANTS:
        caught = [loss for loss in LOSSES if wrong(ranks, alone(loss), mistake, loss)]
        # The losses are the same for rows in any order; only the numbers of the triplets tell.
        ordered = ["batch hard", "semi-hard"]
        assert caught == (ordered if mistake == "ranks in reverse" else list(LOSSES)), mistake


FAILING = """
import torch
import torch.distributed as dist

from pytorch_impl.distributed import gather_batch

dist.init_process_group("gloo")
if dist.get_rank() == 1:
    raise RuntimeError("this rank was told to fail")
gather_batch(torch.zeros(2, 3))
print("gathered")
"""


def test_a_rank_that_fails_ends_the_others(tmp_path):
    (tmp_path / "train.py").write_text(FAILING)
    code, output = torchrun(2, "train.py", cwd=tmp_path)
    assert code != 0
    assert "RuntimeError: this rank was told to fail" in output
    assert "gathered" not in output.splitlines()


def test_without_a_process_group():
    with pytest.raises(RuntimeError, match=r"gather_batch: expected a process group .* got none"):
        gather_batch(torch.zeros(2, 3))


@pytest.fixture
def group_of_one(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group_of_one")
def test_a_group_of_one_has_the_loss_and_gradients_of_no_group():
    check([findings()])


@pytest.mark.usefixtures("group_of_one")
def test_a_group_of_one_gets_its_tensors_back():
    embeddings, labels = torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)
    joined = gather_batch(embeddings, labels)
    assert joined[0] is embeddings
    assert joined[1] is labels


@pytest.mark.usefixtures("group_of_one")
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([[1.0]], TypeError, "expected a torch.Tensor, got list"),
        (torch.zeros(2, dtype=torch.int16), TypeError, "int32 or int64, got torch.int16"),
        (torch.zeros(2, dtype=torch.bool), TypeError, "int32 or int64, got torch.bool"),
        (torch.tensor(1.0), ValueError, r"expected at least one axis, got shape \(\)"),
    ],
)
def test_what_cannot_be_gathered(x, error, message):
    with pytest.raises(error, match=rf"tensors\[1\]: .*{message}"):
        gather_batch(torch.zeros(2, 3), x)


def test_example_of_the_guide(tmp_path):
    (code,) = re.findall(
        r"```python\n(# PyTorch.*?)```", (ROOT / "docs/distributed.md").read_text(), re.DOTALL
    )
    (tmp_path / "train.py").write_text(code)
    code, output = torchrun(2, "train.py", cwd=tmp_path)
    assert code == 0, output
    losses = [float(line) for line in re.findall(r"^loss (\S+)$", output, re.MULTILINE)]
    assert losses[-1] < losses[0] / 2
