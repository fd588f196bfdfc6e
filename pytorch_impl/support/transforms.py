"""What torch.func, forward-mode differentiation and torch.export ask of code that they run.

Under `torch.func.vmap` one tensor stands for a whole batch of them, and while `torch.export` traces
there are no values at all: neither can be looked at, by a check or by a search. And a gradient that
is written by hand is right once: what differentiates it again, or forward, needs the plain formula.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual
from torch.func import functional_call

# The oldest versions, 2.4 among them, do not tell an export from a compilation: there both are
# given the plain formula, and no check of values.
is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)


def transformed(*tensors: Tensor) -> bool:
    """Whether a transform is at work that only a formula of PyTorch's own operations serves.

    torch.func (grad, vmap, jacrev, hessian), torch.export, or forward-mode differentiation of one
    of these tensors.
    """
    return (
        torch._C._are_functorch_transforms_active()
        or is_exporting()
        or any(unpack_dual(x).tangent is not None for x in tensors)
    )


def batched(grad_output: Tensor) -> bool:
    """Whether it stands for many gradients at once (is_grads_batched, or jacobian's vectorize)."""
    inside = torch._C._functorch
    return inside.is_batchedtensor(grad_output) or inside.is_legacy_batchedtensor(grad_output)


def plain_gradients(
    formula: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    wanted: Sequence[bool],
    grad_output: Tensor,
) -> list[Tensor | None]:
    """The gradient of formula(*inputs) by each input that is wanted, to be differentiated again.

    For the backward of a `torch.autograd.Function` that is right once: there gradients are enabled
    only where somebody asks for the gradient of the gradient (create_graph).
    """
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # Of an input that depends on another one, each is to get its own gradient: views do.
        own = [
            x.view_as(x) if wants else x.detach() for x, wants in zip(inputs, wanted, strict=True)
        ]
        sources = [x for x, wants in zip(own, wanted, strict=True) if wants]
        found = iter(torch.autograd.grad(formula(*own), sources, grad_output, create_graph=again))
    return [next(found) if wants else None for wants in wanted]


def check_values(
    holds: Callable[..., Tensor], expected: str, got: Callable[..., object], *tensors: Tensor
) -> None:
    """ValueError "expected, got …" unless holds(*tensors): under vmap those of the whole batch.

    On CUDA the host does not wait for the answer: a device-side assertion ends the program, with
    `expected` as its message. An exported program does not check; the operations that it is made
    of do what they do with bad values.

    Args:
        holds: a bool tensor without axes, of tensors with any number of axes before their own.
        expected: the name of the argument, and what it should be.
        got: what is wrong, of the same tensors.
    """
    if is_exporting():
        return

    def check(*tensors: Tensor) -> None:
        answer = holds(*tensors)
        if answer.is_cuda:
            torch._assert_async(answer, expected)
        elif not answer:
            raise ValueError(f"{expected}, got {got(*tensors)}")

    if torch._C._are_functorch_transforms_active():
        _Look.apply(lambda *values: check(*values), False, *(x.detach() for x in tensors))
    else:
        check(*tensors)


def check_range(name: str, x: Tensor, what: str, last: int) -> None:
    """ValueError unless these integers are in 0..last."""

    def holds(x: Tensor) -> Tensor:
        if x.is_cuda:  # the fewest launches
            x = x.long()
            return (x.clamp(0, last) == x).all()
        return (x.min() >= 0) & (x.max() <= last)

    def got(x: Tensor) -> object:
        return f"{int(x.min())}..{int(x.max())}"

    if x.numel():
        check_values(holds, f"{name}: expected {what} in 0..{last}", got, x)


def search(model: nn.Module, method: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """method(*tensors) of a model: integers that are found by looking at values.

    Under vmap each entry of the batch is searched by itself. No gradient flows through it.
    """
    weights = dict(model.named_parameters())
    if not transformed(*tensors, *weights.values()):
        return method(*tensors)
    searcher, names = _Searcher(model, method), [f"model.{name}" for name in weights]

    def found(*values: Tensor) -> Tensor:
        own = dict(zip(names, values[len(tensors) :], strict=True))
        return functional_call(searcher, own, values[: len(tensors)])

    return _Look.apply(found, True, *(x.detach() for x in (*tensors, *weights.values())))


class _Searcher(nn.Module):
    """A method of a model as a forward, which can be called with other weights."""

    def __init__(self, model: nn.Module, method: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model = model
        self.method = method

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.method(*tensors)


class _Look(torch.autograd.Function):
    """A function of values, which every transform hands the tensors without their wrappers."""

    @staticmethod
    def forward(
        function: Callable[..., Tensor | None], one_by_one: bool, *tensors: Tensor
    ) -> Tensor:
        found = function(*tensors)
        return torch.zeros((), dtype=torch.int64) if found is None else found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> None:
        return None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> None:
        return None

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        function: Callable[..., Tensor | None],
        one_by_one: bool,
        *tensors: Tensor,
    ) -> tuple[Tensor, int | None]:
        axes = in_dims[2:]
        if not one_by_one:
            moved = [
                x if d is None else x.movedim(d, 0) for x, d in zip(tensors, axes, strict=True)
            ]
            return _Look.apply(function, one_by_one, *moved), None
        entries = (
            [x if d is None else x.select(d, place) for x, d in zip(tensors, axes, strict=True)]
            for place in range(info.batch_size)
        )
        return torch.stack([_Look.apply(function, one_by_one, *entry) for entry in entries]), 0
