"""What the benchmarks of models share: weights, and a forward and backward run per framework.

Inputs are arguments of the graphs and never constants, which TensorFlow and Theano would fold.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.harness import Contender


def weights(component: str, config: Mapping[str, Any], dtype: str) -> dict[str, np.ndarray]:
    """Random ones of a component, "file.Class", in canonical layout; a table's row 0 is zero."""
    file, _, name = component.partition(".")
    model = getattr(importlib.import_module(f"numpy_infer.{file}"), name)
    rng = np.random.default_rng(1)
    shapes = model.array_shapes(**config)
    found = {key: rng.normal(scale=0.2, size=shape) for key, shape in shapes.items()}
    if "table" in found:
        found["table"][0] = 0
    return {key: array.astype(dtype) for key, array in found.items()}


@contextmanager
def plain_way(fast: ModuleType) -> Iterator[None]:
    """No fast way of this module applies within: what is called or traced takes the plain way."""
    with ExitStack() as patches:
        for name in vars(fast):
            if name.startswith("applies"):
                patches.enter_context(mock.patch.object(fast, name, return_value=False))
        yield


def labeled_rows(
    n: int, dtype: str, dimensions: int = 64, classes: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Random rows whose squared distances are about 2, and a label for each."""
    rng = np.random.default_rng(n)
    rows = rng.normal(size=(n, dimensions)) / dimensions**0.5
    return rows.astype(dtype), rng.integers(classes, size=n)


def factors(
    shapes: Sequence[tuple[int, int, int]], seed: int, dtype: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Random matrices of products, from the (rows, in, out) of each."""
    rng = np.random.default_rng(seed)
    return [
        (
            rng.normal(size=(rows, inner)).astype(dtype),
            rng.normal(size=(inner, outer)).astype(dtype),
        )
        for rows, inner, outer in shapes
    ]


def products(pairs: Sequence[Any], *, of_input: bool) -> None:
    """Products of NumPy's or PyTorch's matrices, and those of their gradients.

    of_input: also the one by the first matrix, the input.
    """
    for place, (given, weight) in enumerate(pairs):
        found = given @ weight
        given.T @ found
        if place > 0 or of_input:
            found @ weight.T


def torch_run(call: Callable[[], Any], leaves: Sequence[Any]) -> Contender:
    """What `call` gives, and the gradients of its sum."""
    import torch

    def run() -> Any:
        found = call()
        return [found, *torch.autograd.grad(found.sum(), leaves)]

    return run


def tf2_run(
    call: Callable[..., Any],
    given: Sequence[Any],
    leaves: Sequence[Any] | None = None,
    *,
    xla: bool = False,
) -> Contender:
    """What `call` gives for the given arrays, and the gradients of its sum, by one graph.

    leaves: variables; those of the given arrays that are floating when left out.
    """
    import tensorflow as tf

    @tf.function(jit_compile=xla)
    def run(*given: Any) -> Any:
        with tf.GradientTape() as tape:
            watched = [one for one in given if one.dtype.is_floating]
            tape.watch(watched)
            found = call(*given)
            loss = tf.reduce_sum(found)
        gradients = tape.gradient(loss, watched if leaves is None else leaves)
        return [found, *map(tf.convert_to_tensor, gradients)]

    tensors = [tf.constant(one) for one in given]
    return lambda: run(*tensors)


def theano_run(found: Any, inputs: Sequence[Any], leaves: Sequence[Any]) -> Callable[..., Any]:
    """A function of the inputs: what was found, and the gradients of its sum."""
    import theano_impl  # isort: skip  # noqa: F401
    import theano
    import theano.tensor as T

    return theano.function(inputs, [found, *T.grad(T.sum(found), list(leaves))])
