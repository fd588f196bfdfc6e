"""How much gradient reaches each layer, to find the layer that blocks the way back.

    flow(W)     = Σ |∂loss/∂W| / (number of entries of W)
    flow(table) = the same over the rows whose gradient is not all zeros

There is one number for each weight; biases are left out. A layer that blocks the error signal has
almost no flow for several steps, and so have the layers before it.

A batch looks up few rows of an embedding table, and the others have a gradient of zero. The mean
over the whole table would call a healthy table blocked, the more so the larger it is.

Source: a common way to debug deep networks, bars of the mean absolute gradient of each layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import keras
import tensorflow as tf

from numpy_infer.gradient_flow import blocked_layers, plot_gradient_flow
from numpy_infer.support.layer_names import is_bias, layer_names
from tf2_impl.support.optimizer import sum_rows
from tf2_impl.support.precision import single, widened

__all__ = ["blocked_layers", "gradient_flow", "plot_gradient_flow", "write_gradient_flow"]

Flow: TypeAlias = Mapping[str, tf.Tensor | float]
Gradient: TypeAlias = tf.Tensor | tf.IndexedSlices | None
Variable: TypeAlias = keras.Variable | tf.Variable


def gradient_flow(
    gradients: Sequence[Gradient], variables: Sequence[Variable]
) -> dict[str, tf.Tensor]:
    """The mean |gradient| of each layer.

        flow(W)     = Σ |∂loss/∂W| / (number of entries of W)
        flow(table) = the same over the rows whose gradient is not all zeros

    1. A weight whose gradient is None counts as 0: it is blocked.
    2. A table is a variable that is called table or embeddings, or one with IndexedSlices.
    3. Biases are left out. A bias is called shift or beta, or has the word bias in its own name
       (bias, input_bias).

    It works in a `tf.function`, but XLA has no place for IndexedSlices.

    Args:
        gradients: as a tape gives them for the variables.
        variables: the weights, such as `model.trainable_variables`.
    Returns:
        {layer: mean |gradient|}, scalars, in the order of the variables. `encoder/kernel` is the
        layer `encoder`, and so is `encoder/weight`; any other path is whole, so a GRU has one entry
        for each of its weights. Paths that occur twice are numbered. No value moves to the host
        before it is read.
    Raises:
        ValueError: another number of gradients than of variables, no weight that is trained.
    Example:
        >>> variable = tf.Variable(tf.ones((3, 1)), name="encoder/kernel")
        >>> flow = gradient_flow([tf.fill((3, 1), -2.0)], [variable])
        >>> {name: float(value) for name, value in flow.items()}
        {'encoder': 2.0}
    """
    if len(gradients) != len(variables):
        raise ValueError(
            f"gradients: expected one for each of {len(variables)} variables, got {len(gradients)}"
        )
    pairs = [
        (variable, gradient)
        for variable, gradient in zip(variables, gradients, strict=True)
        if not is_bias(_path(variable).split("/")[-1])
    ]
    if not pairs:
        raise ValueError("variables: expected a trained weight that is no bias, got none")
    names = layer_names([_path(variable) for variable, _ in pairs], ["/kernel", "/weight"])
    means = [_mean_magnitude(gradient, variable) for variable, gradient in pairs]
    return dict(zip(names, means, strict=True))


def write_gradient_flow(
    writer: tf.summary.SummaryWriter, flow: Flow, step: int | tf.Tensor
) -> None:
    """Write a flow to TensorBoard: a scalar `gradient_flow/LAYER` for each layer.

    It works in a `tf.function`.

    Args:
        writer: as from `tf.summary.create_file_writer`.
        flow: {layer: mean |gradient|}, as from `gradient_flow`.
        step: the step of the training.
    Raises:
        ValueError: for a flow without layers.
    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     writer = tf.summary.create_file_writer(folder)
        ...     write_gradient_flow(writer, {"encoder": 0.2, "head": 0.5}, step=1)
        ...     writer.close()
    """
    if not flow:
        raise ValueError("flow: expected at least one layer, got none")
    with writer.as_default():
        for name, value in flow.items():
            tf.summary.scalar(f"gradient_flow/{name}", value, step=step)


def _mean_magnitude(gradient: Gradient, variable: Variable) -> tf.Tensor:
    """The flow of one weight: the formula at the top of this file."""
    if gradient is None:
        return tf.zeros((), single(variable.dtype))
    is_table = _path(variable).split("/")[-1] in ("table", "embeddings")
    if isinstance(gradient, tf.IndexedSlices):
        # An id that occurs several times has several rows: sum them before taking magnitudes.
        rows = tf.IndexedSlices(widened(gradient.values), gradient.indices, gradient.dense_shape)
        gradient, is_table = sum_rows(rows).values, True
    gradient = widened(gradient)
    if not is_table:
        return tf.reduce_mean(tf.abs(gradient))
    sizes = tf.reduce_mean(tf.abs(gradient), axis=list(range(1, gradient.shape.rank)))  # (rows,)
    touched = tf.math.count_nonzero(sizes, dtype=sizes.dtype)
    return tf.reduce_sum(sizes) / tf.maximum(touched, 1)


def _path(variable: Variable) -> str:
    """The path of a Keras variable, or the name of a tf.Variable."""
    return getattr(variable, "path", None) or variable.name.removesuffix(":0")
