"""Keras 3 on the backend that is set: functions of tensors, layers, losses and models."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np

from fourfold.definition import Arrays, Case, SparseInput
from fourfold.ports.calling import arguments
from fourfold.ports.protocol import (
    Measured,
    Optimizer,
    Recorded,
    WithWeights,
    flattened,
    is_float_array,
    listed,
    nested,
    no_optimizer,
    output_gradient,
)

BACKEND = keras.backend.backend()
PACKAGES = {
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "torch": ("torch",),
    "jax": ("jax",),
    "numpy": (),
}

Tensors = dict[str, Any]


class KerasPort:
    framework = "keras"
    dtypes = ("float64", "float32", "float16", "bfloat16")
    differentiates = BACKEND != "numpy"

    def versions(self) -> dict[str, str]:
        installed = {}
        for name in ("keras", *PACKAGES[BACKEND], "numpy"):
            try:
                installed[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:  # tensorflow has several names
                continue
        return installed

    def holds_weights(self, target: Any) -> bool:
        return isinstance(target, keras.Layer) and target.built

    def build(self, target: Any, case: Case, dtype: str) -> Any:
        with computing_in(dtype):
            if isinstance(target, type):
                built = target(**case.options)
            elif isinstance(target, keras.Layer | keras.losses.Loss):
                built = in_dtype(target, dtype)
            else:
                return target
            if isinstance(built, keras.Layer):
                if not built.built:
                    run(built, natives(case.inputs, dtype), case, {})
                if isinstance(target, keras.Layer) and target.built:
                    built.set_weights(target.get_weights())
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
        function, weights, trained = with_parameters(target, case)
        with computing_in(dtype or float_dtype(case, weights)):
            inputs = natives(case.inputs, dtype)
            parameters = natives(weights, dtype)
            names = [name for name, value in case.inputs.items() if is_float_array(value)]
            sources = [inputs[name] for name in names] + [parameters[name] for name in trained]

            def outputs(moved: Sequence[Any]) -> Tensors:
                inner = dict(zip(names, moved, strict=False))
                changed = dict(zip(trained, moved[len(names) :], strict=True))
                return run(function, inputs | inner, case, parameters | changed)

            if gradients:
                found, derivatives = DIFFERENTIATED[BACKEND](outputs, sources, case, loss)
            else:
                found, derivatives = outputs(sources), []
            arrays = [to_array(one) for one in derivatives]
            return Measured(
                {name: to_array(value) for name, value in found.items()},
                dict(zip(names, arrays, strict=False)),
                dict(zip(trained, arrays[len(names) :], strict=False)),
                {name: dtype_name(value) for name, value in found.items()},
            )

    def weights(self, target: Any) -> dict[str, np.ndarray]:
        if isinstance(target, WithWeights):
            return dict(target.weights)
        return {name: to_array(one.value) for name, one in variables(target).items()}

    def with_weights(self, target: Any, arrays: Arrays) -> Any:
        if isinstance(target, WithWeights):
            return WithWeights(target.function, {**target.weights, **arrays})
        return WithWeights(target, {**self.weights(target), **arrays})

    def optimizer(self, optimizer: Any, weights: Arrays) -> Optimizer:
        dtype = float_dtype(Case("training", {}), weights)
        with computing_in(dtype):
            if isinstance(optimizer, keras.optimizers.Optimizer):
                native = type(optimizer).from_config(optimizer.get_config())
            else:
                native = optimizer() if callable(optimizer) else None
            if not isinstance(native, keras.optimizers.Optimizer):
                wanted = "partial(keras.optimizers.Adam, 0.001), an optimizer"
                raise no_optimizer("keras", wanted, optimizer)
            parameters = {
                name: keras.Variable(one, dtype=str(one.dtype), name=name.rpartition("/")[2])
                for name, one in weights.items()
            }
            native.build(list(parameters.values()))

        def step(gradients: Arrays) -> dict[str, np.ndarray]:
            with computing_in(dtype):
                moved = [keras.ops.convert_to_tensor(gradients[name]) for name in parameters]
                native.apply(moved, list(parameters.values()))
                return {name: to_array(one.value) for name, one in parameters.items()}

        return Optimizer(listed(type(native).__name__, native.get_config()), step)

    def record(self, target: Any, case: Case) -> list[Recorded]:
        function, weights, _ = with_parameters(target, case)
        calls: list[tuple[str, str, list[np.ndarray], list[Any]]] = []
        with computing_in(float_dtype(case, weights)):
            inputs, parameters = natives(case.inputs, None), natives(weights, None)

            def remember(name: str, kind: str, taken: tuple[Any, ...], given: Any) -> Any:
                arrays = [to_array(one) for one in keras.tree.flatten(taken) if is_tensor(one)]
                calls.append((name, kind, arrays, keras.tree.flatten(given)))
                return given

            with observed(function, remember):
                run(function, inputs, case, parameters)
            # Adding zeros to an output, and differentiating by them, gives the output's gradient.
            zeros = [keras.ops.zeros_like(one) for *_, given in calls for one in given]

            def outputs(added: Sequence[Any]) -> Tensors:
                remaining = iter(added)

                def add(name: str, kind: str, taken: tuple[Any, ...], given: Any) -> Any:
                    return keras.tree.map_structure(lambda one: one + next(remaining), given)

                with observed(function, add):
                    return run(function, inputs, case, parameters)

            _, found = DIFFERENTIATED[BACKEND](outputs, zeros, case, "upstream")
            gradients = iter(map(to_array, found))
            return [
                Recorded(
                    name,
                    kind,
                    tuple(taken),
                    tuple(map(to_array, given)),
                    tuple(next(gradients) for _ in given),
                )
                for name, kind, taken, given in calls
            ]

    def replay(
        self, target: Any, name: str, inputs: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, ...]:
        function = getattr(target, "function", target)
        inner = {one: layer for layer, one in inner_layers(function)}
        if name not in inner:
            known = ", ".join(inner)
            raise ValueError(f"name: expected an inner layer, one of {known}, got {name!r}")
        weights = self.weights(target)
        places = variables(function)
        given = {str(index): one for index, one in enumerate(inputs)}
        with computing_in(float_dtype(Case("replay", given), weights)):
            mapping = [(places[one], keras.ops.convert_to_tensor(weights[one])) for one in weights]
            with keras.StatelessScope(state_mapping=mapping):
                outputs = inner[name](*map(keras.ops.convert_to_tensor, inputs))
            return tuple(map(to_array, keras.tree.flatten(outputs)))


def inner_layers(layer: Any, path: str = "") -> Iterator[tuple[Any, str]]:
    """The layers within a layer with their paths, numbered as `variables` does.

    The cell of a recurrent layer is no layer of its own: it is called at every step, with states.
    """
    numbers: dict[str, int] = {}
    for one in getattr(layer, "_layers", []):
        base = numbered(one.name)
        number = numbers[base] = numbers.get(base, -1) + 1
        name = f"{path}{base}_{number}" if number else f"{path}{base}"
        yield one, name
        if not isinstance(one, keras.layers.RNN):
            yield from inner_layers(one, f"{name}.")


@contextmanager
def observed(layer: Any, change: Callable[..., Any]) -> Iterator[None]:
    """While it lasts, the outputs of every inner layer pass through `change`."""
    within = [] if isinstance(layer, keras.layers.RNN) else inner_layers(layer)
    names = {id(one): name for one, name in within}
    original = keras.Layer.__call__

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = original(self, *args, **kwargs)
        if id(self) not in names:
            return outputs
        taken = (*args, *kwargs.values())
        return change(names[id(self)], type(self).__name__, taken, outputs)

    keras.Layer.__call__ = call
    try:
        yield
    finally:
        keras.Layer.__call__ = original


@contextmanager
def computing_in(dtype: str) -> Iterator[None]:
    """While it lasts, layers are made in this dtype, and JAX has float64."""
    before, policy = keras.config.floatx(), keras.config.dtype_policy()
    with ExitStack() as stack:
        if BACKEND == "jax":
            import jax

            stack.enter_context(jax.enable_x64(dtype == "float64"))
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)
        try:
            yield
        finally:
            keras.config.set_floatx(before)
            keras.config.set_dtype_policy(policy)


def float_dtype(case: Case, weights: Arrays) -> str:
    """The dtype of the case's floating arrays."""
    floats = [one for one in [*case.inputs.values(), *weights.values()] if is_float_array(one)]
    return str(floats[0].dtype) if floats else keras.config.floatx()


