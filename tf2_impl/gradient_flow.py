"""How much gradient reaches each layer: the mean of |gradient| over each weight, biases left out.

    flow(W)     = Σ |∂loss/∂W| / (number of entries of W)
    flow(table) = the same over the rows whose gradient is not all zeros

An embedding table has rows for every id, and a batch has few of them: a mean over the whole table
would call a healthy one blocked, the larger the sooner.

One bar for each weight. A layer that blocks the way back has almost none for several steps, and
so have the layers before it.

Source: seed topic, the flow of the gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import keras
import tensorflow as tf

from numpy_infer.gradient_flow import blocked_layers, plot_gradient_flow
from tf2_impl.support.optimizer import sum_rows
from tf2_impl.support.precision import single, widened

__all__ = ["blocked_layers", "gradient_flow", "plot_gradient_flow", "write_gradient_flow"]

Flow: TypeAlias = Mapping[str, tf.Tensor | float]
Gradient: TypeAlias = tf.Tensor | tf.IndexedSlices | None
Variable: TypeAlias = keras.Variable | tf.Variable


def gradient_flow(
    gradients: Sequence[Gradient], variables: Sequence[Variable]
) -> dict[str, tf.Tensor]:
    """{layer: mean |gradient|}, scalars, in the order of the variables.

    gradients: what a tape gives for the variables, such as `model.trainable_variables`. A weight
    whose gradient is None counts as 0: it is blocked. The mean of an embedding table runs over the
    rows whose gradient is not all zeros: of what is called table or embeddings, or has
    IndexedSlices. Every bias is left out: what is called shift or beta, or has the word bias in its
    own name (bias, input_bias). `encoder/kernel` is the layer `encoder`, and so is
    `encoder/weight`; any other path is whole, so a GRU has a bar for each of its weights. Paths
    that occur twice are numbered. Works in a `tf.function`, but XLA has no place for an
    IndexedSlices; no value moves to the host before it is read. ValueError for another number of
    gradients than of variables, and when there is no weight that is trained.
    """
    if len(gradients) != len(variables):
        raise ValueError(
            f"gradients: expected one for each of {len(variables)} variables, got {len(gradients)}"
        )
    pairs = [
        (variable, gradient)
        for variable, gradient in zip(variables, gradients, strict=True)
        if not _is_bias(_path(variable))
    ]
    if not pairs:
        raise ValueError("variables: expected a trained weight that is no bias, got none")
    names = _layer_names([_path(variable) for variable, _ in pairs])
    means = [_mean_magnitude(gradient, variable) for variable, gradient in pairs]
    return dict(zip(names, means, strict=True))


def write_gradient_flow(
    writer: tf.summary.SummaryWriter, flow: Flow, step: int | tf.Tensor
) -> None:
    """A TensorBoard scalar `gradient_flow/LAYER` for each layer, at a step of the training.

    Works in a `tf.function`. ValueError for a flow without layers.
    """
    if not flow:
        raise ValueError("flow: expected at least one layer, got none")
    with writer.as_default():
        for name, value in flow.items():
            tf.summary.scalar(f"gradient_flow/{name}", value, step=step)


def _mean_magnitude(gradient: Gradient, variable: Variable) -> tf.Tensor:
    if gradient is None:
        return tf.zeros((), single(variable.dtype))
    is_table = _path(variable).split("/")[-1] in ("table", "embeddings")
    if isinstance(gradient, tf.IndexedSlices):
        # The rows of an id that came several times add up before their sizes are taken.
        rows = tf.IndexedSlices(widened(gradient.values), gradient.indices, gradient.dense_shape)
        gradient, is_table = sum_rows(rows).values, True
    gradient = widened(gradient)
    if not is_table:
        return tf.reduce_mean(tf.abs(gradient))
    sizes = tf.reduce_mean(tf.abs(gradient), axis=list(range(1, gradient.shape.rank)))  # (rows,)
    touched = tf.math.count_nonzero(sizes, dtype=sizes.dtype)
    return tf.reduce_sum(sizes) / tf.maximum(touched, 1)


def _path(variable: Variable) -> str:
    """Where a variable of Keras is, or the name of one of TensorFlow's own."""
    return getattr(variable, "path", None) or variable.name.removesuffix(":0")


def _layer_names(paths: Sequence[str]) -> list[str]:
    """A path without the name of a layer's weight; numbered where several are the same."""
    names = [path.removesuffix("/kernel").removesuffix("/weight") for path in paths]
    return [
        f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def _is_bias(path: str) -> bool:
    own = path.split("/")[-1]
    return own in ("beta", "shift") or "bias" in own.split("_")
