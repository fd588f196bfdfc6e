"""Chains that are not tied to the shape or the dtype of what they were first called with.

A model file says of many chains neither how many axes their input has nor, without arrays, of
which dtype it is. `keras.Sequential` without a `keras.Input` takes both from its first call: it
refuses other ranks afterwards, casts what it is given, makes sparse input dense, and what is saved
of it would depend on that call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("fourfold")
class DTypeOfInput(keras.DTypePolicy):
    """The policy of layers without weights that compute in the dtype of their input.

    Keras's own policies cast it. The name, float32 or float64, is that of what they are given
    where no dtype comes with it.
    """

    def _should_cast(self, x: Any, autocast: bool, dtype: str) -> bool:
        return False


class _Open:
    """What casts nothing by itself; each layer has a dtype of its own, or that of its input.

    No keras.Model: of a functional model Keras exchanges the bases of all its classes.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.autocast = False

    def get_config(self: Any) -> dict[str, Any]:
        # Keras keeps no more of a layer's policy than its name.
        open_dtype = all(isinstance(one.dtype_policy, DTypeOfInput) for one in self.layers[-1:])
        return {**super().get_config(), "open_dtype": open_dtype}  # type: ignore[misc]

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        own = dict(config)
        open_dtype = own.pop("open_dtype")
        model: Any = super().from_config(own, custom_objects)  # type: ignore[misc]
        for layer in model.layers if open_dtype else ():
            layer.dtype_policy = DTypeOfInput(layer.dtype_policy.name)
        return model


@keras.saving.register_keras_serializable("fourfold")
class OpenSequential(_Open, keras.Sequential):
    """A `keras.Sequential` whose layers take what they are given, each call anew.

    The layers are built; no graph of the first call is kept.
    """

    def build(self, input_shape: Any = None) -> None:
        """Nothing: the layers are built each by itself."""


@keras.saving.register_keras_serializable("fourfold")
class OpenModel(_Open, keras.Model):
    """A functional model that computes in the dtype of its input; its layers have no weights."""

    def _convert_inputs_to_tensors(self, flat_inputs: Sequence[Any]) -> list[tf.Tensor]:
        return [keras.ops.convert_to_tensor(one) for one in flat_inputs]
