"""The TensorFlow 2 adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fourfold.backends import FileRun, Run, call_by_kind, check_cpu, versions
from fourfold.definition import Case, SparseInput, upstream
from fourfold.project import model_name, package_module, registered, tools

interchange = package_module("tf2", "interchange")


class Tf2Backend:
    runtime_errors = ()

    def __init__(self) -> None:
        self.models: dict[Any, keras.Layer] = {}

    def versions(self) -> dict[str, str]:
        return versions("tensorflow_cpu", "keras", "numpy")

    def use_device(self, device: str) -> None:
        check_cpu("TensorFlow", device)

    def mode(self) -> str:
        return "eager"

    def run(self, component: str, name: str, case: Case, differentiate: bool) -> Run:
        if tool := tools("tf2").get(name):
            return tool(getattr(package_module("tf2", component), name), case), {}
        return self.computed(component, name, case, differentiate, traced=False)

    def computed(
        self, component: str, name: str, case: Case, differentiate: bool, *, traced: bool = True
    ) -> Run:
        """Values and gradients; traced: whether methods that are graphs are run as graphs."""
        inputs = {key: to_native(value) for key, value in case.inputs.items()}
        sources = {key: value for key, value in inputs.items() if is_dense_float(value)}
        function = self.reused(component, name, case)
        weights = function.trainable_variables if isinstance(function, keras.Layer) else []
        with tf.GradientTape() as tape:
            tape.watch(list(sources.values()))
            with nullcontext() if traced else untraced(function):
                outputs = call(function, inputs, case)
            total = sum(weighted(value) for value in outputs.values() if value.dtype.is_floating)
        values = {key: value.numpy() for key, value in outputs.items()}
        if not differentiate:
            return values, {}
        found = tape.gradient(
            total,
            [*sources.values(), *(weight.value for weight in weights)],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        found = [tf.convert_to_tensor(one) for one in found]  # IndexedSlices become dense
        gradients = {key: one.numpy() for key, one in zip(sources, found, strict=False)}
        if weights:
            # A gradient has its weight's layout, so it may travel in the weight's place.
            for weight, one in zip(weights, found[len(sources) :], strict=True):
                weight.assign(one)
            arrays = interchange.to_arrays(function)
            gradients |= {key: arrays[key] for key in arrays.keys() - set(case.fixed)}
        return values, gradients

    def reused(self, component: str, name: str, case: Case) -> Any:
        """`build`, but a model that differs in its weights alone is not traced again."""
        if case.weights is None or component == registered().layered:
            return build(component, name, case)
        module = package_module("tf2", component)  # a mutant is another module
        shapes = [(key, one.shape, str(one.dtype)) for key, one in case.weights.items()]
        key = (module, name, repr(case.options), str(shapes))
        if key not in self.models:
            self.models[key] = build(component, name, case)
        interchange.load_arrays(self.models[key], case.weights)
        return self.models[key]

    def save(self, component: str, name: str, case: Case, path: Path) -> None:
        interchange.save_model(build(component, name, case), path)

    def run_file(self, path: Path, case: Case) -> FileRun:
        model = interchange.load_model(path)
        inputs = {key: to_native(value) for key, value in case.inputs.items()}
        with untraced(model):
            outputs = call(model, inputs, case)
        return {key: one.numpy() for key, one in outputs.items()}, interchange.to_arrays(model)


def untraced(model: Any) -> AbstractContextManager[None]:
    """`eagerly`, for a model that has methods which are graphs, as trees have.

    Tracing the graphs of a tree takes a second, and most are called once: it took a quarter of the
    time of all cases. Trainings trace them, and test_graphs.py holds the graphs to this. What Keras
    compiles stays as it is: TensorFlow on a CPU has no other gradient of grouped convolutions.
    """
    function = tf.types.experimental.PolymorphicFunction
    has_graphs = any(isinstance(one, function) for one in vars(type(model)).values())
    return eagerly() if has_graphs else nullcontext()


@contextmanager
def eagerly() -> Iterator[None]:
    """Within it a `tf.function` runs eagerly."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def build(component: str, name: str, case: Case) -> Any:
    """The function with its options, or the layer with its weights."""
    if case.weights is not None:
        return interchange.from_arrays(model_name(component, name), case.options, case.weights)
    target = getattr(package_module("tf2", component), name)
    if isinstance(target, type) and issubclass(target, keras.losses.Loss):
        return lambda *inputs: call_loss(target, case, inputs)
    if isinstance(target, type):
        return target(**case.options)
    return lambda *inputs: call_by_kind(target, dict(zip(case.inputs, inputs, strict=True)), case)


def call_loss(loss: type[keras.losses.Loss], case: Case, inputs: tuple[Any, ...]) -> tf.Tensor:
    """A Keras loss takes (y_true, y_pred), and what follows labels by name.

    Labels are the second array, of integers or left out; y_pred is the first. Where there are none,
    several arrays are y_pred, stacked, as the docstring of the loss says.
    """
    labelled = len(inputs) > 1 and (inputs[1] is None or inputs[1].dtype.is_integer)
    if labelled:
        y_pred, y_true = inputs[:2]
        named = dict(zip(list(case.inputs)[2:], inputs[2:], strict=True))
    else:
        y_pred = inputs[0] if len(inputs) == 1 else tf.stack(inputs, axis=1)
        y_true, named = tf.zeros(tf.shape(y_pred)[:1]), {}
    dtype = y_pred.dtype.name if y_pred.dtype.is_floating else None
    return loss(**case.options, dtype=dtype)(y_true, y_pred, **named)


def to_native(value: Any) -> Any:
    if isinstance(value, SparseInput):
        return tf.sparse.from_dense(value.array)
    return tf.constant(value) if isinstance(value, np.ndarray) else value


def is_dense_float(value: Any) -> bool:
    return isinstance(value, tf.Tensor) and value.dtype.is_floating


def call(function: Callable[..., Any], inputs: dict[str, Any], case: Case) -> dict[str, tf.Tensor]:
    """The named outputs; what the case calls channels is last while TensorFlow has it."""

    def move(values: dict[str, Any], source: int, destination: int) -> dict[str, Any]:
        return {
            name: keras.ops.moveaxis(one, source, destination) if name in case.channels else one
            for name, one in values.items()
        }

    return move(named(function(*move(inputs, 1, -1).values())), -1, 1)


def named(outputs: Any) -> dict[str, tf.Tensor]:
    if isinstance(outputs, list):
        return {f"output {place}": one for place, one in enumerate(outputs)}
    return outputs._asdict() if hasattr(outputs, "_asdict") else {"output": outputs}


def weighted(output: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(output * tf.cast(upstream(tuple(output.shape)), output.dtype))


BACKEND = Tf2Backend()
