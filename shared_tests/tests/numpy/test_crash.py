"""A process that is killed while it saves leaves the old file or the new one, and both load."""

import os
import random
import signal
import time

import numpy as np

from numpy_infer.model_file import load_model, write_model
from shared_tests.model_files.samples import chain

KILLS = 200
CONFIG = chain(("Projection", {}), ("ReLU", {}))
MODELS = [{"1.weight": np.full((256, 1024), value, np.float32)} for value in (1, 2)]


def save_for_ever(path, ready):
    turn = 0
    while True:
        write_model(path, "chain", CONFIG, MODELS[turn % 2])
        if turn == 0:
            os.write(ready, b"x")
        turn += 1


def killed_while_saving(path, seconds):
    """A child saves one model after the other; it is killed so long after the first."""
    begun, ready = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            save_for_ever(path, ready)
        finally:
            os._exit(1)  # only an error leads here
    os.close(ready)
    assert os.read(begun, 1) == b"x", "the child could not save"
    os.close(begun)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child ended before it was killed"


def test_two_hundred_kills(tmp_path):
    path = tmp_path / "model.safetensors"
    chance, found = random.Random(1), []
    write_model(path, "chain", CONFIG, MODELS[0])
    for _ in range(KILLS):
        killed_while_saving(path, chance.uniform(0, 0.02))
        weight = load_model(path)[1].weight
        assert weight.shape == (256, 1024)
        found.append(float(weight[0, 0]))
        assert (weight == found[-1]).all()
    assert set(found) == {1, 2}
    drafts = [one for one in os.listdir(tmp_path) if one != path.name]
    assert all(one.endswith(".part") for one in drafts)
    assert len(drafts) > KILLS // 10, "too few were killed in the middle"
    # What they left is in nobody's way.
    write_model(path, "chain", CONFIG, MODELS[0])
    load_model(path)
