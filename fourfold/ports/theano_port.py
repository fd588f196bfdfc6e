"""Theano-PyMC: functions of symbolic variables, and layers with `.output` and `.params`."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Two things that Theano-PyMC 1.1.2 needs on Python 3.11. Left unset, the first flag asks NumPy for
# a build description that it no longer keeps; empty, NumPy's own BLAS is used.
FLAGS = os.environ.get("THEANO_FLAGS", "")
if "blas__ldflags" not in FLAGS:
    os.environ["THEANO_FLAGS"] = ",".join(filter(None, [FLAGS, "blas__ldflags="]))

import theano  # noqa: E402
import theano.tensor as T  # noqa: E402

# The C code of scan's inner loop does not compile; without it the same loop runs in Python.
sys.modules["theano.scan.scan_perform_ext"] = None  # type: ignore[assignment]

from fourfold.definition import Arrays, Case, SparseInput  # noqa: E402
from fourfold.ports.calling import arguments  # noqa: E402
from fourfold.ports.protocol import (  # noqa: E402
    Measured,
    Optimizer,
    Recorded,
    WithWeights,
    flattened,
    is_array,
    is_float_array,
    nested,
    no_optimizer,
)


class TheanoPort:
    framework = "theano"
    dtypes = ("float64", "float32")
    differentiates = True

    def versions(self) -> dict[str, str]:
        return {name: importlib.metadata.version(name) for name in ("Theano-PyMC", "numpy")}

    def holds_weights(self, target: Any) -> bool:
        return False

    def build(self, target: Any, case: Case, dtype: str) -> Any:
        if not isinstance(target, type):
            return target
        # A layer is built on its symbolic input; its weights are known then.
        with theano.config.change_flags(floatX=dtype):
            symbols = {name: symbol(name, value) for name, value in case.inputs.items()}
            positional, keyword = arguments(target, symbols)
            layer = target(*positional, **keyword, **case.options)
        weights = {name: np.array(one.get_value()) for name, one in parameters(layer).items()}
        return WithWeights(layer, {name: one.astype(dtype) for name, one in weights.items()})

    def call(
        self,
        target: Any,
        case: Case,
        *,
        gradients: bool,
        dtype: str | None = None,
        loss: str = "upstream",
    ) -> Measured:
        symbols = {name: symbol(name, value) for name, value in case.inputs.items()}
        weights = self.weights(target)
        shared = {name: theano.shared(one, name) for name, one in weights.items()}
        outputs = run(target, symbols, case, shared)
        names = [name for name, value in case.inputs.items() if is_float_array(value)]
        floats = [name for name, one in weights.items() if is_float_array(one)]
        trained = [name for name in floats if name not in case.fixed]
        sources = [*(symbols[name] for name in names), *(shared[name] for name in trained)]
        found = []
        if gradients and sources:
            total = sum(
                weighted(one, loss, last=name in case.channels)
                for name, one in outputs.items()
                if one.dtype in T.float_dtypes
            )
            found = T.grad(total, sources, disconnected_inputs="ignore")
        given = [one for name, one in symbols.items() if is_array(case.inputs[name])]
        function = theano.function(given, [*outputs.values(), *found], on_unused_input="ignore")
        arrays = function(*filter(is_array, case.inputs.values()))
        values = dict(zip(outputs, map(np.asarray, arrays), strict=False))
        derivatives = [np.asarray(one) for one in arrays[len(outputs) :]]
        return Measured(
            values,
            dict(zip(names, derivatives, strict=False)),
            dict(zip(trained, derivatives[len(names) :], strict=False)),
            {name: str(one.dtype) for name, one in values.items()},
        )

    def weights(self, target: Any) -> dict[str, np.ndarray]:
        return dict(target.weights) if isinstance(target, WithWeights) else {}

    def with_weights(self, target: Any, arrays: Arrays) -> Any:
        if isinstance(target, WithWeights):
            return WithWeights(target.function, {**target.weights, **arrays})
        return WithWeights(target, arrays)

    def optimizer(self, optimizer: Any, weights: Arrays) -> Optimizer:
        raise no_optimizer("theano", "", optimizer)

    def record(self, target: Any, case: Case) -> list[Recorded]:
        return []  # a graph keeps no modules

    def replay(
        self, target: Any, name: str, inputs: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, ...]:
        raise ValueError(f"name: expected an inner module, got {name!r}: Theano's graphs keep none")


def symbol(name: str, value: Any) -> Any:
    """A symbolic variable for an array; what is no array stays what it is."""
    if isinstance(value, SparseInput):
        raise TypeError(f"{name}: expected a dense array for theano, got {value}")
    if not isinstance(value, np.ndarray):
        return value
    return T.TensorType(str(value.dtype), (False,) * value.ndim)(name)


def parameters(layer: Any) -> dict[str, Any]:
    """The shared variables of a layer by name; without a name by number."""
    found = getattr(layer, "params", [])
    return {one.name or f"param {index}": one for index, one in enumerate(found)}


def run(
    target: Any, symbols: Mapping[str, Any], case: Case, shared: Mapping[str, Any]
) -> dict[str, Any]:
    """The named symbolic outputs, of these inputs and weights."""
    function: Any = target.function if isinstance(target, WithWeights) else target
    if hasattr(function, "output"):  # a layer on the inputs of its own
        own = parameters(function)
        places = {own[name]: one for name, one in shared.items()}
        inputs = {one.name: one for one in theano.graph.basic.graph_inputs([function.output])}
        places |= {inputs[name]: one for name, one in symbols.items() if name in inputs}
        outputs = flattened(function.output)
        return {name: theano.clone(one, replace=places) for name, one in outputs.items()}
    first = [nested(shared)] if isinstance(target, WithWeights) else []
    positional, keyword = arguments(function, symbols, skip=len(first))
    result = function(*first, *positional, **keyword, **case.options)
    outputs = flattened(result if isinstance(result, tuple) else getattr(result, "output", result))
    return {name: T.as_tensor_variable(value) for name, value in outputs.items()}


def weighted(output: Any, loss: str, *, last: bool) -> Any:
    """The output's part of what is differentiated, in symbols: its derivative is the loss's."""
    if loss == "squares":
        return T.mean(output**2) / 2
    if loss == "output":
        return T.sum(output)
    if last:
        output = output.dimshuffle(0, output.ndim - 1, *range(1, output.ndim - 1))
    factor = T.cos(T.cast(T.arange(1, output.size + 1), "float64")) + 0.25
    return T.sum(output * T.cast(factor, output.dtype).reshape(output.shape, output.ndim))


PORT = TheanoPort()
