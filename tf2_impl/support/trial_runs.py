"""Runs of a model for the sanity checks, after which the model is as it was before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def check_model(model: keras.Layer, batch: Sequence[Any]) -> None:
    """TypeError for what is no layer or no list, ValueError for no weights or no rows."""
    if not isinstance(model, keras.Layer):
        raise TypeError(f"model: expected a Keras model or layer, got {type(model).__name__}")
    if not (model.built or model.weights):  # a Sequential of built layers need not be built
        raise ValueError("model: expected one that is built, got one that has seen no input")
    if not isinstance(batch, list | tuple):
        raise TypeError(f"batch: expected a list or a tuple, got {type(batch).__name__}")
    if not batch:
        raise ValueError("batch: expected at least one array, got none")
    for shape in (tuple(getattr(one, "shape", ())) for one in batch):
        if shape and shape[0] == 0:
            raise ValueError(f"batch: expected at least one row, got shape {shape}")


@contextmanager
def unchanged(model: keras.Layer) -> Iterator[None]:
    """Whatever runs inside, the variables of a model are afterwards as they were."""
    values = [(variable, variable.numpy()) for variable in model.variables]
    try:
        yield
    finally:
        for variable, value in values:
            variable.assign(value)


def loss_and_gradients(
    model: keras.Layer, compute_loss: Callable[..., tf.Tensor], batch: Sequence[Any]
) -> tuple[tf.Tensor, list[tf.Tensor | tf.IndexedSlices | None]]:
    """The loss, and the gradient of each trainable variable, None where there is none."""
    variables = len(model.variables)
    with tf.GradientTape() as tape:
        loss = compute_loss(model, *batch)
    if len(model.variables) != variables:
        raise ValueError(
            "model: expected one that is built, got one that makes weights when called"
        )
    if not isinstance(loss, tf.Tensor):
        raise TypeError(f"compute_loss: expected a tf.Tensor, got {type(loss).__name__}")
    if loss.shape.rank:
        raise ValueError(f"compute_loss: expected one number, got shape {tuple(loss.shape)}")
    return loss, tape.gradient(loss, [one.value for one in model.trainable_variables])


def measure(
    model: keras.Layer,
    compute_loss: Callable[..., tf.Tensor],
    batch: Sequence[Any],
    moved: Mapping[int, np.ndarray],
) -> tuple[float, list[float | None]]:
    """The loss and the largest |gradient| of each variable, with some variables moved."""
    with unchanged(model):
        for index, value in moved.items():
            model.trainable_variables[index].assign(value)
        loss, gradients = loss_and_gradients(model, compute_loss, batch)
    return float(loss), [_largest(gradient) for gradient in gradients]


def _largest(gradient: tf.Tensor | tf.IndexedSlices | None) -> float | None:
    """The largest absolute entry; NaN where there is one, None without a gradient."""
    # NumPy's: a maximum of TensorFlow's may pass over NaN.
    return None if gradient is None else float(np.abs(to_array(gradient)).max(initial=0))


def is_finite(x: Any) -> bool:
    """False for a tensor that holds NaN or infinity; True for no tensor, and for none."""
    if not hasattr(x, "dtype"):
        return True
    x = _entries(x)
    return not x.dtype.is_floating or bool(tf.reduce_all(tf.math.is_finite(x)))


def _entries(x: Any) -> tf.Tensor:
    """All entries of a dense tensor, the stored ones of a sparse or ragged one."""
    if isinstance(x, tf.RaggedTensor):
        return x.flat_values
    sparse = isinstance(x, tf.IndexedSlices | tf.SparseTensor)
    return tf.convert_to_tensor(x.values if sparse else x)


def to_number(name: str, x: tf.Tensor | np.ndarray | float) -> float:
    """A number, or a tensor or an array without axes, as a float."""
    if not isinstance(x, tf.Tensor | np.ndarray | Real):
        raise TypeError(f"{name}: expected a number, got {type(x).__name__}")
    if not isinstance(x, Real) and x.ndim:
        raise ValueError(f"{name}: expected one number, got shape {tuple(x.shape)}")
    return float(x)


def to_array(x: Any) -> Any:
    """The array of a tensor, on the host; NumPy has no bfloat16. None stays None."""
    if x is None:
        return None
    x = _entries(x)
    return (tf.cast(x, tf.float32) if x.dtype == tf.bfloat16 else x).numpy()
