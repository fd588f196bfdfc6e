"""Every kind of derivative that PyTorch has, of every differentiable operation, in one table.

    python -m shared_tests.support.torch_derivatives [COMPONENT]

All floating inputs and weights move along two random directions, so that a Hessian is 2 × 2 and
holds the mixed derivatives of all of them: f(t) = operation(sources + t₁·first + t₂·second).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call

from fourfold.backends.torch_backend import build, is_dense_float, named, to_native
from fourfold.definition import Cell, upstream
from fourfold.project import cells
from shared_tests.backends.torch_tools import TOOLS
from shared_tests.fixtures import normal

STEP = 1e-5  # of central differences of the gradient
EXACT, NUMERIC = 1e-9, 1e-5  # of derivative against derivative, and against differences


class Problem:
    """An operation's case as functions of its floating tensors, and of a step along directions."""

    def __init__(self, cell: Cell) -> None:
        self.smooth = smooth(cell)
        self.function = build(cell.component, cell.operation.name, cell.case)
        self.inputs = {name: to_native(value) for name, value in cell.case.inputs.items()}
        self.sources = {name: x for name, x in self.inputs.items() if is_dense_float(x)}
        if isinstance(self.function, nn.Module):
            parameters = dict(self.function.named_parameters())
            self.sources |= {f"weight {name}": x.detach() for name, x in parameters.items()}

    def outputs(self, sources: Mapping[str, Tensor], **others: Tensor) -> tuple[Tensor, ...]:
        """The floating outputs for these sources; others replace inputs that are integers."""
        inputs = [{**sources, **others}.get(name, x) for name, x in self.inputs.items()]
        if isinstance(self.function, nn.Module):
            weights = {
                name.removeprefix("weight "): x
                for name, x in sources.items()
                if name.startswith("weight ")
            }
            buffers = {name: x.clone() for name, x in self.function.named_buffers()}
            found = functional_call(self.function, weights | buffers, tuple(inputs))
        else:
            found = self.function(*inputs)
        return tuple(x for x in named(found).values() if x.is_floating_point())

    def total(self, sources: Mapping[str, Tensor]) -> Tensor:
        """A scalar in which every entry of every output has a weight of its own."""
        return sum(weighted(output) for output in self.outputs(sources))

    def at(self, t: Tensor) -> dict[str, Tensor]:
        """The sources after a step t, (2,), along their two directions."""
        return {
            name: x + t[0] * direction(x, 2 * place) + t[1] * direction(x, 2 * place + 1)
            for place, (name, x) in enumerate(self.sources.items())
        }


def direction(x: Tensor, seed: int) -> Tensor:
    """Normal numbers; zero for the padding's row of a table, which is a constant."""
    found = torch.from_numpy(normal(*x.shape, seed=100 + seed)).to(x) * 0.5
    if x.ndim == 2 and not x[0].any():
        found[0] = 0
    return found


def weighted(output: Tensor) -> Tensor:
    weights = torch.from_numpy(upstream(tuple(output.shape))).to(output)
    return (output * weights).sum()


def gradient(problem: Problem, t: Tensor) -> Tensor:
    """The first derivatives of the total along the directions, by autograd's backward."""
    t = t.detach().requires_grad_()
    (found,) = torch.autograd.grad(problem.total(problem.at(t)), t)
    return found


def check_first(problem: Problem) -> float:
    """Backward against differences of the values."""
    gradcheck(lambda t: problem.outputs(problem.at(t)), here(requires_grad=True), fast_mode=True)
    return 0.0


def check_second(problem: Problem) -> float:
    """Backward through the backward against differences of the gradient."""
    gradgradcheck(
        lambda t: problem.outputs(problem.at(t)), here(requires_grad=True), fast_mode=True
    )
    steps = STEP * torch.eye(2, dtype=torch.float64)
    rows = [(gradient(problem, step) - gradient(problem, -step)) / (2 * STEP) for step in steps]
    return error(twice_backward(problem, here()), torch.stack(rows), NUMERIC)


def here(*, requires_grad: bool = False) -> Tensor:
    return torch.zeros(2, dtype=torch.float64, requires_grad=requires_grad)


def twice_backward(problem: Problem, t: Tensor) -> Tensor:
    return torch.autograd.functional.hessian(lambda t: problem.total(problem.at(t)), t)


def check_grad(problem: Problem) -> float:
    """torch.func.grad by every source against backward."""
    leaves = {name: x.detach().clone().requires_grad_() for name, x in problem.sources.items()}
    wanted = torch.autograd.grad(
        problem.total(leaves), list(leaves.values()), materialize_grads=True
    )
    got = torch.func.grad(problem.total)(problem.sources)
    return max(error(got[name], one, EXACT) for name, one in zip(leaves, wanted, strict=True))


