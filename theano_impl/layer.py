"""What every Theano layer has: symbolic inputs, parameters and an output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import theano
from theano.compile.sharedvalue import SharedVariable
from theano.tensor.var import TensorVariable


class Layer:
    """Base of the components that are built on symbolic variables.

    `.inputs` are the variables it was built on, `.output` what it computes, `.params` its
    shared variables, each under its canonical name, and `.config` its constructor arguments.
    """

    output: TensorVariable

    def __init__(self, *inputs: TensorVariable, config: Mapping[str, Any]) -> None:
        self.inputs = list(inputs)
        self.config = dict(config)
        self.params: list[SharedVariable] = []

    def add_param(self, name: str, value: np.ndarray) -> SharedVariable:
        """A new parameter, in Theano's `floatX`."""
        param = theano.shared(value.astype(theano.config.floatX), name=name)
        self.params.append(param)
        return param

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        """Fresh variables of the kind that the layer is built on."""
        raise NotImplementedError
