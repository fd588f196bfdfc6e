"""A training in TensorFlow: a Keras optimizer in a `tf.function`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fourfold.backends.tf2_backend import build, call, to_native
from fourfold.training import Training
from shared_tests.support.floatx import floatx
from shared_tests.trainings import STATES, STEPS
from tf2_impl import interchange


class Native:
    """What a loss needs of TensorFlow."""

    @staticmethod
    def component(name: str) -> Any:
        return importlib.import_module(f"tf2_impl.{name}")

    @staticmethod
    def mean(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(x)


def train(training: Training, optimizer: str, dtype: str) -> dict[str, np.ndarray]:
    """The losses, and the parameters and the optimizer's state after the last step."""
    case = training.case.cast(dtype)
    with floatx(dtype):
        model = build(training.model[0], training.operation, case)
        weights = model.trainable_variables if isinstance(model, keras.Layer) else []
        embeddings = {
            name: keras.Variable(case.inputs[name], dtype=dtype) for name in training.embeddings
        }
        variables = [*weights, *embeddings.values()]
        stepper = make_optimizer(optimizer, training)
        stepper.build(variables)

    @tf.function(autograph=False)  # test_graphs.py has graphs that AutoGraph has converted
    def step(batch: dict[str, Any]) -> tf.Tensor:
        with tf.GradientTape() as tape:
            batch = batch | {name: one.value for name, one in embeddings.items()}
            outputs = call(model, {name: batch[name] for name in case.inputs}, case)
            loss = training.loss(Native, outputs, batch)
        stepper.apply(tape.gradient(loss, [one.value for one in variables]), variables)
        return loss

    batches = [
        {name: to_native(value) for name, value in one.inputs.items()}
        for one in training.batch_cases(dtype)
    ]
    losses = [step(batches[number % len(batches)]) for number in range(STEPS)]

    def arrays(values: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Under canonical names: a state has its parameter's layout, and may take its place."""
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        found = interchange.to_arrays(model) if weights else {}
        found = {name: array for name, array in found.items() if name not in case.fixed}
        return found | {name: one.numpy() for name, one in embeddings.items()}

    kept = {"parameter": [one.numpy() for one in variables], **states(stepper)}
    return {"losses": np.stack(losses)} | {
        f"{kind} {name}": array
        for kind, values in kept.items()
        for name, array in arrays(values).items()
    }


def make_optimizer(name: str, training: Training) -> keras.optimizers.Optimizer:
    if name == "sgd":
        return keras.optimizers.SGD(training.rate)
    return importlib.import_module("tf2_impl.smorms3").SMORMS3()


def states(stepper: keras.optimizers.Optimizer) -> dict[str, list[np.ndarray]]:
    """What the optimizer keeps for each variable."""
    names = [name for name in STATES if hasattr(stepper, name)]
    return {name: [one.numpy() for one in getattr(stepper, name)] for name in names}
