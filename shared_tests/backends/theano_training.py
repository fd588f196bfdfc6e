"""A training in Theano: a function whose updates are the optimizer's."""

from __future__ import annotations

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split
import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import theano
import theano.tensor as T
from theano.graph.basic import Variable

from fourfold.backends.theano_backend import PYTHON, build_graph, parameters, symbol, to_native
from fourfold.training import Training
from shared_tests.trainings import STATES, STEPS

Updates = Mapping[Variable, Variable]


class Native:
    """What a loss needs of Theano."""

    @staticmethod
    def component(name: str) -> Any:
        return importlib.import_module(f"theano_impl.{name}")

    @staticmethod
    def mean(x: Variable) -> Variable:
        return T.mean(x)


def train(training: Training, optimizer: str, dtype: str) -> dict[str, np.ndarray]:
    """The losses, and the parameters and the optimizer's state after the last step."""
    batches = [dict(one.inputs) for one in training.batch_cases(dtype)]
    case = training.case.cast(dtype)
    embeddings = {name: theano.shared(case.inputs[name], name) for name in training.embeddings}
    symbols = {name: symbol(name, value) for name, value in batches[0].items()} | embeddings
    module = Native.component(training.model[0]) if training.model[0] != "chain" else None
    inputs = {name: symbols[name] for name in case.inputs}
    model, outputs = build_graph(module, *training.model[:2], case, inputs)
    loss = training.loss(Native, outputs, symbols)
    trained = ({} if model is None else parameters(model)) | embeddings
    states, updates = make_optimizer(optimizer, list(trained.values()), loss, training)
    fed = [name for name in symbols if name not in embeddings]
    given = [symbols[name] for name in fed]
    step = theano.function(given, loss, updates=updates, mode=PYTHON, on_unused_input="ignore")
    losses = []
    for number in range(STEPS):
        batch = batches[number % len(batches)]
        losses.append(step(*(to_native(batch[name]) for name in fed)))
    kept = {"parameter": list(trained.values()), **states}
    return {"losses": np.stack(losses)} | {
        f"{kind} {name}": value.get_value()
        for kind, values in kept.items()
        for name, value in zip(trained, values, strict=True)
    }


def make_optimizer(
    name: str, trained: list[Variable], loss: Variable, training: Training
) -> tuple[dict[str, list[Variable]], Updates]:
    """The optimizer's state, and its updates; Theano has no optimizer of its own."""
    if name == "sgd":
        rate = np.asarray(training.rate, loss.dtype)
        gradients = zip(trained, T.grad(loss, trained), strict=True)
        return {}, {one: one - rate * gradient for one, gradient in gradients}
    stepper = importlib.import_module("theano_impl.smorms3").SMORMS3(trained)
    states = {kind: [stepper.state[one][kind] for one in trained] for kind in STATES}
    return states, stepper.updates(loss)