def in_dtype(target: Any, dtype: str) -> Any:
    """A layer, model or loss of the same configuration in another dtype.

    A subclassed model that does not say its configuration cannot be made again: Keras gives the
    defaults of its constructor's arguments, and with these it would be another model.
    """
    if knows_its_configuration(type(target)):
        return type(target).from_config(recast(target.get_config(), dtype))
    if target.built and target.dtype == dtype:
        return target
    raise TypeError(
        f"{type(target).__name__}: expected a class, or a model with a get_config of its own, to "
        f"make it in {dtype}, got a {'' if target.built else 'new '}model in {target.dtype}"
    )


def knows_its_configuration(cls: type) -> bool:
    """Whether get_config tells the arguments of the constructor."""
    own = [one for one in cls.__mro__ if one.__module__.partition(".")[0] != "keras"]
    if not issubclass(cls, keras.Model) or any("get_config" in vars(one) for one in own):
        return True
    first = own[0].__init__ if own[0] is not object else keras.Model.__init__  # type: ignore[misc]
    parameters = list(inspect.signature(first).parameters.values())[1:]
    return all(one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in parameters)


def recast(config: Any, dtype: str) -> Any:
    """A configuration in which every dtype of a layer is this one."""
    if isinstance(config, list):
        return [recast(one, dtype) for one in config]
    if not isinstance(config, dict):
        return config
    changed = {key: recast(value, dtype) for key, value in config.items()}
    stated = changed.get("dtype")
    is_float = isinstance(stated, str) and "float" in stated
    if is_float or isinstance(stated, dict):
        changed["dtype"] = dtype
    return changed


