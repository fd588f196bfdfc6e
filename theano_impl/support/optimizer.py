"""What every Theano optimizer has: parameters, updates of them, and a state that can be kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
import theano.tensor as T
from theano.compile.sharedvalue import SharedVariable
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import FLOATS


class Optimizer:
    """Base of the optimizers: `.params` are the shared variables that it moves.

    `.state[param]` is what it keeps for one of them, shared variables by name.

    Derived ones write `updates` and `shared_variables`. ValueError for no params or one that comes
    twice, TypeError for what is not a shared variable of float32 or float64.
    """

    state: Mapping[SharedVariable, dict[str, SharedVariable]]

    def __init__(self, params: Sequence[SharedVariable]) -> None:
        self.params = list(params)
        if not self.params:
            raise ValueError("params: expected at least one shared variable, got none")
        for param in self.params:
            if not isinstance(param, SharedVariable):
                raise TypeError(f"params: expected shared variables, got {type(param).__name__}")
            if param.dtype not in FLOATS:
                raise TypeError(f"params: expected float32 or float64, got {param.dtype}")
        if len(set(self.params)) < len(self.params):
            raise ValueError("params: expected each shared variable once, got one twice")

    def updates(
        self, loss_or_gradients: TensorVariable | Sequence[TensorVariable]
    ) -> OrderedDict[SharedVariable, TensorVariable]:
        """What one step changes, for `theano.function(..., updates=...)`.

        loss_or_gradients: a scalar, or the gradient of each parameter.
        """
        raise NotImplementedError

    def shared_variables(self) -> dict[str, SharedVariable]:
        """The rates and the state, by name."""
        raise NotImplementedError

    def state_arrays(self) -> dict[str, np.ndarray]:
        """The rates and the state as arrays, copied: with them a training goes on as it would."""
        return {name: one.get_value() for name, one in self.shared_variables().items()}

    def load_state_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from what `state_arrays` gave.

        ValueError for other names, shapes or dtypes; nothing has been changed by then.
        """
        shared = self.shared_variables()
        wanted = {name: _kind(one.get_value(borrow=True)) for name, one in shared.items()}
        given = {name: _kind(array) for name, array in arrays.items()}
        if given != wanted:
            raise ValueError(f"arrays: expected {wanted}, got {given}")
        for name, one in shared.items():
            one.set_value(np.array(arrays[name]))

    def gradients(
        self, loss_or_gradients: TensorVariable | Sequence[TensorVariable]
    ) -> list[TensorVariable]:
        """The gradient of each parameter: of a loss, or those that are given.

        ValueError for another number of them, and for what has the axes or the dtype of neither.
        """
        if isinstance(loss_or_gradients, TensorVariable):
            if loss_or_gradients.ndim:
                wanted = "a scalar loss or a list of gradients"
                got = f"{loss_or_gradients.ndim} axes"
                raise ValueError(f"loss_or_gradients: expected {wanted}, got {got}")
            return T.grad(loss_or_gradients, self.params)
        found = list(loss_or_gradients)
        wanted_types = [(param.dtype, param.ndim) for param in self.params]
        given_types = [(one.dtype, one.ndim) for one in found]
        if given_types != wanted_types:
            raise ValueError(f"loss_or_gradients: expected {wanted_types}, got {given_types}")
        return found


def _kind(array: np.ndarray) -> str:
    return f"{array.dtype}{array.shape}"
