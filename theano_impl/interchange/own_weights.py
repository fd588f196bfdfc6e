"""What loading weights alone needs of a model: its weights by its own names, and its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import theano
from theano.compile.sharedvalue import SharedVariable
from theano.graph.basic import Constant, graph_inputs
from theano.tensor.var import TensorVariable

from numpy_infer.format.weight_loading import Target
from theano_impl.interchange.graph import Graph
from theano_impl.support.layer import Layer


def target(model: Layer | Sequence[Layer], own: Mapping[str, SharedVariable]) -> Target:
    """A model, for `weight_loading.load`. own: its weights, in the canonical layout."""

    def write(arrays: Mapping[str, np.ndarray]) -> None:
        for name, array in arrays.items():
            own[name].set_value(array)

    def run(inputs: Any) -> list[np.ndarray]:
        variables, outputs = _ends(model)
        values = inputs if isinstance(inputs, tuple) else (inputs,)
        if len(values) != len(variables):
            names = ", ".join(map(str, variables))
            raise ValueError(f"example: expected values of {names}, got {len(values)} of them")
        function = theano.function(variables, outputs)
        return [np.asarray(one) for one in function(*values)]

    return Target({name: one.get_value() for name, one in own.items()}, write, run, canonical=True)


def _ends(model: Layer | Sequence[Layer]) -> tuple[list[TensorVariable], list[TensorVariable]]:
    """The variables that a model is built on, and its outputs."""
    if isinstance(model, Graph):
        return [*model.inputs.values()], [*model.outputs.values()]
    last = model if isinstance(model, Layer) else model[-1]
    found = graph_inputs([last.output])
    return [one for one in found if not isinstance(one, Constant | SharedVariable)], [last.output]
