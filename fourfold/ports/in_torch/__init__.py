"""Lets a side that is not in PyTorch be asked why it differs: PyTorch computes its operations.

The traps are tried on operations of PyTorch (`fourfold.ports.hypotheses`). While a side in Keras,
TensorFlow, JAX or NumPy is looked into, the operations of its framework that a trap concerns are
computed by PyTorch's counterparts, call by call, wherever these give the same numbers in a run
before; the others stay as they are. So every diagnosis is of the side's own code.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fourfold.agreement import largest
from fourfold.ports.sides import NoStandIns, Side

# The modules that know a framework's operations.
FRAMEWORKS = ("jax", "keras", "numpy", "tensorflow")
# How far PyTorch's result may be from the framework's own, relative to its largest entry.
# TensorFlow's GELU is off by 5e-9 in float64.
SAME = {"float64": 1e-6, "float32": 1e-4}

# Of a framework's arguments: what PyTorch computes in the place of an operation; None where it has
# no counterpart of it with these arguments. `StandIns.tensor` makes tensors of the framework's.
Translation = Callable[..., Callable[[], Any] | None]


class Operations(Protocol):
    """A framework's operations; its module is `fourfold.ports.in_torch.<framework>_operations`."""

    def to_array(self, value: Any) -> np.ndarray:
        """An eager tensor of the framework as an array. An error for a traced one."""
        ...

    def to_native(self, array: np.ndarray) -> Any:
        """An array as a tensor of the framework."""
        ...

    def replaced(self, wrap: Callable[[Any, Translation], Any]) -> Any:
        """While this context lasts, the operations are wrapped, with their translations."""
        ...


class StandIns:
    """PyTorch's counterparts of a framework's operations, while the context `active` lasts.

    Args:
        operations: the framework's.
        weights: the side's, so that a square weight is told from a square input.
    """

    def __init__(self, operations: Operations, weights: Sequence[np.ndarray]) -> None:
        self.operations = operations
        self.weights = weights
        self._accepted: set[int] | None = None  # None while it is found out which calls agree
        self._agreeing: set[int] = set()
        self._count = 0
        self._inside = False
        self._tensors: dict[int, tuple[Any, Tensor]] = {}  # {id of a result: it, as a tensor}

    @contextmanager
    def active(self) -> Iterator[None]:
        """While it lasts, runs within `prepared` are computed by PyTorch."""
        with self.operations.replaced(self._wrapped):
            yield

    def prepared(self, run: Callable[[], Any]) -> Callable[[], Any]:
        """The run with those of its operations computed by PyTorch that agree in a run now."""
        self._accepted, self._agreeing = None, set()
        self._restart()
        run()
        accepted = self._agreeing

        def again() -> Any:
            self._accepted = accepted
            self._restart()
            return run()

        return again

    def tensor(self, value: Any) -> Tensor:
        """A tensor of the same numbers. Only one that holds a weight is a leaf."""
        if id(value) in self._tensors:
            return self._tensors[id(value)][1]
        array = self.operations.to_array(value)
        found = torch.from_numpy(np.array(array))
        if not found.is_floating_point() or self._is_weight(array):
            return found
        return found.requires_grad_().view_as(found)

    def _is_weight(self, array: np.ndarray) -> bool:
        return any(one.shape == array.shape and np.array_equal(one, array) for one in self.weights)

    def _restart(self) -> None:
        self._count = 0
        self._tensors = {}

    def _wrapped(self, native: Callable[..., Any], translation: Translation) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._inside:  # an operation that computes another one
                return native(*args, **kwargs)
            index, self._count = self._count, self._count + 1
            if self._accepted is None:
                result = self._native(native, args, kwargs)
                if self._agrees(translation, args, kwargs, result):
                    self._agreeing.add(index)
                return result
            if index not in self._accepted:
                return self._native(native, args, kwargs)
            compute = translation(self, *args, **kwargs)
            assert compute is not None, "what agreed before has a translation"
            return self._kept(compute())

        return call

    def _native(self, native: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        self._inside = True
        try:
            return native(*args, **kwargs)
        finally:
            self._inside = False

    def _agrees(self, translation: Translation, args: Any, kwargs: Any, result: Any) -> bool:
        """Whether PyTorch gives the same result."""
        self._inside = True
        try:
            compute = translation(self, *args, **kwargs)
            if compute is None:
                return False
            pairs = zip(_listed(compute()), _listed(result), strict=True)
            return all(_same(_array(one), self.operations.to_array(own)) for one, own in pairs)
        except Exception:  # whatever a framework raises at what it was not made for
            return False
        finally:
            self._inside = False

    def _kept(self, found: Any) -> Any:
        """Tensors as the framework's own, which are known again when an operation is given them."""
        if isinstance(found, tuple):
            return tuple(map(self._kept, found))
        native = self.operations.to_native(_array(found))
        self._tensors[id(native)] = native, found
        return native


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple | list) else [value]


def _array(value: Tensor) -> np.ndarray:
    found: np.ndarray = value.detach().numpy()
    return found


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype or str(b.dtype) not in SAME:
        return False
    return bool(largest(a - b) <= SAME[str(b.dtype)] * max(largest(b), 1e-30))


@contextmanager
def standing_in(side: Side) -> Iterator[StandIns | None]:
    """PyTorch's counterparts of a side's operations; None where it is in PyTorch itself.

    Raises:
        NoStandIns: for a framework whose operations run only within a graph.
    """
    framework = side.port.framework
    if framework == "torch" or _computes_in_torch(framework):
        yield None
        return
    if framework not in FRAMEWORKS:
        known = ", ".join(("torch", *FRAMEWORKS))
        raise NoStandIns(f"traps are tried on a side of {known}, got {side.label}")
    module = importlib.import_module(f"fourfold.ports.in_torch.{framework}_operations")
    with ExitStack() as stack:
        stand_ins = StandIns(module.OPERATIONS, list(side.port.weights(side.target).values()))
        stack.enter_context(stand_ins.active())
        yield stand_ins


def _computes_in_torch(framework: str) -> bool:
    if framework != "keras":
        return False
    import keras

    return bool(keras.backend.backend() == "torch")
