"""Keras's operations in PyTorch, on TensorFlow or JAX: what its layers and `keras.ops` call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
import torch
import torch.nn.functional as F
from keras.src import backend
from keras.src.ops import nn as layer_operations

from fourfold.ports.in_torch.operations import attended, convolved, pooled, reduced, scalar
from fourfold.ports.in_torch.patching import replacing

BACKEND = keras.backend.backend()


def last(data_format: Any) -> bool:
    return bool((data_format or keras.config.image_data_format()) == "channels_last")


def add(s: Any, x: Any, y: Any) -> Any:
    other = scalar(s, y)
    return lambda: torch.add(s.tensor(x), other)


def matmul(s: Any, x: Any, y: Any) -> Any:
    return lambda: torch.matmul(s.tensor(x), s.tensor(y))


def unary(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda s, x: lambda: function(s.tensor(x))


def reduction(name: str) -> Callable[..., Any]:
    def translation(s: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return lambda: reduced(name, s.tensor(x), axis, keepdims)

    return translation


def gelu(s: Any, x: Any, approximate: bool = True) -> Any:
    return lambda: F.gelu(s.tensor(x), approximate="tanh" if approximate else "none")


def leaky_relu(s: Any, x: Any, negative_slope: float = 0.2) -> Any:
    return lambda: F.leaky_relu(s.tensor(x), negative_slope)


def softmax(s: Any, x: Any, axis: int = -1) -> Any:
    return lambda: torch.softmax(s.tensor(x), axis)


def log_softmax(s: Any, x: Any, axis: int = -1) -> Any:
    return lambda: torch.log_softmax(s.tensor(x), axis)


def reshape(s: Any, x: Any, shape: Any) -> Any:
    return lambda: s.tensor(x).reshape(tuple(map(int, shape)))


def take(s: Any, table: Any, ids: Any, axis: Any = None) -> Any:
    if axis != 0 or len(table.shape) != 2:
        return None
    return lambda: F.embedding(s.tensor(ids).long(), s.tensor(table))


def convolution(
    s: Any,
    x: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: Any = None,
    dilation_rate: Any = 1,
) -> Any:
    if not last(data_format):
        return None
    groups = int(x.shape[-1]) // int(kernel.shape[-2])
    return lambda: convolved(s.tensor(x), s.tensor(kernel), strides, padding, dilation_rate, groups)


def pool(kind: str) -> Callable[..., Any]:
    def translation(
        s: Any,
        x: Any,
        pool_size: Any,
        strides: Any = None,
        padding: str = "valid",
        form: Any = None,
    ) -> Any:
        return (
            (lambda: pooled(kind, s.tensor(x), pool_size, strides, padding)) if last(form) else None
        )

    return translation


def layer_normalization(
    s: Any,
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    axis: Any = -1,
    epsilon: Any = None,
    rms_scaling: bool = False,
) -> Any:
    """Over the last axes."""
    axes = [axis] if isinstance(axis, int) else list(axis)
    rank = len(x.shape)
    if rms_scaling or sorted(one % rank for one in axes) != list(range(rank - len(axes), rank)):
        return None
    shape = tuple(x.shape[rank - len(axes) :])
    weight, bias = (None if one is None else s.tensor(one) for one in (gamma, beta))
    eps = keras.config.epsilon() if epsilon is None else epsilon
    return lambda: F.layer_norm(s.tensor(x), shape, weight, bias, eps)


def batch_normalization(
    s: Any,
    x: Any,
    mean: Any,
    variance: Any,
    axis: int,
    offset: Any = None,
    scale: Any = None,
    epsilon: float = 1e-3,
) -> Any:
    """With the statistics that are given, those of the batch or the running ones."""

    def compute() -> Any:
        moved = s.tensor(x).movedim(axis, 1)
        given = [None if one is None else s.tensor(one) for one in (mean, variance, scale, offset)]
        return F.batch_norm(moved, *given, False, 0.1, epsilon).movedim(1, axis)

    return compute


def attention(
    s: Any,
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: Any = None,
    is_causal: bool = False,
    *_: Any,
    **__: Any,
) -> Any:
    """Of (batch, time, heads, size)."""
    if bias is not None or mask is not None:
        return None
    return lambda: attended(s.tensor(query), s.tensor(key), s.tensor(value), is_causal, scale)


def gated(parts: int, order: tuple[int, ...]) -> Callable[..., Any]:
    """A GRU or an LSTM of Keras, whose gates stand in this order of PyTorch's."""

    def translation(
        s: Any,
        layer: Any,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
    ) -> Any:
        plain = not (layer.go_backwards or layer.stateful or layer.unroll)
        if initial_state is not None or mask is not None or not plain or not layer.use_bias:
            return None

        def rows(columns: Any) -> torch.Tensor:
            gates = columns.chunk(parts, -1)
            return torch.cat([gates[one] for one in order], -1)

        def compute() -> Any:
            cell = layer.cell
            held = (cell.kernel, cell.recurrent_kernel, cell.bias)
            w, u, b = (rows(s.tensor(keras.ops.convert_to_tensor(one))) for one in held)
            b, c = b if b.ndim == 2 else (b, torch.zeros_like(b))
            x = s.tensor(sequences)
            h = torch.zeros(1, len(x), layer.units, dtype=x.dtype)
            start, run = ((h, h), torch.lstm) if parts == 4 else (h, torch.gru)
            outputs, *states = run(x, start, [w.T, u.T, b, c], True, 1, 0.0, False, False, True)
            found = outputs if layer.return_sequences else outputs[:, -1]
            return (found, *(one[0] for one in states)) if layer.return_state else found

        return compute

    return translation


NN, NUMPY, MATH = backend.nn, backend.numpy, backend.math
PLACES: dict[tuple[Any, str], Callable[..., Any]] = {
    (NN, "gelu"): gelu,
    (NN, "sigmoid"): unary(torch.sigmoid),
    (NN, "hard_sigmoid"): unary(F.hardsigmoid),
    (NN, "leaky_relu"): leaky_relu,
    (NN, "softmax"): softmax,
    (NN, "log_softmax"): log_softmax,
    (NN, "conv"): convolution,
    (NN, "max_pool"): pool("max"),
    (NN, "average_pool"): pool("avg"),
    (NN, "batch_normalization"): batch_normalization,
    (NN, "dot_product_attention"): attention,
    (layer_operations, "_layer_normalization"): layer_normalization,
    (keras.layers.GRU, "call"): gated(3, (1, 0, 2)),
    (keras.layers.LSTM, "call"): gated(4, (0, 1, 2, 3)),
    (NUMPY, "add"): add,
    (NUMPY, "matmul"): matmul,
    (NUMPY, "sqrt"): unary(torch.sqrt),
    (NUMPY, "log"): unary(torch.log),
    (NUMPY, "reshape"): reshape,
    (NUMPY, "take"): take,
    (MATH, "rsqrt"): unary(torch.rsqrt),
    **{(NUMPY, name): reduction(name) for name in ("mean", "sum", "var", "std")},
}


class KerasOperations:
    def to_array(self, value: Any) -> np.ndarray:
        return np.asarray(keras.ops.convert_to_numpy(value))

    def to_native(self, array: np.ndarray) -> Any:
        return keras.ops.convert_to_tensor(array)

    @contextmanager
    def replaced(self, wrap: Any) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(replacing(PLACES, wrap))
            if BACKEND == "jax":
                import jax

                stack.enter_context(jax.disable_jit())
            yield


OPERATIONS = KerasOperations()
