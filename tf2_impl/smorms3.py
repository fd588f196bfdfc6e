"""SMORMS3: a step size for every entry, from how steady its gradient has been.

    r         = 1 / (1 + memory), with memory 1 at first, before it moves
    gradient ← (1 − r) · gradient + r · x
    square   ← (1 − r) · square + r · x²
    ratio     = gradient² / (square + epsilon)
    memory   ← 1 + memory · (1 − ratio)
    p        ← p − min(lr, ratio) · x / (√square + epsilon)

x is the gradient of the parameter p; memory is the number of steps that the two means look back on.

Sources: Funk 2015 (RMSprop loses to SMORMS3: beware the epsilon); seed topic, implementing the
SMORMS3 optimizer in PyTorch.
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

    learning_rate: a number, a Keras schedule or a callable. Keras keeps a number in its floatx,
    also for float64 variables. `memory`, `gradient` and `square` are lists of variables, one for
    each trained variable, in their order and of their shapes. For a half variable the state and
    the arithmetic are in float32.

    Of IndexedSlices, entries of the same row are summed, and only the rows that are in them move,
    with their state. For the others it is as if the step had not been, where a dense gradient of
    zero leaves the variable but moves the state: gradient and square decay, and memory changes.
    The two are equal when every row is in every gradient. The work and the memory of such a step
    grow with the rows in the gradient, not with the table; but with Keras's own accumulation of
    gradients, loss scale, weight decay or moving averages it is dense.

    ValueError for a learning_rate that is negative or an epsilon that is not positive.
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
        place = self._get_variable_index(variable)
        # A Keras variable would be read whole where some rows of TensorFlow's are.
        state = (one[place].value for one in (self.memory, self.gradient, self.square))
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