def with_parameters(target: Any, case: Case) -> tuple[Any, Arrays, list[str]]:
    """What is called, its weights, and the names of those that are trained."""
    function = getattr(target, "function", target)
    if isinstance(function, keras.Layer):
        places = variables(function)
        weights = {name: to_array(one.value) for name, one in places.items()}
        weights |= getattr(target, "weights", {}) if isinstance(target, WithWeights) else {}
        trained = [name for name, one in places.items() if one.trainable]
        return function, weights, [name for name in trained if name not in case.fixed]
    weights = dict(target.weights) if isinstance(target, WithWeights) else {}
    floats = [name for name, one in weights.items() if is_float_array(one)]
    return function, weights, [name for name in floats if name not in case.fixed]


def variables(layer: Any) -> dict[str, Any]:
    """The floating variables of a layer by their paths below it, numbered from the first.

    Keras counts the layers of a class from the start of the process; `dense_7/kernel` of the first
    dense layer of this model is `dense/kernel`.
    """
    if not isinstance(layer, keras.Layer):
        return {}
    numbers: dict[tuple[str, str], dict[str, int]] = {}
    found: dict[str, Any] = {}
    for one in layer.weights:
        if "float" not in one.dtype:
            continue
        parts = one.path.split("/")
        parts = parts[1:] if len(parts) > 1 and parts[0] == layer.name else parts
        named: list[str] = []
        for part in parts[:-1]:
            base = numbered(part)
            known = numbers.setdefault(("/".join(named), base), {})
            number = known.setdefault(part, len(known))
            named.append(f"{base}_{number}" if number else base)
        name = "/".join([*named, parts[-1]])
        same = sum(each == name or each.startswith(f"{name} ") for each in found)
        found[f"{name} {same}" if same else name] = one
    return found


def numbered(name: str) -> str:
    """The name of a layer without the number that Keras has given it."""
    return re.sub(r"_\d+$", "", name)


def is_tensor(value: Any) -> bool:
    return keras.ops.is_tensor(value) or isinstance(value, np.ndarray)


