"""A loss with a temperature T that may be a parameter: −log T, so that T stays positive."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from pytorch_impl.support.checks import check_dtype, check_flag, check_floating, check_number
from pytorch_impl.support.precision import FullPrecision

LARGEST_LOG = 32.0  # |log T| of a learned temperature: float32 holds D / T up to there


class LearnedTemperature(FullPrecision):
    """The base of a loss of embeddings; options are its arguments besides the temperature."""

    def __init__(
        self, temperature: float, learn_temperature: bool, options: dict[str, Any]
    ) -> None:
        super().__init__()
        temperature = check_number("temperature", temperature, above=0)
        learn_temperature = check_flag("learn_temperature", learn_temperature)
        self.config = {"temperature": temperature, "learn_temperature": learn_temperature}
        self.config |= options
        if learn_temperature:
            self.log_inverse_temperature = nn.Parameter(torch.tensor(-math.log(temperature)))

    def options(self, embeddings: Tensor) -> dict[str, Any]:
        """The options of the loss of these embeddings, with the temperature as it is now."""
        options = dict(self.config)
        if options.pop("learn_temperature"):
            check_floating("embeddings", embeddings)
            check_dtype("embeddings", embeddings, self.log_inverse_temperature.dtype)
            options["temperature"] = 1 / self.inverse_temperature
        return options

    @property
    def inverse_temperature(self) -> Tensor:
        """1/T when it is learned: positive whatever the parameter is."""
        return self.log_inverse_temperature.clamp(-LARGEST_LOG, LARGEST_LOG).exp()
