"""NumPy's operations in PyTorch: arrays of a class of their own tell what is done with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch

from fourfold.ports import numpy_port
from fourfold.ports.in_torch.operations import reduced, scalar

Wrap = Callable[[Any, Callable[..., Any]], Any]

UFUNCS: dict[Any, Callable[..., Any]] = {
    np.add: lambda s, x, y: lambda: torch.add(s.tensor(x), scalar(s, y)),
    np.matmul: lambda s, x, y: lambda: torch.matmul(s.tensor(x), s.tensor(y)),
    np.sqrt: lambda s, x: lambda: torch.sqrt(s.tensor(x)),
    np.log: lambda s, x: lambda: torch.log(s.tensor(x)),
}


def reduction(name: str) -> Callable[..., Any]:
    def translation(
        s: Any, x: Any, axis: Any = None, *, keepdims: Any = False, ddof: int = 0
    ) -> Any:
        return lambda: reduced(name, s.tensor(x), axis, bool(keepdims), ddof)

    return translation


REDUCTIONS = {
    np.mean: reduction("mean"),
    np.sum: reduction("sum"),
    np.var: reduction("var"),
    np.std: reduction("std"),
}


class Watched(np.ndarray):
    """An array whose operations are those of `wrapped`, where they are among them."""

    wrapped: ClassVar[dict[Any, Callable[..., Any]]] = {}

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        plain = [bare(one) for one in inputs]
        out = kwargs.pop("out", None)
        if method == "__call__" and ufunc in self.wrapped and out is None:
            return watched(self.wrapped[ufunc](*plain, **kwargs))
        if out is not None:
            kwargs["out"] = tuple(bare(one) for one in out)
        found = getattr(ufunc, method)(*plain, **kwargs)
        return out[0] if out is not None else watched(found)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        plain = [bare(one) for one in args]
        named = {name: bare(one) for name, one in kwargs.items()}
        return watched(self.wrapped.get(function, function)(*plain, **named))

    def mean(self, *args: Any, **kwargs: Any) -> Any:
        return np.mean(self, *args, **kwargs)

    def sum(self, *args: Any, **kwargs: Any) -> Any:
        return np.sum(self, *args, **kwargs)

    def var(self, *args: Any, **kwargs: Any) -> Any:
        return np.var(self, *args, **kwargs)

    def std(self, *args: Any, **kwargs: Any) -> Any:
        return np.std(self, *args, **kwargs)


def bare(value: Any) -> Any:
    """What holds watched arrays with plain ones in their places."""
    if isinstance(value, Watched):
        return value.view(np.ndarray)
    if isinstance(value, list | tuple):
        return type(value)(map(bare, value))
    return value


def watched(value: Any) -> Any:
    """Floating results as watched arrays; a number too, so that what follows is seen."""
    if isinstance(value, tuple):
        return tuple(map(watched, value))
    if isinstance(value, np.ndarray | np.floating) and value.dtype.kind == "f":
        return np.asarray(value).view(Watched)
    return value


class NumpyOperations:
    def to_array(self, value: Any) -> np.ndarray:
        return np.asarray(value).view(np.ndarray)

    def to_native(self, array: np.ndarray) -> Any:
        return array

    @contextmanager
    def replaced(self, wrap: Wrap) -> Iterator[None]:
        native = numpy_port.to_native

        def to_watched(value: Any, dtype: str | None) -> Any:
            return watched(native(value, dtype))

        Watched.wrapped = {
            function: wrap(function, translation)
            for function, translation in (UFUNCS | REDUCTIONS).items()
        }
        numpy_port.to_native = to_watched
        try:
            yield
        finally:
            numpy_port.to_native = native
            Watched.wrapped = {}


OPERATIONS = NumpyOperations()
