"""The losses of a batch that is spread over replicas are those of one process, in two strategies.

MirroredStrategy runs its replicas on logical CPUs of one process; MultiWorkerMirroredStrategy one
replica in each of several processes, which find each other through TF_CONFIG.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from fourfold.agreement import assert_close
from shared_tests.distributed import LABELS, PIXELS, SPLITS, wrong
from shared_tests.distributed.tf2_worker import (
    DTYPES,
    LOSSES,
    MUTANT_LOSSES,
    MUTANTS,
    alone,
    encode,
)
from tf2_impl.distributed import gather_batch
from tf2_impl.soft_nearest_neighbor_loss import soft_nearest_neighbor_loss

ROOT = Path(__file__).parents[3]
WORKER = ("-m", "shared_tests.distributed.tf2_worker")
SECONDS = 240  # a launch takes thirty, and longer on a busy machine
MIRRORED, MULTI_WORKER = "mirrored", "multi-worker"
LAUNCHES = [(MIRRORED, 1), (MIRRORED, 2), (MULTI_WORKER, 2), (MULTI_WORKER, 4)]


def free_addresses(count):
    """Ports of this machine that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def environments(kind, count):
    """The variables of each process, one for all mirrored replicas or one for each worker."""
    common = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(ROOT)}
    if kind == MIRRORED:
        return [common]
    cluster = {"worker": free_addresses(count)}
    tasks = [{"type": "worker", "index": index} for index in range(count)]
    return [
        common | {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})} for task in tasks
    ]


def launch(kind, count, folder, *program):
    """Start the processes and wait until all have ended, or one has failed; leave none behind.

    Returns their exit codes, None for one that was still waiting, and what they printed.
    """
    processes, logs = [], []
    for index, environment in enumerate(environments(kind, count)):
        logs.append(folder / f"{index}.log")
        with logs[-1].open("w") as log:
            command = [sys.executable, *map(str, program)]
            settings = {"stdout": log, "stderr": log, "env": os.environ | environment, "cwd": ROOT}
            processes.append(subprocess.Popen(command, **settings))
    end = time.monotonic() + SECONDS
    codes = [None]
    try:
        while None in codes and not any(codes) and time.monotonic() < end:
            time.sleep(0.1)
            codes = [process.poll() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return codes, "\n".join(log.read_text() for log in logs)


def found(kind, count, folder, *modes):
    """What each of so many replicas found."""
    codes, output = launch(kind, count, folder, *WORKER, folder, count, *modes)
    assert not any(codes), output
    assert None not in codes, f"{count} replicas took more than {SECONDS} s:\n{output}"
    return [dict(np.load(folder / f"{replica}.npz")) for replica in range(count)]


@pytest.mark.parametrize(("kind", "count"), LAUNCHES)
def test_every_replica_has_the_loss_and_gradients_of_one_process(kind, count, tmp_path):
    replicas = found(kind, count, tmp_path)
    for loss in LOSSES:
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


def test_mistakes_are_caught(tmp_path):
    replicas = found(MIRRORED, 2, tmp_path, "mutants")
    for mistake in MUTANTS:
        caught = [loss for loss in MUTANT_LOSSES if wrong(replicas, alone(loss), mistake, loss)]
        # The losses are the same for rows in any order; only the numbers of the triplets tell.
        wanted = ["batch hard"] if mistake == "rows in reverse" else list(MUTANT_LOSSES)
        assert caught == wanted, mistake


def test_a_worker_that_fails_leaves_no_other_behind(tmp_path):
    codes, output = launch(MULTI_WORKER, 2, tmp_path, *WORKER, tmp_path, 2, "fail")
    assert codes[1]
    assert codes[0] != 0, "the other has nothing to finish"
    assert "RuntimeError: this worker was told to fail" in output
    assert not list(tmp_path.glob("*.npz"))


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


def test_example_of_the_guide(tmp_path):
    (code,) = re.findall(
        r"```python\n(# TensorFlow.*?)```", (ROOT / "docs/distributed.md").read_text(), re.DOTALL
    )
    (tmp_path / "train.py").write_text(code)
    codes, output = launch(MULTI_WORKER, 2, tmp_path, tmp_path / "train.py")
    assert codes == [0, 0], output
    losses = [float(line) for line in re.findall(r"^loss (\S+)$", output, re.MULTILINE)]
    assert losses[-1] < losses[0] / 2
