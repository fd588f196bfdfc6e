"""One optimizer for sparse gradients and one for dense ones, driven as if they were one.

    opt = SparseDenseOptimizer(model.params, sparse=partial(SMORMS3, lr=0.01), dense=SMORMS3)

Which of the two moves a parameter, the graph of its gradient says: see `sparse_gradients`.

Source: seed topic, combining dense and sparse gradients in PyTorch.
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
    """An optimizer that finds out by itself which parameters get which kind of gradient.

    params: floating shared variables. sparse, dense: functions of a list of them that make an
    `Optimizer`, such as `SMORMS3`. They are called by the first `updates`, which sees the
    gradients; from then on `.sparse` and `.dense` are the two, or None for one that no parameter
    needs, `.state` is that of both, and it can be saved and loaded.

    TypeError for what does not make an optimizer, ValueError for no parameters.
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

        loss_or_gradients: a scalar, or the gradient of each parameter. ValueError for a gradient
        of another kind than the first that its parameter got.
        """
        gradients = self.gradients(loss_or_gradients)
        kinds = ["dense" if sparse_rows(one) is None else "sparse" for one in gradients]
        if not self._kinds:
            self._make(kinds)
        for place, (kind, known) in enumerate(zip(kinds, self._kinds, strict=True)):
            if kind != known:
                what = f"a {known} gradient of parameter {place}, {self.params[place]}"
                raise ValueError(f"loss_or_gradients: expected {what}, as before, got a {kind} one")
        changes: OrderedDict[SharedVariable, TensorVariable] = OrderedDict()
        for one in filter(None, (self.sparse, self.dense)):
            changes.update(one.updates([gradients[self.params.index(p)] for p in one.params]))
        return changes

    def shared_variables(self) -> dict[str, SharedVariable]:
        """Those of the two, with `sparse.` and `dense.` before their names."""
        if not self._kinds:
            raise ValueError("updates: expected to have been called, got no gradients so far")
        return {
            f"{kind}.{name}": shared
            for kind, one in zip(KINDS, (self.sparse, self.dense), strict=True)
            for name, shared in (one.shared_variables() if one else {}).items()
        }

    def _make(self, kinds: list[str]) -> None:
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
