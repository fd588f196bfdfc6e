"""What a forward computes, by `torch.fx`: the layers, functions and methods that it calls.

A layer of model files, or a component, is one call; of any other module the inside is traced.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import fx, nn

from pytorch_impl.interchange.components import component_name
from pytorch_impl.interchange.records import BY_CLASS
from pytorch_impl.interchange.unrecorded import unwrapped
from pytorch_impl.layers.convolution import Padded


class Mode(int):
    """0, as the attribute `training` of every module while it is traced.

    What is computed is that of a model that infers; and a function that is given it, as in
    `F.dropout(x, training=self.training)`, is known to follow the model's mode.
    """


MODE = Mode(0)


class Proxy(fx.Proxy):
    """A tensor that is traced: `x += y` changes x, which `torch.fx` by itself takes as x + y."""

    def _change(self, operation: Any, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operation, (self, other), {})

    def __iadd__(self, other: Any) -> Any:
        return self._change(operator.iadd, other)

    def __isub__(self, other: Any) -> Any:
        return self._change(operator.isub, other)

    def __imul__(self, other: Any) -> Any:
        return self._change(operator.imul, other)

    def __itruediv__(self, other: Any) -> Any:
        return self._change(operator.itruediv, other)


class Tracer(fx.Tracer):
    """Takes the layers of model files, components and what else PyTorch has as one call each."""

    proxy_buffer_attributes = True  # a buffer that a forward reads is a node, as a parameter is

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """What stands for the tensor that a node gives."""
        return Proxy(node, self)

    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        """Whether a module is not looked into."""
        inner = unwrapped(module)
        known = type(inner) in BY_CLASS or isinstance(inner, Padded | nn.Identity)
        return known or component_name(inner) is not None or super().is_leaf_module(inner, path)


def traced(model: nn.Module, inputs: Any = ()) -> fx.Graph:
    """The calls of a model's forward; ValueError where they depend on values.

    inputs: the names of arguments that are inputs, though they have a default.
    """
    arguments = inspect.signature(model.forward).parameters
    fixed = {
        name: one.default
        for name, one in arguments.items()
        if one.default is not one.empty and name not in inputs
    }
    with _inferring(model):
        try:
            return Tracer().trace(model, fixed)
        except Exception as error:  # whatever the forward does with what is no tensor
            raise ValueError(
                f"model: expected a forward whose calls do not depend on values, as torch.fx "
                f"traces it, got {type(error).__name__} in {type(model).__name__}: {error!s:.299}"
            ) from error


@contextmanager
def _inferring(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    for module, _ in modes:
        module.training = MODE
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
