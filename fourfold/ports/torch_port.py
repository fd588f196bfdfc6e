"""PyTorch: functions of tensors, `nn.Module` classes and modules."""

from __future__ import annotations

import copy
import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fourfold.definition import Arrays, Case, SparseInput
from fourfold.ports.calling import arguments
from fourfold.ports.protocol import (
    Measured,
    Optimizer,
    Recorded,
    WithWeights,
    flattened,
    listed,
    nested,
    no_optimizer,
    output_gradient,
)


class TorchPort:
    framework = "torch"
    dtypes = ("float64", "float32", "float16", "bfloat16")
    differentiates = True

    def versions(self) -> dict[str, str]:
        return {name: importlib.metadata.version(name) for name in ("torch", "numpy")}

    def holds_weights(self, target: Any) -> bool:
        return isinstance(target, nn.Module)

    def build(self, target: Any, case: Case, dtype: str) -> Any:
        if isinstance(target, type):
            target = target(**case.options)
        if isinstance(target, nn.Module):
            # Without dropout, as every other framework calls a layer outside of training.
            return copy.deepcopy(target).to(getattr(torch, dtype)).eval()
        return target

    def call(
        self,
        target: Any,
        case: Case,
        *,
        gradients: bool,
        dtype: str | None = None,
        loss: str = "upstream",
    ) -> Measured:
        inputs = {name: to_native(value, dtype) for name, value in case.inputs.items()}
        sources = {name: value for name, value in inputs.items() if is_dense_float(value)}
        for value in sources.values():
            value.requires_grad_(gradients)
        function, weights = with_parameters(target, dtype)
        for one in weights.values():
            one.grad = None
            one.requires_grad_(gradients)
        outputs = run(function, target, inputs, case)
        values = {name: to_array(value) for name, value in outputs.items()}
        dtypes = {name: str(value.dtype).removeprefix("torch.") for name, value in outputs.items()}
        if not gradients:
            return Measured(values, dtypes=dtypes)
        total = weighted_sum(outputs, case, loss)
        if total.requires_grad:
            total.backward()
        return Measured(
            values,
            {name: gradient(value) for name, value in sources.items()},
            {name: gradient(one) for name, one in weights.items() if name not in case.fixed},
            dtypes,
        )

    def weights(self, target: Any) -> dict[str, np.ndarray]:
        if isinstance(target, WithWeights):
            return dict(target.weights)
        return {name: to_array(one) for name, one in tensors(target).items()}

    def with_weights(self, target: Any, arrays: Arrays) -> Any:
        if not isinstance(target, nn.Module):
            return WithWeights(getattr(target, "function", target), arrays)
        loaded = copy.deepcopy(target)
        places = tensors(loaded)
        for name, array in arrays.items():
            places[name].data.copy_(torch.from_numpy(np.array(array)))
        return loaded

    def optimizer(self, optimizer: Any, weights: Arrays) -> Optimizer:
        if not callable(optimizer):
            wanted = "a function of parameters, such as partial(torch.optim.Adam, lr=0.001),"
            raise no_optimizer("torch", wanted, optimizer)
        parameters = {name: nn.Parameter(to_native(one)) for name, one in weights.items()}
        native = optimizer(list(parameters.values()))

        def step(gradients: Arrays) -> dict[str, np.ndarray]:
            for name, parameter in parameters.items():
                parameter.grad = to_native(gradients[name])
            native.step()
            return {name: to_array(one) for name, one in parameters.items()}

        return Optimizer(listed(type(native).__name__, native.defaults), step)

    def record(self, target: Any, case: Case) -> list[Recorded]:
        calls: list[Any] = []
        inputs = {name: to_native(value) for name, value in case.inputs.items()}
        for value in inputs.values():
            if is_dense_float(value):
                value.requires_grad_()
        with hooked(target, calls):
            outputs = run(target, target, inputs, case)
        kept = [one for *_, given, _ in calls for one in given if one.requires_grad]
        total = weighted_sum(outputs, case)
        if kept and total.requires_grad:
            found = torch.autograd.grad(total, kept, allow_unused=True)
        else:
            found = ()
        gradients = dict(zip(map(id, kept), found, strict=False))
        return [
            Recorded(
                name,
                kind,
                tuple(taken),
                tuple(values),
                tuple(
                    None if (one := gradients.get(id(each))) is None else to_array(one)
                    for each in given
                ),
            )
            for name, kind, taken, given, values in calls
        ]

    def replay(
        self, target: Any, name: str, inputs: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, ...]:
        with torch.no_grad():
            outputs = target.get_submodule(name)(*map(to_native, inputs))
        return tuple(to_array(one) for one in flattened(outputs).values())


