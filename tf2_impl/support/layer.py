"""The base of the package's layers: shapes and dtypes of symbolic calls are found by tracing."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class Layer(keras.layers.Layer):
    """A Keras layer that knows the shape of its output by its `call` alone.

    A subclass may set `config`, a dictionary of its constructor's arguments, which Keras saves.

    Keras has either the shape from `compute_output_shape`, and then believes every output to be
    of the layer's compute dtype, or the dtypes by tracing, and then no `compute_output_shape`,
    which wrappers such as `keras.layers.TimeDistributed` ask for. Here both come from tracing.
    """

    config: dict[str, Any]
    symbolic_dtype: str | None = None  # of the input; the compute dtype when None

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Shapes and dtypes of the outputs of a symbolic call."""
        return keras.Operation.compute_output_spec(self, *args, **kwargs)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> Any:
        """The shape of each output for an input of this shape."""
        if not self.built:
            self.build(input_shape)
        x = keras.KerasTensor(input_shape, dtype=self.symbolic_dtype or self.compute_dtype)
        return tf.nest.map_structure(lambda one: one.shape, self.compute_output_spec(x))

    def get_config(self) -> dict[str, Any]:
        """What Keras saves of the layer: the arguments of its constructor."""
        return {**super().get_config(), **getattr(self, "config", {})}
