"""TensorFlow's operations in PyTorch: those of tf.nn, tf.math and its tensors, run eagerly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
import torch
import torch.nn.functional as F

from fourfold.ports.in_torch.operations import convolved, pooled, reduced, scalar
from fourfold.ports.in_torch.patching import replacing


def add(s: Any, x: Any, y: Any, name: Any = None) -> Any:
    other = scalar(s, y)
    return lambda: torch.add(s.tensor(x), other)


def matmul(s: Any, x: Any, y: Any) -> Any:
    return lambda: torch.matmul(s.tensor(x), s.tensor(y))


def unary(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda s, x, name=None: lambda: function(s.tensor(x))


def reduction(name: str) -> Callable[..., Any]:
    def translation(s: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return lambda: reduced(name, s.tensor(x), axis, keepdims)

    return translation


def gelu(s: Any, features: Any, approximate: bool = False, name: Any = None) -> Any:
    return lambda: F.gelu(s.tensor(features), approximate="tanh" if approximate else "none")


def leaky_relu(s: Any, features: Any, alpha: float = 0.2, name: Any = None) -> Any:
    return lambda: F.leaky_relu(s.tensor(features), alpha)


def softmax(s: Any, logits: Any, axis: Any = None, name: Any = None) -> Any:
    return lambda: torch.softmax(s.tensor(logits), -1 if axis is None else axis)


def log_softmax(s: Any, logits: Any, axis: Any = None, name: Any = None) -> Any:
    return lambda: torch.log_softmax(s.tensor(logits), -1 if axis is None else axis)


def convolution(
    s: Any, input: Any, filters: Any, strides: Any, padding: Any, dilations: Any = None
) -> Any:
    return lambda: convolved(s.tensor(input), s.tensor(filters), strides, padding, dilations or 1)


def pool(kind: str) -> Callable[..., Any]:
    def translation(s: Any, input: Any, ksize: Any, strides: Any, padding: Any) -> Any:
        return lambda: pooled(kind, s.tensor(input), ksize, strides, padding)

    return translation


def reshape(s: Any, tensor: Any, shape: Any) -> Any:
    return lambda: s.tensor(tensor).reshape(tuple(map(int, shape)))


def gather(s: Any, params: Any, indices: Any) -> Any:
    if len(params.shape) != 2:
        return None
    return lambda: F.embedding(s.tensor(indices).long(), s.tensor(params))


PLACES: dict[tuple[Any, str], Callable[..., Any]] = {
    (tf.Tensor, "__add__"): add,
    (tf.Tensor, "__radd__"): add,
    (tf.Tensor, "__matmul__"): matmul,
    (tf, "matmul"): matmul,
    (tf, "add"): add,
    (tf, "sqrt"): unary(torch.sqrt),
    (tf, "reshape"): reshape,
    (tf, "gather"): gather,
    (tf, "sigmoid"): unary(torch.sigmoid),
    (tf.math, "log"): unary(torch.log),
    (tf.math, "rsqrt"): unary(torch.rsqrt),
    (tf.nn, "gelu"): gelu,
    (tf.nn, "leaky_relu"): leaky_relu,
    (tf.nn, "softmax"): softmax,
    (tf.nn, "log_softmax"): log_softmax,
    (tf.nn, "conv1d"): convolution,
    (tf.nn, "conv2d"): convolution,
    (tf.nn, "max_pool2d"): pool("max"),
    (tf.nn, "avg_pool2d"): pool("avg"),
    (tf, "reduce_mean"): reduction("mean"),
    (tf, "reduce_sum"): reduction("sum"),
    (tf.math, "reduce_variance"): reduction("var"),
    (tf.math, "reduce_std"): reduction("std"),
}


class TensorFlowOperations:
    def to_array(self, value: Any) -> np.ndarray:
        return np.asarray(tf.convert_to_tensor(value).numpy())

    def to_native(self, array: np.ndarray) -> Any:
        return tf.constant(array)

    @contextmanager
    def replaced(self, wrap: Any) -> Iterator[None]:
        eager = tf.config.functions_run_eagerly()
        tf.config.run_functions_eagerly(True)
        try:
            with replacing(PLACES, wrap):
                yield
        finally:
            tf.config.run_functions_eagerly(eager)


OPERATIONS = TensorFlowOperations()
