"""TensorFlow: functions of tensors and `tf.Module`. What Keras makes has another adapter."""

from __future__ import annotations

import copy
import importlib.metadata
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fourfold.definition import Arrays, Case, SparseInput
from fourfold.ports.calling import arguments
from fourfold.ports.protocol import (
    Measured,
    Optimizer,
    Recorded,
    WithWeights,
    flattened,
    is_float_array,
    nested,
    output_gradient,
)


class TensorFlowPort:
    framework = "tensorflow"
    dtypes = ("float64", "float32", "float16", "bfloat16")
    differentiates = True

    def versions(self) -> dict[str, str]:
        return {"tensorflow": tf.__version__, "numpy": importlib.metadata.version("numpy")}

    def holds_weights(self, target: Any) -> bool:
        return isinstance(target, tf.Module)

    def build(self, target: Any, case: Case, dtype: str) -> Any:
        if isinstance(target, type):
            target = target(**case.options)
        if type(target).__module__.partition(".")[0] == "keras" or hasattr(target, "get_config"):
            raise TypeError("tensorflow: expected a function or a tf.Module, got one for keras")
        if not isinstance(target, tf.Module):
            return target
        built = copy.deepcopy(target)
        if not built.variables:  # made at the first call
            run(built, natives(case.inputs, dtype), case, {})
        for name, one in variables(built).items():
            if one.dtype.name != dtype:
                raise TypeError(f"{name}: expected variables in {dtype}, got {one.dtype.name}")
        return built

    def call(
        self,
        target: Any,
        case: Case,
        *,
        gradients: bool,
        dtype: str | None = None,
        loss: str = "upstream",
    ) -> Measured:
        inputs = natives(case.inputs, dtype)
        names = [name for name, value in case.inputs.items() if is_float_array(value)]
        parameters: dict[str, Any] = {}
        if isinstance(target, WithWeights):
            parameters = natives(target.weights, dtype)
            floats = [name for name, one in target.weights.items() if is_float_array(one)]
        elif isinstance(target, tf.Module):
            parameters = dict(variables(target))
            floats = [name for name, one in parameters.items() if one.trainable]
        else:
            floats = []
        trained = [name for name in floats if name not in case.fixed]
        sources = [*(inputs[name] for name in names), *(parameters[name] for name in trained)]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            outputs = run(target, inputs, case, parameters)
            total = sum(
                weighted(one, loss, last=name in case.channels)
                for name, one in outputs.items()
                if one.dtype.is_floating
            )
        arrays: list[np.ndarray] = []
        if gradients:
            zero = tf.UnconnectedGradients.ZERO
            found = tape.gradient(total, sources, unconnected_gradients=zero)
            # IndexedSlices, the gradient of a table of embeddings, become dense.
            arrays = [to_array(tf.convert_to_tensor(one)) for one in found]
        return Measured(
            {name: to_array(value) for name, value in outputs.items()},
            dict(zip(names, arrays, strict=False)),
            dict(zip(trained, arrays[len(names) :], strict=False)),
            {name: value.dtype.name for name, value in outputs.items()},
        )

    def weights(self, target: Any) -> dict[str, np.ndarray]:
        if isinstance(target, WithWeights):
            return dict(target.weights)
        if isinstance(target, tf.Module):
            return {name: to_array(one) for name, one in variables(target).items()}
        return {}

    def with_weights(self, target: Any, arrays: Arrays) -> Any:
        if not isinstance(target, tf.Module):
            return WithWeights(getattr(target, "function", target), arrays)
        loaded = copy.deepcopy(target)
        places = variables(loaded)
        for name, array in arrays.items():
            places[name].assign(array)
        return loaded

    def optimizer(self, optimizer: Any, weights: Arrays) -> Optimizer:
        from fourfold.ports.keras_port import PORT as KERAS  # tf.optimizers are Keras's

        return KERAS.optimizer(optimizer, weights)

    def record(self, target: Any, case: Case) -> list[Recorded]:
        return []  # the modules within a tf.Module have methods of any name

    def replay(
        self, target: Any, name: str, inputs: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, ...]:
        raise ValueError(f"name: expected an inner module, got {name!r}: TensorFlow records none")


def variables(module: Any) -> dict[str, Any]:
    """The floating variables of a module, by the attributes that lead to them."""
    found: dict[str, Any] = {}
    for path, one in module._flatten(predicate=is_variable, with_path=True):
        if one.dtype.is_floating and all(one is not each for each in found.values()):
            found[".".join(map(str, path))] = one
    return found


def is_variable(value: Any) -> bool:
    return isinstance(value, tf.Variable)


def run(
    target: Any, inputs: Mapping[str, Any], case: Case, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """The named outputs."""
    if isinstance(target, tf.Module):
        positional, keyword = arguments(type(target).__call__, inputs, skip=1)
        return dict(flattened(target(*positional, **keyword)))
    first = [nested(parameters)] if isinstance(target, WithWeights) else []
    function = getattr(target, "function", target) if first else target
    plain = inspect.unwrap(getattr(function, "python_function", function))  # of a tf.function
    positional, keyword = arguments(plain, inputs, skip=len(first))
    outputs = flattened(function(*first, *positional, **keyword, **case.options))
    return {name: tf.convert_to_tensor(value) for name, value in outputs.items()}


def natives(values: Mapping[str, Any], dtype: str | None) -> dict[str, Any]:
    """Arrays as tensors; their floating entries in `dtype`, if one is given."""

    def native(value: Any) -> Any:
        if isinstance(value, SparseInput):
            return tf.sparse.from_dense(native(value.array))
        if not isinstance(value, np.ndarray):
            return value
        tensor = tf.constant(value)
        return tf.cast(tensor, dtype) if dtype and is_float_array(value) else tensor

    return {name: native(value) for name, value in values.items()}


def weighted(output: Any, loss: str, *, last: bool) -> Any:
    """The output's part of what is differentiated: its derivative is that of the loss."""
    factor = output_gradient(to_array(output).astype(np.float64), loss, last=last)
    return tf.reduce_sum(output * tf.cast(factor, output.dtype))


def to_array(value: Any) -> np.ndarray:
    """An array of the same numbers; of bfloat16 a float32 one."""
    dense = tf.cast(value, tf.float32) if value.dtype == tf.bfloat16 else value
    return np.array(dense.numpy())


PORT = TensorFlowPort()
