"""What every Theano layer has: symbolic inputs, parameters and an output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import numpy as np
import theano
from theano.compile.sharedvalue import SharedVariable
from theano.tensor.var import TensorVariable

SubLayer = TypeVar("SubLayer", bound="Layer")


_SHARED: list[Layer] = []  # the layer whose arrays the ones that are built now use


@contextmanager
def sharing(layer: Layer | None) -> Iterator[None]:
    """What is built inside uses the arrays of a layer of its kind; None shares nothing.

    `with sharing(tower): Projection(y, 7, 5)` has the weight and the bias of `tower`.
    """
    before = _SHARED.copy()
    _SHARED[:] = [] if layer is None else [layer]
    try:
        yield
    finally:
        _SHARED[:] = before


class Layer:
    """Base of the components that are built on symbolic variables.

    `.inputs` are the variables it was built on, `.output` what it computes and `.config` its
    constructor arguments. `.params` are the shared variables that are trained and `.buffers`
    those that are not, such as running statistics, each under its canonical name. `.updates`,
    (shared variable, new value), go to the function that trains, beside those of the optimizer.
    """

    output: TensorVariable
    built: dict[str, Any]

    def __init__(self, *inputs: TensorVariable, config: Mapping[str, Any]) -> None:
        self.inputs = list(inputs)
        self.config = dict(config)
        self.params: list[SharedVariable] = []
        self.buffers: list[SharedVariable] = []
        self.updates: list[tuple[SharedVariable, TensorVariable]] = []

    def add_param(self, name: str, value: np.ndarray) -> SharedVariable:
        """A new parameter, in Theano's `floatX`."""
        param = self._shared(name) or theano.shared(value.astype(theano.config.floatX), name=name)
        self.params.append(param)
        return param

    def add_buffer(self, name: str, value: np.ndarray) -> SharedVariable:
        """A new array that travels with the parameters and has no gradient, in `floatX`."""
        buffer = self._shared(name) or theano.shared(value.astype(theano.config.floatX), name=name)
        self.buffers.append(buffer)
        return buffer

    def _shared(self, name: str) -> SharedVariable | None:
        """The array of this name of the layer that is shared."""
        for one in _SHARED:
            return next(array for array in (*one.params, *one.buffers) if array.name == name)
        return None

    def add_layer(self, name: str, layer: SubLayer) -> SubLayer:
        """A layer that this one is made of: its arrays become this one's, under `name.`."""
        for array in (*layer.params, *layer.buffers):
            array.name = f"{name}.{array.name}"
        self.params += layer.params
        self.buffers += layer.buffers
        self.updates += layer.updates
        return layer

    def __init_subclass__(cls) -> None:
        """Keeps of each layer what its constructor has made: what a model file says of it."""
        construct = cls.__init__

        @wraps(construct)
        def build(self: Layer, *args: Any, **kwargs: Any) -> None:
            construct(self, *args, **kwargs)
            if type(self).__init__ is build:  # not one that a subclass's calls
                self.built = self._state()

        if "__init__" in vars(cls):
            cls.__init__ = build  # type: ignore[method-assign]

    def unrecorded(self) -> str | None:
        """What has been changed since the layer was built, and so is in no file; None for none."""
        now = self._state()
        for name, value in getattr(self, "built", {}).items():
            same = value == now[name] if name == "config" else _are_same(value, now[name])
            if not same:
                return f"{type(self).__name__} with another {name} than it was built with"
        return None

    def _state(self) -> dict[str, Any]:
        output = self.output if isinstance(self.output, list | tuple) else [self.output]
        state = {"output": output, "inputs": self.inputs, "params": self.params}
        return {name: list(value) for name, value in state.items()} | {"config": dict(self.config)}

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        """Fresh variables of the kind that the layer is built on."""
        raise NotImplementedError


def _are_same(some: list[Any], others: list[Any]) -> bool:
    return len(some) == len(others) and all(
        one is other for one, other in zip(some, others, strict=True)
    )