@contextmanager
def hooked(module: nn.Module, calls: list[Any]) -> Iterator[None]:
    """While it lasts, every call of an inner module is appended to `calls`."""

    def hook(name: str) -> Callable[..., None]:
        def remember(inner: nn.Module, args: Any, kwargs: Any, outputs: Any) -> None:
            taken = [*args, *kwargs.values()]
            inputs = [one for each in taken for one in flattened(each).values()]
            arrays = [to_array(one) for one in inputs if isinstance(one, Tensor)]
            given = [one for one in flattened(outputs).values() if isinstance(one, Tensor)]
            calls.append((name, type(inner).__name__, arrays, given, list(map(to_array, given))))

        return remember

    handles = [
        inner.register_forward_hook(hook(name), with_kwargs=True)
        for name, inner in module.named_modules()
        if name
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def with_parameters(target: Any, dtype: str | None) -> tuple[Any, dict[str, Tensor]]:
    """What is called, and the parameters that are differentiated, by name."""
    if isinstance(target, WithWeights):
        weights = {name: to_native(array, dtype) for name, array in target.weights.items()}
        floats = {name: one for name, one in weights.items() if one.is_floating_point()}
        tree = nested(weights)
        return lambda *args, **kwargs: target.function(tree, *args, **kwargs), floats
    if isinstance(target, nn.Module):
        return target, dict(target.named_parameters())
    return target, {}


def tensors(module: Any) -> dict[str, Tensor]:
    """The parameters and the floating buffers of a module, by name."""
    if not isinstance(module, nn.Module):
        return {}
    buffers = {name: one for name, one in module.named_buffers() if one.is_floating_point()}
    return {**dict(module.named_parameters()), **buffers}


def run(function: Any, target: Any, inputs: dict[str, Any], case: Case) -> dict[str, Tensor]:
    """The named outputs; a function is given the options, and a module that is no function none."""
    if isinstance(target, WithWeights):
        positional, keyword = arguments(target.function, inputs, skip=1)
        return dict(flattened(function(*positional, **keyword, **case.options)))
    if isinstance(target, nn.Module):
        positional, keyword = arguments(target.forward, inputs)
        return dict(flattened(function(*positional, **keyword)))
    positional, keyword = arguments(target, inputs)
    return dict(flattened(function(*positional, **keyword, **case.options)))


def weighted_sum(outputs: dict[str, Tensor], case: Case, loss: str = "upstream") -> Tensor:
    """What is differentiated: its derivative by each output is that of the loss."""
    total = torch.zeros(())
    for name, value in outputs.items():
        if value.is_floating_point():
            factor = output_gradient(to_array(value), loss, last=name in case.channels)
            total = total + (value * torch.from_numpy(factor.copy()).to(value.dtype)).sum()
    return total


def to_native(value: Any, dtype: str | None = None) -> Any:
    """A tensor of its own memory; its floating entries in `dtype`, if one is given."""
    if isinstance(value, SparseInput):
        return getattr(to_native(value.array, dtype), f"to_sparse_{value.layout}")()
    if not isinstance(value, np.ndarray):
        return value
    tensor = torch.from_numpy(value.copy())
    return tensor.to(getattr(torch, dtype)) if dtype and tensor.is_floating_point() else tensor


def to_array(value: Tensor) -> np.ndarray:
    """An array of the same numbers; of bfloat16 a float32 one."""
    dense = value.detach().to_dense() if value.layout != torch.strided else value.detach()
    found = (dense.float() if dense.dtype == torch.bfloat16 else dense).numpy()
    return np.array(found)


def is_dense_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.layout == torch.strided


def gradient(source: Tensor) -> np.ndarray:
    """The gradient that arrived, zero where none did."""
    return to_array(torch.zeros_like(source) if source.grad is None else source.grad)


PORT = TorchPort()