def run(function: Any, inputs: Tensors, case: Case, parameters: Tensors) -> Tensors:
    """The named outputs, with these tensors in the place of the weights."""
    if isinstance(function, keras.Layer):
        positional, keyword = arguments(function.call, inputs)
        places = variables(function)
        mapping = [(places[name], value) for name, value in parameters.items()]
        if not mapping:
            return dict(flattened(function(*positional, **keyword)))
        with keras.StatelessScope(state_mapping=mapping):
            return dict(flattened(function(*positional, **keyword)))
    if isinstance(function, keras.losses.Loss):
        positional, keyword = arguments(function.__call__, inputs)
        return dict(flattened(function(*positional, **keyword)))
    first = [nested(parameters)] if parameters else []
    positional, keyword = arguments(function, inputs, skip=len(first))
    return dict(flattened(function(*first, *positional, **keyword, **case.options)))


def natives(values: Any, dtype: str | None) -> Tensors:
    """Arrays as tensors; their floating entries in `dtype`, if one is given."""

    def native(value: Any) -> Any:
        if isinstance(value, SparseInput):
            raise TypeError(f"input: expected a dense array for keras, got {value}")
        if not isinstance(value, np.ndarray):
            return value
        return keras.ops.convert_to_tensor(value, dtype if is_float_array(value) else None)

    return {name: native(value) for name, value in values.items()}


def to_array(value: Any) -> np.ndarray:
    """An array of the same numbers; of bfloat16 a float32 one."""
    if dtype_name(value) == "bfloat16":
        value = keras.ops.cast(value, "float32")
    return np.array(keras.ops.convert_to_numpy(value))


def dtype_name(value: Any) -> str:
    return str(keras.backend.standardize_dtype(value.dtype))


def total(outputs: Tensors, case: Case, loss: str) -> Any:
    """What is differentiated: its derivative by each output is that of the loss."""
    parts = []
    for name, value in outputs.items():
        if "float" in dtype_name(value):
            factor = output_gradient_of(value, loss, last=name in case.channels)
            parts.append(keras.ops.sum(value * factor))
    return sum(parts[1:], parts[0]) if parts else None


def output_gradient_of(value: Any, loss: str, *, last: bool) -> Any:
    if loss == "squares":
        return keras.ops.stop_gradient(value) / max(int(np.prod(value.shape)), 1)
    shape = tuple(int(size) for size in value.shape)
    return keras.ops.cast(output_gradient(np.zeros(shape), loss, last=last), dtype_name(value))


def by_tensorflow(
    function: Callable[[Sequence[Any]], Tensors], sources: Sequence[Any], case: Case, loss: str
) -> tuple[Tensors, list[Any]]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(sources)
        outputs = function(sources)
        summed = total(outputs, case, loss)
    zero = tf.UnconnectedGradients.ZERO
    found = tape.gradient(summed, sources, unconnected_gradients=zero)
    return outputs, [tf.convert_to_tensor(one) for one in found]  # IndexedSlices become dense


def by_torch(
    function: Callable[[Sequence[Any]], Tensors], sources: Sequence[Any], case: Case, loss: str
) -> tuple[Tensors, list[Any]]:
    import torch

    moved = [one.detach().requires_grad_() for one in sources]
    outputs = function(moved)
    summed = total(outputs, case, loss)
    if summed is None or not summed.requires_grad:
        return outputs, [torch.zeros_like(one) for one in moved]
    found = torch.autograd.grad(summed, moved, allow_unused=True)
    return outputs, [
        torch.zeros_like(one) if gradient is None else gradient
        for one, gradient in zip(moved, found, strict=True)
    ]


def by_jax(
    function: Callable[[Sequence[Any]], Tensors], sources: Sequence[Any], case: Case, loss: str
) -> tuple[Tensors, list[Any]]:
    import jax

    def summed(moved: Sequence[Any]) -> tuple[Any, Tensors]:
        outputs = function(moved)
        found = total(outputs, case, loss)
        return jax.numpy.zeros(()) if found is None else found, outputs

    (_, outputs), found = jax.value_and_grad(summed, has_aux=True)(list(sources))
    return outputs, list(found)


DIFFERENTIATED = {"tensorflow": by_tensorflow, "torch": by_torch, "jax": by_jax}


PORT = KerasPort()
