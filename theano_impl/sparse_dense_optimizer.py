"""One optimizer for sparse gradients and one for dense ones, used as a single optimizer.

    opt = SparseDenseOptimizer(model.params, sparse=partial(SMORMS3, lr=0.01), dense=SMORMS3)

The graph of a parameter's first gradient decides which of the two optimizers moves
it: see `sparse_gradients`.

Source: PyTorch's embeddings can have sparse gradients, which Adam refuses, while SparseAdam refuses
dense ones; a known way out is a list of optimizers that steps all of them. Here the list is one
optimizer, and finds out by itself which parameter belongs to which.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from theano.compile.sharedvalue import SharedVariable
from theano.tensor.var import TensorVariable

from theano_impl.support.optimizer import Optimizer
from theano_impl.support.sparse_gradients import sparse_rows

KINDS = ("sparse", "dense")


class SparseDenseOptimizer(Optimizer):
    """An optimizer that finds out which parameters get sparse gradients, and which dense ones.

    The first call of `updates` sees the gradients and makes the two optimizers. Only after it are
    there a `.state`, which joins the states of both, and arrays to save and load.

    Args:
        params: shared variables of float32 or float64.
        sparse, dense: functions of a list of params that make an `Optimizer`, such as `SMORMS3`.
    Attributes:
        sparse, dense: the two optimizers; None for one that no parameter needs.
    Raises:
        TypeError: what does not make an optimizer. ValueError: no parameters; in `updates`, a
            gradient of another kind than the first one of its parameter.
    Example:
        >>> import numpy as np, theano
        >>> from theano_impl.smorms3 import SMORMS3
        >>> table, head = theano.shared(np.ones((5, 3))), theano.shared(np.ones((3, 1)))
        >>> optimizer = SparseDenseOptimizer([table, head], sparse=SMORMS3, dense=SMORMS3)
        >>> updates = optimizer.updates(table[[1, 2]].dot(head).sum())
        >>> optimizer.sparse.params == [table], optimizer.dense.params == [head]
        (True, True)
    """

    def __init__(
        self,
        params: Sequence[SharedVariable],
        sparse: Callable[[list[SharedVariable]], Optimizer],
        dense: Callable[[list[SharedVariable]], Optimizer],
    ) -> None:
        super().__init__(params)
        self._makers = {"sparse": sparse, "dense": dense}
        for name, make in self._makers.items():
            if not callable(make):
                got = type(make).__name__
                raise TypeError(f"{name}: expected a function of parameters, got {got}")
        self.sparse: Optimizer | None = None
        self.dense: Optimizer | None = None
        self.state = {}
        self._kinds: list[str] = []

    def updates(
        self, loss_or_gradients: TensorVariable | Sequence[TensorVariable]
    ) -> OrderedDict[SharedVariable, TensorVariable]:
        """What one step of both changes, for `theano.function(..., updates=...)`.

        Args:
            loss_or_gradients: a scalar, or the gradient of each parameter.
        Returns:
            {shared variable: its new value}, of the params and their state.
        Raises:
            ValueError: a gradient of another kind than the first one of its parameter.
        """
        gradients = self.gradients(loss_or_gradients)
        kinds = ["dense" if sparse_rows(one) is None else "sparse" for one in gradients]
        if not self._kinds:
            self._make(kinds)
        for index, (kind, known) in enumerate(zip(kinds, self._kinds, strict=True)):
            if kind != known:
                what = f"a {known} gradient of parameter {index}, {self.params[index]}"
                raise ValueError(f"loss_or_gradients: expected {what}, as before, got a {kind} one")
        changes: OrderedDict[SharedVariable, TensorVariable] = OrderedDict()
        for one in filter(None, (self.sparse, self.dense)):
            changes.update(one.updates([gradients[self.params.index(p)] for p in one.params]))
        return changes

    def shared_variables(self) -> dict[str, SharedVariable]:
        """The rates and the states of both, named `sparse.…` and `dense.…`."""
        if not self._kinds:
            raise ValueError("updates: expected to have been called, got no gradients so far")
        return {
            f"{kind}.{name}": shared
            for kind, one in zip(KINDS, (self.sparse, self.dense), strict=True)
            for name, shared in (one.shared_variables() if one else {}).items()
        }

    def _make(self, kinds: list[str]) -> None:
        """Make the optimizer of each kind that some parameter has."""
        made: dict[str, Optimizer] = {}
        for kind, make in self._makers.items():
            own = [param for param, found in zip(self.params, kinds, strict=True) if found == kind]
            if own:
                made[kind] = make(own)
                if not isinstance(made[kind], Optimizer):
                    got = type(made[kind]).__name__
                    raise TypeError(f"{kind}: expected it to make an Optimizer, got {got}")
        self.sparse, self.dense = made.get("sparse"), made.get("dense")
        self.state = {param: one for inner in made.values() for param, one in inner.state.items()}
        self._kinds = kinds
