"""A training in PyTorch: `torch.optim` on a module's parameters."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fourfold.backends.torch_backend import build, named, to_array, to_native
from fourfold.training import Training
from pytorch_impl import interchange
from shared_tests.trainings import STATES, STEPS


class Native:
    """What a loss needs of PyTorch."""

    @staticmethod
    def component(name: str) -> Any:
        return importlib.import_module(f"pytorch_impl.{name}")

    @staticmethod
    def mean(x: Tensor) -> Tensor:
        return x.mean()


def train(training: Training, optimizer: str, dtype: str) -> dict[str, np.ndarray]:
    """The losses, and the parameters and the optimizer's state after the last step."""
    case = training.case.cast(dtype)
    model = build(training.model[0], training.operation, case)
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    for module in modules:
        if hasattr(module, "sparse"):
            module.sparse = True  # as TensorFlow's and Theano's gradients of a table are
    embeddings = {name: nn.Parameter(to_native(case.inputs[name])) for name in training.embeddings}
    parameters = [*(modules[0].parameters() if modules else ()), *embeddings.values()]
    stepper = make_optimizer(optimizer, parameters, training)
    batches = [
        {name: to_native(value) for name, value in one.inputs.items()} | embeddings
        for one in training.batch_cases(dtype)
    ]
    losses = []
    for step in range(STEPS):
        batch = batches[step % len(batches)]
        outputs = named(model(*(batch[name] for name in case.inputs)))
        loss = training.loss(Native, outputs, batch)
        stepper.zero_grad()
        loss.backward()
        stepper.step()
        losses.append(loss.detach())

    def arrays(values: Iterable[Tensor]) -> dict[str, np.ndarray]:
        """Under canonical names: a state has its parameter's layout, and may take its place."""
        for parameter, value in zip(parameters, values, strict=True):
            parameter.data = value.detach().clone()
        found = interchange.to_arrays(model) if modules else {}
        found = {name: array for name, array in found.items() if name not in case.fixed}
        return found | {name: to_array(one) for name, one in embeddings.items()}

    kept_kinds = [kind for kind in STATES if kind in stepper.state[parameters[0]]]
    states = {kind: [stepper.state[one][kind] for one in parameters] for kind in kept_kinds}
    kept = {"parameter": list(parameters), **states}
    kept = {kind: [value.detach().clone() for value in values] for kind, values in kept.items()}
    return {"losses": to_array(torch.stack(losses))} | {
        f"{kind} {name}": array
        for kind, values in kept.items()
        for name, array in arrays(values).items()
    }


def make_optimizer(
    name: str, parameters: list[nn.Parameter], training: Training
) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=training.rate)
    return importlib.import_module("pytorch_impl.smorms3").SMORMS3(parameters)
