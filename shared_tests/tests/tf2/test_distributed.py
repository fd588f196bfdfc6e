"""The losses of a batch that is spread over replicas are those of one process, in two strategies.

MirroredStrategy runs its replicas on logical CPUs of one process; MultiWorkerMirroredStrategy one
replica in each of several processes, which find each other through TF_CONFIG.
"""

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import tensorflow as tf

from fourfold.agreement import assert_close
from shared_tests.distributed import LABELS, PIXELS, SPLITS, wrong
from shared_tests.distributed.tf2_worker import (
    DTYPES,
    LOSSES,
    MUTANTS,
    SECONDS,
    WAYS,
    alone,
    encode,
)
from tf2_impl.distributed import gather_batch
from tf2_impl.soft_nearest_neighbor_loss import soft_nearest_neighbor_loss

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs" / "distributed.md"
MIRRORED, MULTI_WORKER = "mirrored", "multi-worker"
LAUNCHES = [(MIRRORED, 1), (MIRRORED, 2), (MULTI_WORKER, 2), (MULTI_WORKER, 4)]


@cache
def launched():
    """The exit codes of all processes, what they found, and what they printed: started once."""
    (guide,) = re.findall(r"```python\n(# TensorFlow.*?)```", GUIDE.read_text(), re.DOTALL)
    variables = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(ROOT)}
    with TemporaryDirectory() as folder:
        Path(folder, "train.py").write_text(guide)
        command = [sys.executable, "-m", "shared_tests.distributed.tf2_worker", folder]
        settings = {"capture_output": True, "text": True, "cwd": ROOT}
        done = subprocess.run(command, env=os.environ | variables, **settings)
        output = done.stdout + done.stderr
        assert done.returncode == 0, output
        codes = json.loads(Path(folder, "codes.json").read_text())
        files = {path.stem: dict(np.load(path)) for path in Path(folder).glob("*.npz")}
    return codes, files, output


def found(kind, count):
    """What each of so many replicas found."""
    codes, files, output = launched()
    own = codes[kind if kind == MIRRORED else f"{kind}-{count}"]
    assert None not in own, f"{count} replicas took more than {SECONDS} s:\n{output}"
    assert not any(own), output
    return [files[f"{kind}-{count}-{replica}"] for replica in range(count)]


@pytest.mark.parametrize(("kind", "count"), LAUNCHES)
def test_every_replica_has_the_loss_and_gradients_of_one_process(kind, count):
    replicas = found(kind, count)
    for loss in LOSSES if (kind, count) == (MIRRORED, 2) else WAYS:
        wanted = alone(loss)
        for split in SPLITS[count]:
            assert wrong(replicas, wanted, split, loss) == {}, f"{loss}, {split}"
    check_keras(replicas)
    # Rows come in the order of the replicas, and keep their dtype.
    rows = [[replica] for replica in range(count) for _ in range(2 + replica)]
    for replica in replicas:
        for dtype in DTYPES:
            np.testing.assert_array_equal(replica[dtype], np.array(rows, dtype), strict=True)
        if count == 2:
            assert "Shape mismatch in the collective" in str(replica["width"])


def check_keras(replicas):
    """Every replica starts from the same weights, and takes the step that one process takes."""
    names = ("first", "first_bias", "second", "log_inverse_temperature")
    before = {name: tf.Variable(replicas[0][f"keras before {name}"]) for name in names}
    with tf.GradientTape() as tape:
        temperature = tf.exp(-before["log_inverse_temperature"])
        embeddings = encode(before, tf.constant(PIXELS))
        loss = soft_nearest_neighbor_loss(embeddings, LABELS, temperature=temperature)
    for name, gradient in tape.gradient(loss, before).items():
        assert np.abs(gradient).max() > 1e-4
        for replica in replicas:
            start = replica[f"keras before {name}"]
            np.testing.assert_array_equal(start, before[name])
            assert_close(replica[f"keras after {name}"], start - gradient.numpy(), 1e-12, name)


@pytest.mark.parametrize("loss", LOSSES)
def test_there_is_something_to_find(loss):
    """No loss is zero, every parameter learns, and the miners find triplets."""
    for quantity, array in alone(loss).items():
        assert array.size, quantity
        assert "gradient" not in quantity or np.abs(array).max() > 1e-4, quantity
        assert quantity != "loss" or array > 0.01


def test_mistakes_are_caught():
    replicas = found(MIRRORED, 2)
    for mistake in MUTANTS:
        caught = [loss for loss in WAYS if wrong(replicas, alone(loss), mistake, loss)]
        # The losses are the same for rows in any order; only the numbers of the triplets tell.
        wanted = ["batch hard"] if mistake == "rows in reverse" else list(WAYS)
        assert caught == wanted, mistake


def test_a_worker_that_fails_leaves_no_other_behind():
    codes, files, output = launched()
    first, second = codes["failing"]
    assert second
    assert first != 0, "the other has nothing to finish"
    assert "RuntimeError: this worker was told to fail" in output
    assert not any("failing" in name for name in files)


OUTSIDE = r"gather_batch: expected a call inside strategy\.run, got one outside"


def test_outside_of_a_strategy():
    with pytest.raises(RuntimeError, match=OUTSIDE):
        gather_batch(tf.zeros((2, 3)))
    with (
        tf.distribute.OneDeviceStrategy("CPU:0").scope(),
        pytest.raises(RuntimeError, match=OUTSIDE),
    ):
        gather_batch(tf.zeros((2, 3)))


def test_one_replica_gets_its_tensors_back():
    embeddings, labels = tf.zeros((2, 3)), tf.zeros(2, tf.int64)
    joined = tf.distribute.OneDeviceStrategy("CPU:0").run(gather_batch, (embeddings, labels))
    assert joined[0] is embeddings
    assert joined[1] is labels


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (tf.zeros(2, tf.int16), TypeError, "expected one of .*int32, int64, got int16"),
        (tf.zeros(2, tf.bool), TypeError, "expected one of .*int32, int64, got bool"),
        (tf.constant(1.0), ValueError, r"expected at least one axis, got shape \(\)"),
    ],
)
def test_what_cannot_be_gathered(x, error, message):
    run = tf.distribute.OneDeviceStrategy("CPU:0").run
    with pytest.raises(error, match=rf"tensors\[1\]: {message}"):
        run(gather_batch, (tf.zeros((2, 3)), x))


def test_example_of_the_guide():
    codes, _, output = launched()
    assert codes["guide"] == [0, 0], output
    losses = [float(line) for line in re.findall(r"^loss (\S+)$", output, re.MULTILINE)]
    assert losses[-1] < losses[0] / 2
