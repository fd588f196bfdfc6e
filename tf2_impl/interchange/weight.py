"""The weights of Keras's layers under their canonical names and in that layout.

Keras keeps a convolution's kernel as (*kernel, in, out), a transposed one's as (*kernel, out, in),
and a GRU's gates in the order update, reset, candidate with both biases in one variable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

Convert = Callable[[np.ndarray], np.ndarray]


def _as_is(array: np.ndarray) -> np.ndarray:
    return array


class Weight(NamedTuple):
    """A variable, or one row of it, and its way to the canonical layout and back.

    A layer without scale or shift has the array that stands for it. fixed: what the first rows of
    the canonical array must be.
    """

    variable: keras.Variable | np.ndarray
    to_canonical: Convert = _as_is
    from_canonical: Convert = _as_is
    row: int | None = None
    fixed: np.ndarray | None = None

    def read(self) -> np.ndarray:
        """The canonical array, maybe in the variable's own memory."""
        if isinstance(self.variable, np.ndarray):
            return self.to_canonical(self.variable)
        value = self.variable.numpy()
        return self.to_canonical(value if self.row is None else value[self.row])

    def write(self, array: np.ndarray) -> None:
        """Overwrite the variable with a canonical array, which fits."""
        if isinstance(self.variable, np.ndarray):
            return
        value = self.from_canonical(array)
        if self.row is not None:
            rows = self.variable.numpy().copy()
            rows[self.row] = value
            value = rows
        self.variable.assign(value)

    def reordered(self, order: np.ndarray) -> Weight:
        """The weight whose canonical rows come in another order: row i is the old row order[i]."""
        back = np.argsort(order)
        fixed = None if self.fixed is None else self.fixed[order]
        return self._replace(
            to_canonical=lambda array: self.to_canonical(array)[order],
            from_canonical=lambda array: self.from_canonical(array[back]),
            fixed=fixed,
        )


def _affine(layer: Any, *axes: int) -> dict[str, Weight]:
    """axes: the native axes in canonical order."""
    back = np.argsort(axes)
    weight = Weight(layer.kernel, lambda a: a.transpose(axes), lambda a: a.transpose(back))
    return (
        {"weight": weight} if layer.bias is None else {"weight": weight, "bias": Weight(layer.bias)}
    )


def dense(layer: Any) -> dict[str, Weight]:
    """The kernel as it is."""
    return _affine(layer, 0, 1)


def convolution(layer: Any) -> dict[str, Weight]:
    """(*kernel, in, out) as (out, in, *kernel); a transposed one's as (in, out, *kernel)."""
    space = range(len(layer.kernel_size))
    return _affine(layer, len(space) + 1, len(space), *space)


def depthwise_convolution(layer: Any) -> dict[str, Weight]:
    """(*kernel, channels, multiplier) as (channels · multiplier, 1, *kernel)."""
    weight = _depthwise(layer.kernel)
    return {"weight": weight} | ({} if layer.bias is None else {"bias": Weight(layer.bias)})


def separable_convolution(layer: Any) -> list[dict[str, Weight]]:
    """Of the depthwise convolution without bias, then of the one over single places with it."""
    rank = len(layer.kernel_size)
    axes = (rank + 1, rank, *range(rank))
    back = np.argsort(axes)
    point = {
        "weight": Weight(
            layer.pointwise_kernel, lambda a: a.transpose(axes), lambda a: a.transpose(back)
        )
    }
    if layer.bias is not None:
        point["bias"] = Weight(layer.bias)
    return [{"weight": _depthwise(layer.depthwise_kernel)}, point]


def _depthwise(kernel: keras.Variable) -> Weight:
    *space, channels, multiplier = kernel.shape
    rank = len(space)

    def to_canonical(array: np.ndarray) -> np.ndarray:
        last = array.transpose(rank, rank + 1, *range(rank))
        return last.reshape(channels * multiplier, 1, *space)

    def from_canonical(array: np.ndarray) -> np.ndarray:
        first = array.reshape(channels, multiplier, *space)
        return first.transpose(*range(2, rank + 2), 0, 1)

    return Weight(kernel, to_canonical, from_canonical)


def _normalization(layer: Any, shape: tuple[int, ...]) -> dict[str, Weight]:
    found = {}
    for name, variable, neutral in (("scale", layer.gamma, 1), ("shift", layer.beta, 0)):
        if variable is None:
            value = np.full(shape, neutral, layer.variable_dtype)
            found[name] = Weight(value, fixed=value)
        else:
            found[name] = Weight(variable)
    return found


