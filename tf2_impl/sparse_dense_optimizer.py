"""One optimizer for sparse gradients and one for dense ones, used as a single optimizer.

    opt = SparseDenseOptimizer(sparse=SMORMS3(0.01), dense=Adam())

The first gradient of a variable decides which of the two optimizers moves it:
`tf.IndexedSlices` are sparse.

Source: PyTorch's embeddings can have sparse gradients, which Adam refuses, while SparseAdam refuses
dense ones; a known way out is a list of optimizers that steps all of them. Here the list is one
optimizer, and finds out by itself which parameter belongs to which.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tf2_impl.support.checks import check_number
from tf2_impl.support.optimizer import Gradient, Optimizer


@keras.saving.register_keras_serializable("fourfold")
class SparseDenseOptimizer(Optimizer):
    """An optimizer that finds out which variables get sparse gradients, and which dense ones.

    Keras makes the state before any gradient is known. So both optimizers have a state for every
    variable, of which one is never touched. What is set on this optimizer itself, such as clipping,
    sees the gradients of both.

    `learning_rate` is the rate of `.dense`. Setting it, as callbacks do, changes the rate of
    `.sparse` by the same factor.

    Args:
        sparse, dense: two Keras optimizers.
        name, kwargs: as in every Keras optimizer.
    Attributes:
        sparse, dense: the two optimizers.
    Raises:
        TypeError: what is not a Keras optimizer. ValueError: the same optimizer twice;
            gradient_accumulation_steps or loss_scale_factor, with which Keras makes gradients
            dense; in a step, a gradient of another kind than the first one of its variable.
    Example:
        >>> optimizer = SparseDenseOptimizer(keras.optimizers.SGD(0.5), keras.optimizers.Adam())
        >>> table = keras.Variable([[1.0], [1.0]])
        >>> optimizer.apply([tf.IndexedSlices([[1.0]], [1], [2, 1])], [table])
        >>> table.numpy().tolist()
        [[1.0], [0.5]]
    """

    def __init__(
        self,
        sparse: keras.optimizers.Optimizer,
        dense: keras.optimizers.Optimizer,
        name: str = "sparse_dense_optimizer",
        **kwargs: Any,
    ) -> None:
        for argument, one in (("sparse", sparse), ("dense", dense)):
            if not isinstance(one, keras.optimizers.Optimizer):
                got = type(one).__name__
                raise TypeError(f"{argument}: expected a Keras optimizer, got {got}")
        if sparse is dense:
            raise ValueError("dense: expected an optimizer of its own, got that of sparse")
        for argument in ("gradient_accumulation_steps", "loss_scale_factor"):
            if kwargs.get(argument) is not None:
                raise ValueError(f"{argument}: expected None, got {kwargs[argument]}")

        def learning_rate() -> Any:
            return dense.learning_rate

        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.sparse = sparse
        self.dense = dense
        self._kinds: dict[str, str] = {}

    @property
    def learning_rate(self) -> Any:
        return self.dense.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: float) -> None:
        before = float(self.dense.learning_rate)
        before = check_number("learning_rate before", before, above=0)
        self.sparse.learning_rate = float(self.sparse.learning_rate) * (learning_rate / before)
        self.dense.learning_rate = learning_rate

    def build(self, variables: list[keras.Variable]) -> None:
        """Make the state of both."""
        if self.built:
            return
        super().build(variables)
        self.sparse.build(variables)
        self.dense.build(variables)

    @property
    def variables(self) -> list[keras.Variable]:
        return [*super().variables, *self.sparse.variables, *self.dense.variables]

    def save_own_variables(self, store: dict[str, Any]) -> None:
        """Save this optimizer's variables alone: Keras saves those of the two beside them."""
        for index, variable in enumerate(super().variables):
            store[str(index)] = variable.numpy()

    def load_own_variables(self, store: dict[str, Any]) -> None:
        """Load what `save_own_variables` wrote."""
        for index, variable in enumerate(super().variables):
            variable.assign(store[str(index)])

    def _backend_update_step(
        self,
        grads: Sequence[Gradient],
        trainable_variables: Sequence[keras.Variable],
        learning_rate: Any,
    ) -> None:
        pairs = list(zip(grads, trainable_variables, strict=True))
        kinds = [self._kind(*pair) for pair in pairs]
        for kind, one in (("sparse", self.sparse), ("dense", self.dense)):
            own = [pair for pair, found in zip(pairs, kinds, strict=True) if found == kind]
            if own:
                one.apply_gradients(own)

    def _kind(self, gradient: Gradient, variable: keras.Variable) -> str:
        """sparse or dense; ValueError unless this variable always had gradients of this kind."""
        kind = "sparse" if isinstance(gradient, tf.IndexedSlices) else "dense"
        index = self._get_variable_index(variable)
        known = self._kinds.setdefault(str(index), kind)
        if kind != known:
            name = getattr(variable, "path", variable.name)
            what = f"a {known} gradient of {name}, of shape {tuple(variable.shape)}"
            raise ValueError(f"grads: expected {what}, as before, got a {kind} one")
        return kind

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "sparse": self.sparse, "dense": self.dense}
        del config["learning_rate"]
        for name in ("sparse", "dense"):
            config[name] = keras.saving.serialize_keras_object(config[name])
        return config

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> SparseDenseOptimizer:
        inner = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
            for name in ("sparse", "dense")
        }
        return cls(**{**config, **inner})