def check_vmap(problem: Problem) -> float:
    """A batch of three, with its own weights and integers for each, against one by one."""
    steps = (0, 0.01, 0.02) if problem.smooth else (0, 0, 0)
    moved = [problem.at(torch.tensor([s, -s], dtype=torch.float64)) for s in steps]
    batch = {name: torch.stack([one[name] for one in moved]) for name in problem.sources}
    others = {
        name: torch.stack([x, x, x])
        for name, x in problem.inputs.items()
        if isinstance(x, Tensor) and not x.is_floating_point()
    }

    def gradients(sources: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> Any:
        def total(sources: Mapping[str, Tensor]) -> Tensor:
            return sum(weighted(output) for output in problem.outputs(sources, **others))

        return torch.func.grad(total)(sources)

    got = torch.func.vmap(lambda one, more: problem.outputs(one, **more))(batch, others)
    got_gradients = torch.func.vmap(gradients)(batch, others)
    worst = 0.0
    for place in range(3):
        one = {name: x[place] for name, x in batch.items()}
        leaves = {name: x.detach().clone().requires_grad_() for name, x in one.items()}
        for mine, theirs in zip(got, problem.outputs(leaves), strict=True):
            worst = max(worst, error(mine[place], theirs.detach(), EXACT))
        wanted = torch.autograd.grad(
            problem.total(leaves), list(leaves.values()), materialize_grads=True
        )
        for name, theirs in zip(leaves, wanted, strict=True):
            worst = max(worst, error(got_gradients[name][place], theirs, EXACT))
    return worst


def check_jacrev(problem: Problem) -> float:
    """torch.func.jacrev of every output along the directions against backward, row by row."""
    t = here()

    def outputs(t: Tensor) -> tuple[Tensor, ...]:
        return tuple(output for output in problem.outputs(problem.at(t)) if output.numel())

    got = torch.func.jacrev(outputs)(t)
    wanted = torch.autograd.functional.jacobian(outputs, t)
    return max(error(mine, theirs, EXACT) for mine, theirs in zip(got, wanted, strict=True))


def check_hessian(problem: Problem) -> float:
    """torch.func.hessian, forward over reverse, against backward through backward."""
    t = here()
    got = torch.func.hessian(lambda t: problem.total(problem.at(t)))(t)
    return error(got, twice_backward(problem, t), EXACT)


def error(got: Tensor, wanted: Tensor, bound: float) -> float:
    """The largest difference, on the scale of what is wanted, which must be within the bound."""
    if not wanted.numel():
        return 0.0
    same = got == wanted  # infinities too
    apart = (got - wanted).masked_fill(same, 0).abs().max()
    found = float(apart / wanted.masked_fill(~wanted.isfinite(), 0).abs().max().clamp_min(1))
    assert found <= bound, f"off by {found:.1e}: got {got}, wanted {wanted}"
    return found


NUMERICAL = ("first", "second")  # against differences
CHECKS: dict[str, Callable[[Problem], float]] = {
    "first": check_first,
    "second": check_second,
    "grad": check_grad,
    "vmap": check_vmap,
    "jacrev": check_jacrev,
    "hessian": check_hessian,
}


# At a kink, or at the end of a range, where no differences can be taken.
EDGES = (
    "clustering_loss: one cluster",
    "clustering_loss: one above by rounding",
    "ClusteringLoss: one cluster",
    "ClusteringLoss: one above by rounding",
    "l2_normalize: norms below 1e-6",
    "cosine_similarity: zero row",
    "soft_nearest_neighbor_loss: zero vectors",
    "SoftNearestNeighborLoss: zero vectors",
)


def smooth(cell: Cell) -> bool:
    """Whether differences of it are derivatives: no kink where a convention gives the gradient.

    The padding's row 0 of a table is no kink: it does not move here.
    """
    kinks = any(not isinstance(place, int) for place in cell.case.flat.values())
    return not kinks and cell.case.gradients is None and cell.label not in EDGES


def differentiable(component: str | None = None) -> list[Cell]:
    """Every case with any rows, in float64, of every operation on tensors that has derivatives."""
    return [
        cell
        for cell in cells("torch", component)
        if cell.dtype == "float64" and cell.differentiate and cell.operation.name not in TOOLS
        if all(np.size(getattr(one, "array", one)) for one in cell.case.inputs.values())
    ]


def table(component: str | None = None) -> str:
    """A line for each operation: the worst error of each check over its cases."""
    rows: dict[str, dict[str, float]] = {}
    for cell in differentiable(component):
        row = rows.setdefault(f"{cell.component}.{cell.operation.name}", {})
        for name, check in CHECKS.items():
            if smooth(cell) or name not in NUMERICAL:
                row[name] = max(row.get(name, 0.0), check(Problem(cell)))
    lines = ["| operation | " + " | ".join(CHECKS) + " |", "|---" * (1 + len(CHECKS)) + "|"]
    for operation, row in rows.items():
        errors = [f"{row[name]:.0e}" if name in row else "–" for name in CHECKS]
        lines.append(f"| {operation} | " + " | ".join(errors) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(*sys.argv[1:]))