def affine(layer: Any) -> dict[str, Weight]:
    """Scale and shift."""
    shift = {} if layer.shift is None else {"shift": Weight(layer.shift)}
    return {"scale": Weight(layer.scale), **shift}


def layer_scale(layer: Any) -> dict[str, Weight]:
    """The scale of a residual branch."""
    return {"scale": Weight(layer.gamma)}


def standardization(layer: Any) -> dict[str, Weight]:
    """1/deviation and −mean/deviation of `keras.layers.Normalization`, which are not to be set.

    Its mean and its variance are what `adapt` found, or arguments of its constructor.
    """
    dtype = layer.compute_dtype
    mean, variance = (
        keras.ops.convert_to_numpy(one).ravel() for one in (layer.mean, layer.variance)
    )
    deviation = np.maximum(np.sqrt(variance.astype("float64")), keras.backend.epsilon())
    scale = (1 / deviation).astype(dtype)
    shift = (-mean.astype("float64") / deviation).astype(dtype)
    return {"scale": Weight(scale, fixed=scale), "shift": Weight(shift, fixed=shift)}


def batch_norm(layer: Any) -> dict[str, Weight]:
    """Scale, shift, mean and variance; ones and zeros for a scale and shift that are left out."""
    mean, variance = layer.moving_mean, layer.moving_variance
    found = _normalization(layer, tuple(mean.shape))
    return {**found, "mean": Weight(mean), "variance": Weight(variance)}


def layer_norm(layer: Any) -> dict[str, Weight]:
    """Scale and shift; ones and zeros where they are left out."""
    return _normalization(layer, tuple(layer.get_build_config()["input_shape"][-1:]))


def group_norm(layer: Any) -> dict[str, Weight]:
    """Scale and shift; ones and zeros where they are left out."""
    return _normalization(layer, tuple(layer.get_build_config()["input_shape"][-1:]))


def rms_norm(layer: Any) -> dict[str, Weight]:
    """Scale."""
    return {"scale": Weight(layer.scale)}


def prelu(layer: Any) -> dict[str, Weight]:
    """A slope for each channel, or one; Keras's own keeps the axes that share it."""
    slope = layer.alpha if isinstance(layer, keras.layers.PReLU) else layer.slope
    shape = slope.shape
    return {"slope": Weight(slope, lambda a: a.reshape(-1), lambda a: a.reshape(shape))}


def embedding(layer: Any) -> dict[str, Weight]:
    """The table."""
    return {"table": Weight(layer.embeddings)}


def padded_embedding(layer: Any) -> dict[str, Weight]:
    """The table, whose row 0 must be zero."""
    return {"table": Weight(layer.table, fixed=np.zeros((1, layer.dim), layer.variable_dtype))}


def swap_gates(array: np.ndarray) -> np.ndarray:
    """The order update, reset, candidate on the last axis to reset, update, candidate, or back."""
    first, second, third = np.split(array, 3, axis=-1)
    return np.concatenate([second, first, third], axis=-1)


def gru(layer: Any) -> dict[str, Weight]:
    """The arrays of one direction, its gates in the canonical order."""
    cell = layer.cell
    parts: list[tuple[str, keras.Variable, int | None]] = [
        ("input_weight", cell.kernel, None),
        ("hidden_weight", cell.recurrent_kernel, None),
    ]
    if cell.bias is not None:
        parts += [("input_bias", cell.bias, 0), ("hidden_bias", cell.bias, 1)]
    return {name: Weight(variable, swap_gates, swap_gates, row) for name, variable, row in parts}


def lstm(layer: Any) -> dict[str, Weight]:
    """The arrays of one direction; Keras's gates i, f, c, o are the canonical i, f, g, o."""
    cell = layer.cell
    found = {"input_weight": Weight(cell.kernel), "hidden_weight": Weight(cell.recurrent_kernel)}
    return found if cell.bias is None else {**found, "bias": Weight(cell.bias)}


def bidirectional(layer: Any) -> dict[str, Weight]:
    """The arrays of both directions."""
    one_way = lstm if isinstance(layer.forward_layer, keras.layers.LSTM) else gru
    backward = one_way(layer.backward_layer)
    return {
        **one_way(layer.forward_layer),
        **{f"backward.{name}": weight for name, weight in backward.items()},
    }
