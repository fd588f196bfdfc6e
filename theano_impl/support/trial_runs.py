"""Runs of a loss for the sanity checks, after which all shared variables are as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np
import theano
import theano.tensor as T
from theano.compile.sharedvalue import SharedVariable
from theano.gradient import NullType
from theano.graph.basic import Variable, graph_inputs
from theano.tensor.var import TensorVariable


def check_graph(loss: TensorVariable, inputs: Sequence[Variable], batch: Sequence[Any]) -> None:
    """TypeError for what is no graph or no list, ValueError for axes, or a batch that is unfit."""
    if not isinstance(loss, TensorVariable):
        raise TypeError(f"loss: expected a symbolic variable, got {type(loss).__name__}")
    if loss.ndim:
        raise ValueError(f"loss: expected one number, got {loss.ndim} axes")
    if not isinstance(batch, list | tuple):
        raise TypeError(f"batch: expected a list or a tuple, got {type(batch).__name__}")
    if not batch:
        raise ValueError("batch: expected at least one array, got none")
    if len(batch) != len(inputs):
        raise ValueError(f"batch: expected {len(inputs)} arrays, as inputs, got {len(batch)}")
    for shape in (tuple(getattr(one, "shape", ())) for one in batch):
        if shape and shape[0] == 0:
            raise ValueError(f"batch: expected at least one row, got shape {shape}")


def named_weights(
    loss: TensorVariable, params: Sequence[SharedVariable]
) -> list[tuple[str, np.ndarray]]:
    """(name, value) of the params, then of the other floating shared variables behind a loss.

    A name that several have, or none, is followed by its index.
    """
    floating = [one for one in _shared(loss) if getattr(one, "dtype", None) in T.float_dtypes]
    weights = [*params, *(one for one in floating if one not in params)]
    names = [one.name or "unnamed" for one in weights]
    return [
        (
            name if names.count(name) == 1 and one.name else f"{name} ({index})",
            one.get_value(borrow=True),
        )
        for index, (name, one) in enumerate(zip(names, weights, strict=True))
    ]


@contextmanager
def unchanged(loss: TensorVariable, params: Sequence[SharedVariable]) -> Iterator[None]:
    """Whatever runs inside, the shared variables behind a loss are afterwards as they were."""
    values = [(variable, variable.get_value()) for variable in {*_shared(loss), *params}]
    try:
        yield
    finally:
        for variable, value in values:
            variable.set_value(value)


def _shared(loss: TensorVariable) -> list[SharedVariable]:
    return [one for one in graph_inputs([loss]) if isinstance(one, SharedVariable)]


def gradients_of(
    loss: TensorVariable, params: Sequence[SharedVariable]
) -> list[TensorVariable | None]:
    """The gradient of each parameter, None where there is none."""
    gradients = T.grad(
        loss,
        list(params),
        disconnected_inputs="ignore",
        return_disconnected="None",
        null_gradients="return",
    )
    return [None if one is None or isinstance(one.type, NullType) else one for one in gradients]


def loss_and_gradients(
    loss: TensorVariable, params: Sequence[SharedVariable], inputs: Sequence[Variable]
) -> Callable[..., tuple[np.ndarray, list[np.ndarray | None]]]:
    """batch → the loss, and the gradient of each parameter, None where there is none."""
    gradients = gradients_of(loss, params)
    reached = [one for one in gradients if one is not None]
    function = theano.function(list(inputs), [loss, *reached], on_unused_input="ignore")

    def run(*batch: Any) -> tuple[np.ndarray, list[np.ndarray | None]]:
        with unchanged(loss, params):
            value, *found = function(*batch)
        left = iter(found)
        return value, [None if one is None else next(left) for one in gradients]

    return run


def measurer(
    loss: TensorVariable,
    params: Sequence[SharedVariable],
    inputs: Sequence[Variable],
    batch: Sequence[Any],
) -> Callable[[Mapping[int, np.ndarray]], tuple[float, list[float | None]]]:
    """The loss and the largest |gradient| of each parameter, with some parameters moved."""
    run = loss_and_gradients(loss, params, inputs)

    def measure(moved: Mapping[int, np.ndarray]) -> tuple[float, list[float | None]]:
        with unchanged(loss, params):
            for index, value in moved.items():
                params[index].set_value(value)
            found, gradients = run(*batch)
        return float(found), [_largest(gradient) for gradient in gradients]

    return measure


def _largest(gradient: np.ndarray | None) -> float | None:
    """The largest absolute entry; NaN where there is one, None without a gradient."""
    return None if gradient is None else float(np.abs(gradient).max(initial=0))


def is_finite(x: Any) -> bool:
    """False for an array that holds NaN or infinity; True for no array, and for none."""
    if not hasattr(x, "dtype"):
        return True
    entries = x.data if hasattr(x, "indptr") else np.asarray(x)  # of a sparse matrix, the stored
    return entries.dtype.kind != "f" or bool(np.isfinite(entries).all())


def to_number(name: str, x: np.ndarray | float) -> float:
    """A number, or an array without axes, as a float."""
    if not isinstance(x, np.ndarray | Real):
        raise TypeError(f"{name}: expected a number, got {type(x).__name__}")
    if not isinstance(x, Real) and x.ndim:
        raise ValueError(f"{name}: expected one number, got shape {x.shape}")
    return float(x)
