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

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tf2_impl.support.checks import check_number
from tf2_impl.support.optimizer import Gradient, Optimizer, sum_rows
from tf2_impl.support.precision import single, widened


@keras.saving.register_keras_serializable("fourfold")
class SMORMS3(Optimizer):
    """The optimizer, for dense gradients and `tf.IndexedSlices`.

    IndexedSlices move only the rows that they contain, with their state; entries of the same row
    are summed first. The other rows stay as they are, where a dense gradient of zero would leave
    the variable but change the state: gradient and square decay, and memory changes. The time and
    memory of such a step grow with the rows in the gradient, not with the table; but Keras's own
    accumulation of gradients, loss scale, weight decay and moving averages make it dense.

    Args:
        learning_rate: the largest learning rate, at least 0: a number, a Keras schedule or a
            callable. Keras keeps a number in its floatx, also for float64 variables.
        epsilon: keeps the divisions finite; above 0.
        name, kwargs: as in every Keras optimizer.
    Attributes:
        memory, gradient, square: lists of variables, one for each trained variable, of its shape.
            For half variables state and step are float32: epsilon is 0 in float16.
    Raises:
        TypeError: a learning_rate or epsilon that is no number. ValueError: one that is out of
            range.
    Example:
        >>> variable = keras.Variable([0.0, 0.0])
        >>> optimizer = SMORMS3(0.1)
        >>> optimizer.apply([tf.constant([2.0, -2.0])], [variable])
        >>> variable.numpy().tolist()  # r = 1/2: min(lr, 1/2) · x / √(x²/2)
        [-0.141..., 0.141...]
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule | Callable = 0.0025,
        epsilon: float = 1e-16,
        name: str = "smorms3",
        **kwargs: Any,
    ) -> None:
        if not callable(learning_rate):  # as a schedule is, too
            learning_rate = check_number("learning_rate", learning_rate, least=0)
        epsilon = check_number("epsilon", epsilon, above=0)
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.epsilon = epsilon

    def build(self, variables: list[keras.Variable]) -> None:
        """Make the state of these variables."""
        if self.built:
            return
        super().build(variables)
        self.memory, self.gradient, self.square = self.add_optimizer_variables(
            variables, ["memory", "gradient", "square"], ["ones", "zeros", "zeros"]
        )

    def update_step(
        self, gradient: Gradient, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """One step of one variable, of all its rows or of those in the slices."""
        index = self._get_variable_index(variable)
        # `.value`: a gather from a Keras variable would read it whole.
        state = (one[index].value for one in (self.memory, self.gradient, self.square))
        variables = (variable, *state)
        dtype = single(variable.dtype)  # in float16 epsilon is 0
        lr = tf.cast(learning_rate, dtype)
        # tf.cast would make a float32 of the number first.
        epsilon = tf.constant(self.epsilon, dtype)
        if isinstance(gradient, tf.IndexedSlices):
            rows = widened(gradient.values)
            slices = sum_rows(tf.IndexedSlices(rows, gradient.indices, gradient.dense_shape))
            touched = [widened(tf.gather(one, slices.indices)) for one in variables]
            moved = _advanced(touched, slices.values, lr, epsilon)
            for one, rows in zip(variables, moved, strict=True):
                self.assign(one, tf.IndexedSlices(tf.cast(rows, one.dtype), slices.indices))
        else:
            whole = [widened(tf.convert_to_tensor(one)) for one in variables]
            moved = _advanced(whole, widened(gradient), lr, epsilon)
            for one, value in zip(variables, moved, strict=True):
                self.assign(one, tf.cast(value, one.dtype))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


def _advanced(
    variables: Sequence[tf.Tensor], x: tf.Tensor, lr: tf.Tensor, epsilon: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """parameter, memory, gradient and square after one step by the rule above."""
    parameter, memory, gradient, square = variables
    r = 1 / (1 + memory)
    gradient = (1 - r) * gradient + r * x
    square = (1 - r) * square + r * x**2
    ratio = gradient**2 / (square + epsilon)
    memory = 1 + memory * (1 - ratio)
    parameter -= tf.minimum(lr, ratio) * x / (tf.sqrt(square) + epsilon)
    return parameter, memory, gradient, square
