"""Where the weights of Keras's layers are, under their canonical names and in that layout.

Keras keeps a convolution's kernel as (*kernel, in, out), a transposed one's as (*kernel, out, in),
and a GRU's gates in the order update, reset, candidate with both biases in one variable. All
others, and the variables that a component owns itself, are canonical as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from tf2_impl.layers.convolution import Convolution, TransposedConvolution
from tf2_impl.layers.embedding import Embedding
from tf2_impl.layers.normalization import BatchNorm
from tf2_impl.layers.recurrent import BackwardGRU

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D)
TRANSPOSED_CONVOLUTIONS = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose)
BATCH_NORMS = (keras.layers.BatchNormalization, BatchNorm)
GRUS = (keras.layers.GRU, BackwardGRU)

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
            return self.variable
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


def weights(layer: keras.Layer) -> dict[str, Weight]:
    """The weights of a layer, or of a component and the layers in it, {canonical name: weight}.

    A layer of a component has its path before the name: `encoder.weight`.
    """
    found: dict[str, Weight] = {}
    seen: set[int] = set()

    def walk(value: Any, path: str) -> None:
        if isinstance(value, keras.Variable):
            found[path] = Weight(value)
        elif isinstance(value, list | tuple):
            for place, one in enumerate(value):
                walk(one, f"{path}.{place}")
        elif isinstance(value, keras.Layer) and id(value) not in seen:
            seen.add(id(value))
            own = layer_weights(value)
            for name, one in _children(value) if own is None else own.items():
                if isinstance(one, Weight):
                    found[f"{path}.{name}".lstrip(".")] = one
                else:
                    walk(one, f"{path}.{name}".lstrip("."))

    walk(layer, "")
    return found


def layer_weights(layer: keras.Layer) -> dict[str, Weight] | None:
    """The weights of one of Keras's layers, which has been built; None for any other."""
    for kind in type(layer).__mro__:
        if kind in WEIGHTS:
            return WEIGHTS[kind](layer)
    return None


def _children(layer: keras.Layer) -> Iterator[tuple[str, Any]]:
    if isinstance(layer, keras.Sequential):
        yield from ((str(place), one) for place, one in enumerate(layer.layers))
    else:
        yield from ((name, one) for name, one in vars(layer).items() if name[0] != "_")


def _affine(layer: Any, *axes: int) -> dict[str, Weight]:
    """axes: the native axes in canonical order."""
    back = np.argsort(axes)
    weight = Weight(layer.kernel, lambda a: a.transpose(axes), lambda a: a.transpose(back))
    return (
        {"weight": weight} if layer.bias is None else {"weight": weight, "bias": Weight(layer.bias)}
    )


def _dense(layer: Any) -> dict[str, Weight]:
    return _affine(layer, 0, 1)


def _convolution(layer: Any) -> dict[str, Weight]:
    space = range(len(layer.kernel_size))
    return _affine(layer, len(space) + 1, len(space), *space)


def _normalization(layer: Any, shape: tuple[int, ...]) -> dict[str, Weight]:
    found = {}
    for name, variable, neutral in (("scale", layer.gamma, 1), ("shift", layer.beta, 0)):
        if variable is None:
            value = np.full(shape, neutral, layer.variable_dtype)
            found[name] = Weight(value, fixed=value)
        else:
            found[name] = Weight(variable)
    return found


def _batch_norm(layer: Any) -> dict[str, Weight]:
    mean, variance = layer.moving_mean, layer.moving_variance
    found = _normalization(layer, tuple(mean.shape))
    return {**found, "mean": Weight(mean), "variance": Weight(variance)}


def _layer_norm(layer: Any) -> dict[str, Weight]:
    return _normalization(layer, tuple(layer.get_build_config()["input_shape"][-1:]))


def _embedding(layer: Any) -> dict[str, Weight]:
    return {"table": Weight(layer.embeddings)}


def _padded_embedding(layer: Any) -> dict[str, Weight]:
    return {"table": Weight(layer.table, fixed=np.zeros((1, layer.dim), layer.variable_dtype))}


def swap_gates(array: np.ndarray) -> np.ndarray:
    """The order update, reset, candidate on the last axis to reset, update, candidate, or back."""
    first, second, third = np.split(array, 3, axis=-1)
    return np.concatenate([second, first, third], axis=-1)


def _gru(layer: Any) -> dict[str, Weight]:
    cell = layer.cell
    parts: list[tuple[str, keras.Variable, int | None]] = [
        ("input_weight", cell.kernel, None),
        ("hidden_weight", cell.recurrent_kernel, None),
    ]
    if cell.bias is not None:
        parts += [("input_bias", cell.bias, 0), ("hidden_bias", cell.bias, 1)]
    return {name: Weight(variable, swap_gates, swap_gates, row) for name, variable, row in parts}


def _bidirectional(layer: Any) -> dict[str, Weight]:
    backward = _gru(layer.backward_layer)
    return {
        **_gru(layer.forward_layer),
        **{f"backward.{name}": weight for name, weight in backward.items()},
    }


WEIGHTS: dict[type[keras.Layer], Callable[[Any], dict[str, Weight]]] = {
    keras.layers.Dense: _dense,
    **dict.fromkeys((*CONVOLUTIONS, Convolution), _convolution),
    **dict.fromkeys((*TRANSPOSED_CONVOLUTIONS, TransposedConvolution), _convolution),
    **dict.fromkeys(BATCH_NORMS, _batch_norm),
    keras.layers.LayerNormalization: _layer_norm,
    keras.layers.Embedding: _embedding,
    Embedding: _padded_embedding,
    **dict.fromkeys(GRUS, _gru),
    keras.layers.Bidirectional: _bidirectional,
}
