"""A training that changes frameworks: ten steps in PyTorch, ten in Keras, against twenty in one.

python -m shared_tests.zoo.training torch FOLDER START END FROM TO    # tf2 instead of torch

trains from step START to END, from the file FROM (`new` for a new ResNet-18) to the file TO. All
in float64, by plain SGD, so that what is left is rounding.

python -m shared_tests.zoo.training compare FOLDER ONE OTHER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from numpy_infer.model_file import read_model

RATE, ROWS, SIZE, CLASSES, WIDTH = 0.05, 6, 32, 5, 8
TOLERANCE = 1e-8


def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures, channels first, and labels: those of a step are the same in every framework."""
    rng = np.random.default_rng(step)
    return rng.normal(size=(ROWS, 3, SIZE, SIZE)), rng.integers(0, CLASSES, ROWS)


def train_torch(start: int, end: int, origin: Path | None, target: Path) -> None:
    """The steps in PyTorch."""
    import torch
    from torch.nn import functional as F

    from pytorch_impl.interchange import load_model, save_model
    from shared_tests.zoo.resnet18 import ResNet18

    torch.manual_seed(0)
    model = (ResNet18(CLASSES, WIDTH).double() if origin is None else load_model(origin)).train()
    optimizer = torch.optim.SGD(model.parameters(), RATE)
    for step in range(start, end):
        x, labels = map(torch.from_numpy, batch(step))
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()
    save_model(model, target, inputs={"x": (None, 3, SIZE, SIZE)})


def train_tf2(start: int, end: int, origin: Path | None, target: Path) -> None:
    """The steps in Keras."""
    import tensorflow as tf

    from tf2_impl.interchange import load_model, save_model

    assert origin is not None
    model = load_model(origin)
    for step in range(start, end):
        x, labels = batch(step)
        with tf.GradientTape() as tape:
            logits = model(np.moveaxis(x, 1, -1), training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        variables = [one.value for one in model.trainable_variables]
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(RATE * gradient)
    save_model(model, target)


def named(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by the names of their layers: each framework has them in its order."""
    _, config, arrays = read_model(path)
    places = {str(place): entry.get("name") for place, entry in enumerate(config["layers"])}
    parts = [(*name.partition("."), array) for name, array in arrays.items()]
    return {f"{places[place]}.{name}": array for place, _, name, array in parts}


def compare(one: Path, other: Path) -> bool:
    """Whether what was trained agrees; each framework keeps running statistics in its own way."""
    first, second = named(one), named(other)
    names = [name for name in first if not name.endswith((".mean", ".variance"))]
    if not names or first.keys() != second.keys():
        raise ValueError(f"arrays: expected {list(first)}, got {list(second)}")
    error = max(float(np.abs(first[name] - second[name]).max()) for name in names)
    print(f"{len(names)} arrays, largest difference {error:.1e}")
    return error <= TOLERANCE


if __name__ == "__main__":
    command, folder, *rest = sys.argv[1:]
    if command == "compare":
        sys.exit(not compare(*(Path(folder, name) for name in rest)))
    first, last, source, result = rest
    begin = None if source == "new" else Path(folder, source)
    {"torch": train_torch, "tf2": train_tf2}[command](
        int(first), int(last), begin, Path(folder, result)
    )
