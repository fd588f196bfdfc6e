"""Keras on PyTorch and on JAX: the adapter is the same, and the numbers are."""

import os
import subprocess
import sys

import pytest

from shared_tests.support.sources import ROOT

PROGRAM = """
import keras, numpy as np, torch
from torch import nn
import fourfold
from fourfold.ports import port

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.gru = nn.LayerNorm(7), nn.GRU(7, 4, batch_first=True)

    def forward(self, x):
        return self.gru(self.norm(x))[0]

class KerasNet(keras.Model):
    def __init__(self, epsilon=1e-5, **options):
        super().__init__(**options)
        self.norm = keras.layers.LayerNormalization(epsilon=epsilon)
        self.gru = keras.layers.GRU(4, return_sequences=True)

    def call(self, x):
        return self.gru(self.norm(x))

cases = fourfold.cases_from_shapes({"x": (3, 5, 7)})[:1]
right = fourfold.compare({"torch": Net, "keras": KerasNet}, cases, dtypes=("float32",))
wrong = fourfold.compare(
    {"torch": Net, "keras": lambda x: keras.ops.zeros((3, 5, 4))}, cases, dtypes=("float32",)
)
adapter, case = port("keras"), cases[0].cast("float32")
built = adapter.build(KerasNet, case, "float32")
last = adapter.record(built, case)[-1]
(again,) = adapter.replay(built, last.name, last.inputs)
gradient = fourfold.definition.upstream(last.outputs[0].shape)
print(keras.backend.backend(), right.ok, wrong.ok, np.abs(again - last.outputs[0]).max() < 1e-6,
      np.abs(last.gradients[0] - gradient).max() < 1e-6)
print(wrong.differing[0].quantity, wrong.missing[0].quantity, right if not right else "")
"""


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_same_on_each_backend(backend):
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{backend} True False True True"), done.stdout
    assert done.stdout.splitlines()[1].strip() == "value:output gradient:norm.weight"
