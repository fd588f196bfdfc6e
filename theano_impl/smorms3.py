"""SMORMS3: a step size for every entry of a parameter, from how steady its gradient has been.

    r         = 1 / (1 + memory)
    gradient ← (1 − r) · gradient + r · x
    square   ← (1 − r) · square + r · x²
    ratio     = gradient² / (square + epsilon)
    memory   ← 1 + memory · (1 − ratio)
    p        ← p − min(lr, ratio) · x / (√square + epsilon)

x is the gradient of the parameter p. The two means start at 0; memory is about the number of steps
that they look back on. It starts at 1, and r is taken before memory moves.

Source: S. Funk, "RMSprop loses to SMORMS3: Beware the Epsilon!", 2015.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import theano
import theano.tensor as T
from theano.compile.sharedvalue import SharedVariable
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import check_number
from theano_impl.support.optimizer import Optimizer
from theano_impl.support.sparse_gradients import sparse_rows


class SMORMS3(Optimizer):
    """The optimizer, for dense gradients and those of lookups in a table.

    A gradient is sparse when its graph only increments rows (see `sparse_gradients`). It moves only
    the rows that it contains, with their state; increments of the same row are summed first. The
    other rows stay as they are, where a dense gradient of zero would leave the parameter but change
    the state: gradient and square decay, and memory changes. The time and memory of such a step
    grow with the rows in the gradient, not with the table.

    Args:
        params: shared variables of float32 or float64.
        lr: the largest learning rate, at least 0.
        epsilon: keeps the divisions finite; above 0.
    Attributes:
        state: {param: {"memory", "gradient", "square"}}, shared variables of the param's shape.
        lr: a shared variable, which may be set between steps.
    Raises:
        TypeError: params of another type, an lr or epsilon that is no number. ValueError: no
            params, an lr or epsilon out of range.
    Example:
        >>> param = theano.shared(np.zeros(2))
        >>> updates = SMORMS3([param], lr=0.1).updates([T.constant([2.0, -2.0])])
        >>> theano.function([], [], updates=updates)()
        []
        >>> param.get_value().tolist()  # r = 1/2: min(lr, 1/2) · x / √(x²/2)
        [-0.141..., 0.141...]
    """

    def __init__(
        self, params: Sequence[SharedVariable], lr: float = 0.0025, epsilon: float = 1e-16
    ) -> None:
        super().__init__(params)
        lr = check_number("lr", lr, least=0)
        epsilon = check_number("epsilon", epsilon, above=0)
        self.lr = theano.shared(np.asarray(lr, "float64"), name="lr")
        self.epsilon = epsilon
        self.state = {param: _fresh_state(param) for param in self.params}

    def updates(
        self, loss_or_gradients: TensorVariable | Sequence[TensorVariable]
    ) -> OrderedDict[SharedVariable, TensorVariable]:
        """What one step changes, for `theano.function(..., updates=...)`.

        Args:
            loss_or_gradients: a scalar, or the gradient of each parameter.
        Returns:
            {shared variable: its new value}, of the params and their state.
        """
        changes: OrderedDict[SharedVariable, TensorVariable] = OrderedDict()
        gradients = self.gradients(loss_or_gradients)
        for param, gradient in zip(self.params, gradients, strict=True):
            variables = (param, *self.state[param].values())
            lr, epsilon = T.cast(self.lr, param.dtype), np.asarray(self.epsilon, param.dtype)
            rows = sparse_rows(gradient)
            if rows is None:
                moved = _advanced(variables, gradient, lr, epsilon)
                changes.update(zip(variables, moved, strict=True))
            else:
                touched = [one[rows.ids] for one in variables]
                moved = _advanced(touched, rows.values, lr, epsilon)
                changes.update(zip(variables, map(T.set_subtensor, touched, moved), strict=True))
        return changes

    def shared_variables(self) -> dict[str, SharedVariable]:
        """`lr`, and `0.memory`, `0.gradient`, `0.square` and so on for each parameter."""
        state = {
            f"{index}.{name}": one
            for index, param in enumerate(self.params)
            for name, one in self.state[param].items()
        }
        return {"lr": self.lr, **state}


def _fresh_state(param: SharedVariable) -> dict[str, SharedVariable]:
    starts = {"memory": np.ones_like, "gradient": np.zeros_like, "square": np.zeros_like}
    value = param.get_value(borrow=True)
    return {
        name: theano.shared(start(value), name=name, broadcastable=param.broadcastable)
        for name, start in starts.items()
    }


def _advanced(
    variables: Sequence[TensorVariable],
    x: TensorVariable,
    lr: TensorVariable,
    epsilon: TensorVariable,
) -> tuple[TensorVariable, TensorVariable, TensorVariable, TensorVariable]:
    """parameter, memory, gradient and square after one step by the rule above."""
    parameter, memory, gradient, square = variables
    r = 1 / (1 + memory)
    gradient = (1 - r) * gradient + r * x
    square = (1 - r) * square + r * x**2
    ratio = gradient**2 / (square + epsilon)
    memory = 1 + memory * (1 - ratio)
    parameter = parameter - T.minimum(lr, ratio) * x / (T.sqrt(square) + epsilon)
    return parameter, memory, gradient, square
