"""A loss with a temperature T that may be a parameter: −log T, so that T stays positive."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import check_dtype, check_flag, check_number
from theano_impl.support.layer import Layer

LARGEST_LOG = 32.0  # |log T| of a learned temperature: float32 holds D / T up to there


class LearnedTemperature(Layer):
    """The base of a loss of embeddings; options are its arguments besides the temperature."""

    def __init__(
        self,
        embeddings: TensorVariable,
        labels: TensorVariable,
        temperature: float,
        learn_temperature: bool,
        options: dict[str, Any],
    ) -> None:
        temperature = check_number("temperature", temperature, above=0)
        learn_temperature = check_flag("learn_temperature", learn_temperature)
        config = {"temperature": temperature, "learn_temperature": learn_temperature, **options}
        super().__init__(embeddings, labels, config=config)
        if learn_temperature:
            start = np.array(-math.log(temperature))
            self.log_inverse_temperature = self.add_param("log_inverse_temperature", start)

    def options(self, embeddings: TensorVariable) -> dict[str, Any]:
        """The options of the loss of these embeddings, with the temperature that is learned."""
        options = dict(self.config)
        if options.pop("learn_temperature"):
            check_dtype("embeddings", embeddings, self.log_inverse_temperature.dtype)
            options["temperature"] = 1 / self.inverse_temperature
        return options

    @property
    def inverse_temperature(self) -> TensorVariable:
        """1/T when it is learned: positive whatever the parameter is."""
        logarithm = self.log_inverse_temperature
        limit = np.asarray(LARGEST_LOG, logarithm.dtype)
        return T.exp(T.clip(logarithm, -limit, limit))

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.matrix("embeddings", dtype=dtype), T.lvector("labels")]
