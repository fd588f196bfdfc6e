"""One optimizer for sparse gradients and one for dense ones, used as a single optimizer.

    opt = SparseDenseOptimizer(model.parameters(), sparse=SparseAdam, dense=Adam)

The first gradient of a parameter decides which of the two optimizers moves it.

Source: PyTorch's embeddings can have sparse gradients, which Adam refuses, while SparseAdam refuses
dense ones; a known way out is a list of optimizers that steps all of them. Here the list is one
optimizer, and finds out by itself which parameter belongs to which.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from pytorch_impl.smorms3 import STATE
from pytorch_impl.support.parameter_groups import copied_group, listed_parameters, made_optimizer
from pytorch_impl.support.precision import restore_state

KINDS = ("sparse", "dense")


class SparseDenseOptimizer(Optimizer):
    """An optimizer that finds out which parameters get sparse gradients, and which dense ones.

    `param_groups` are the groups of `.sparse`, then those of `.dense`. Every group is in both, with
    a learning rate for each, so a schedule of the rate moves both; one that cycles a momentum moves
    it in both, if both have one. A parameter is in a group of `.dense` until it gets a sparse
    gradient. `state` joins the states of both.

    Args:
        params: tensors, named or not, or groups of them.
        sparse, dense: functions of a list of groups that make an optimizer, such as
            `torch.optim.SparseAdam` or `functools.partial(SMORMS3, lr=3e-4)`.
    Attributes:
        sparse, dense: the two optimizers.
    Raises:
        TypeError: what does not make an optimizer. ValueError: no parameters; in `step`, a gradient
            of another kind than the first one of its parameter.
    Example:
        >>> embedding, head = torch.nn.Embedding(5, 3, sparse=True), torch.nn.Linear(3, 1)
        >>> parameters = [*embedding.parameters(), *head.parameters()]
        >>> optimizer = SparseDenseOptimizer(parameters, torch.optim.SparseAdam, torch.optim.Adam)
        >>> head(embedding(torch.tensor([1, 2]))).sum().backward()
        >>> optimizer.step()
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        sparse: Callable[[list[dict[str, Any]]], Optimizer],
        dense: Callable[[list[dict[str, Any]]], Optimizer],
    ) -> None:
        groups = list(params)
        if not groups:
            raise ValueError("params: expected at least one tensor or group, got none")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        groups = [{**group, "params": listed_parameters(group["params"])} for group in groups]
        self.sparse = made_optimizer("sparse", sparse, groups)
        self.dense = made_optimizer("dense", dense, groups)
        self._members: list[list[Tensor]] = []
        self._names: dict[Tensor, str] = {}
        self._kinds: dict[Tensor, str] = {}
        for group in self.dense.param_groups:
            self._remember(group)
        self._sort()
        # Optimizer.__init__ would keep groups and a state beside those of the two optimizers.
        # __setstate__ makes the rest, as it does for an optimizer that is unpickled. Schedules look
        # in the defaults for a momentum or betas to cycle: those that both optimizers have.
        common = self.sparse.defaults.keys() & self.dense.defaults.keys()
        super().__setstate__({"defaults": {name: self.dense.defaults[name] for name in common}})

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [*self.sparse.param_groups, *self.dense.param_groups]

    @property
    def state(self) -> dict[Tensor, Any]:
        return {**self.sparse.state, **self.dense.state}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both; returns what the closure does.

        ValueError, before anything has moved, for a gradient of another kind than the first that
        its parameter got.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._learn_kinds()
        self.sparse.step()
        self.dense.step()
        return loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Another group of parameters, for both."""
        group = {**param_group, "params": listed_parameters(param_group["params"])}
        new = [one[1] if isinstance(one, tuple) else one for one in group["params"]]
        if set(self._every()).intersection(new):
            raise ValueError("param_group: expected new parameters, got one that is in a group")
        self.sparse.add_param_group(copied_group(group))
        self.dense.add_param_group(copied_group(group))
        self._remember(self.dense.param_groups[-1])
        self._sort()

    def state_dict(self) -> dict[str, Any]:
        """As of every optimizer, with the `kinds` of the parameters, None where not yet known."""
        return {**super().state_dict(), "kinds": [self._kinds.get(one) for one in self._every()]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a `state_dict`, also before the first gradient.

        ValueError, before anything has changed, for a state_dict of other groups of parameters.
        """
        before, every, kinds = self._kinds, self._every(), state_dict.get("kinds", ())
        if len(kinds) != len(every):
            wanted = f"the kinds of {len(every)} parameters"
            raise ValueError(f"state_dict: expected {wanted}, got {len(kinds)}")
        self._kinds = {one: kind for one, kind in zip(every, kinds, strict=True) if kind}
        self._sort()
        try:
            super().load_state_dict(state_dict)
            restore_state(self, state_dict, STATE)
        except ValueError:
            self._kinds = before
            self._sort()
            raise

    def __getstate__(self) -> dict[str, Any]:
        names = ("defaults", "sparse", "dense", "_members", "_names", "_kinds")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "param_groups" not in state:  # unpickled
            super().__setstate__(state)
            return
        # load_state_dict ends here, with the groups and the state of both.
        groups, count = state["param_groups"], len(self.sparse.param_groups)
        for one, own in ((self.sparse, groups[:count]), (self.dense, groups[count:])):
            members = [parameter for group in own for parameter in group["params"]]
            kept = {each: state["state"][each] for each in members if each in state["state"]}
            one.__setstate__({"state": defaultdict(dict, kept), "param_groups": own})

    def _remember(self, group: dict[str, Any]) -> None:
        """Keep the parameters of a group in their first order, and their names."""
        self._members.append(list(group["params"]))
        self._names |= zip(group["params"], group.get("param_names", ()), strict=False)

    def _every(self) -> list[Tensor]:
        """All parameters, in their first order."""
        return [one for members in self._members for one in members]

    def _learn_kinds(self) -> None:
        """Find the kind of each gradient; ValueError unless its parameter always had this kind."""
        found = {}
        for index, one in enumerate(self._every()):
            if one.grad is None:
                continue
            kind = "dense" if one.grad.layout is torch.strided else "sparse"
            known = self._kinds.get(one, kind)
            if kind != known:
                name = self._names.get(one, index)
                what = f"a {known} gradient of parameter {name}, of shape {tuple(one.shape)}"
                raise ValueError(f"params: expected {what}, as before, got a {kind} one")
            found[one] = kind
        if found.keys() - self._kinds.keys():
            self._kinds |= found
            self._sort()

    def _sort(self) -> None:
        """Put every parameter in the groups of its own optimizer, in their first order."""
        for kind, one in zip(KINDS, (self.sparse, self.dense), strict=True):
            for group, members in zip(one.param_groups, self._members, strict=True):
                own = [member for member in members if self._kinds.get(member, "dense") == kind]
                group["params"][:] = own
                if "param_names" in group:
                    group["param_names"] = [self._names[member] for member in own]
