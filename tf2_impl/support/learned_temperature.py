"""A loss with a temperature T that may be a weight: −log T, so that T stays positive."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tf2_impl.support.checks import check_dtype, check_flag, check_floating, check_number
from tf2_impl.support.layer import Layer
from tf2_impl.support.precision import single

LARGEST_LOG = 32.0  # |log T| of a learned temperature: float32 holds D / T up to there


class LearnedTemperature(Layer):
    """The base of a loss of embeddings; options are its arguments besides the temperature."""

    def __init__(
        self, temperature: float, learn_temperature: bool, options: dict[str, Any], **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        temperature = check_number("temperature", temperature, above=0)
        learn_temperature = check_flag("learn_temperature", learn_temperature)
        self.config = {"temperature": temperature, "learn_temperature": learn_temperature}
        self.config |= options
        if learn_temperature:
            self.log_inverse_temperature = self.add_weight(
                shape=(),
                initializer=keras.initializers.Constant(-math.log(temperature)),
                dtype=single(self.variable_dtype).name,
                autocast=False,
                name="log_inverse_temperature",
            )

    def options(self, embeddings: tf.Tensor) -> dict[str, Any]:
        """The options of the loss of these embeddings, with the temperature as it is now."""
        options = dict(self.config)
        if options.pop("learn_temperature"):
            check_floating("embeddings", embeddings)
            check_dtype("embeddings", embeddings, self.log_inverse_temperature.dtype)
            options["temperature"] = 1 / self.inverse_temperature
        return options

    @property
    def inverse_temperature(self) -> tf.Tensor:
        """1/T when it is learned: positive whatever the weight is."""
        logarithm = tf.convert_to_tensor(self.log_inverse_temperature)
        return tf.exp(tf.clip_by_value(logarithm, -LARGEST_LOG, LARGEST_LOG))
