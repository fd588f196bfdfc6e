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

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from pytorch_impl.support.checks import check_number
from pytorch_impl.support.precision import restore_state, single, widened

STATE = ("memory", "gradient", "square")


class SMORMS3(torch.optim.Optimizer):
    """The optimizer, for dense and sparse gradients.

    A sparse gradient moves only the rows that it contains, with their state; entries of the same
    row are summed first. The other rows stay as they are, where a dense gradient of zero would
    leave the parameter but change the state: gradient and square decay, and memory changes. The
    time and memory of such a step grow with the rows in the gradient, not with the table.

    Args:
        params: tensors, or groups of them, each with an lr and an epsilon of its own if needed.
        lr: the largest learning rate, at least 0.
        epsilon: keeps the divisions finite; above 0.
    Attributes:
        state: {parameter: {"memory", "gradient", "square"}}, tensors of the parameter's shape. For
            float16 and bfloat16 parameters state and step are float32: epsilon is 0 in float16.
    Raises:
        TypeError: an lr or epsilon that is no number. ValueError: one that is out of range.
    Example:
        >>> parameter = torch.zeros(2, requires_grad=True)
        >>> optimizer = SMORMS3([parameter], lr=0.1)
        >>> parameter.grad = torch.tensor([2.0, -2.0])
        >>> optimizer.step()
        >>> parameter.tolist()  # r = 1/2: min(lr, 1/2) · x / √(x²/2)
        [-0.141..., 0.141...]
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.0025,
        epsilon: float = 1e-16,
    ) -> None:
        super().__init__(params, {"lr": lr, "epsilon": epsilon})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Another group of parameters; lr and epsilon are the optimizer's where it has none."""
        options = {**self.defaults, **param_group}
        lr = check_number("lr", options["lr"], least=0)
        epsilon = check_number("epsilon", options["epsilon"], above=0)
        if isinstance(options["lr"], Tensor):
            lr = options["lr"]  # it may be changed in place
        super().add_param_group({**param_group, "lr": lr, "epsilon": epsilon})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every parameter that has a gradient; returns what the closure does."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group["lr"], group["epsilon"])
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`; the state of a half parameter stays float32."""
        super().load_state_dict(state_dict)
        restore_state(self, state_dict, STATE)

    def _update(self, parameter: Tensor, x: Tensor, lr: float, epsilon: float) -> None:
        state, x = self.state[parameter], widened(x)
        if not state:
            dtype = single(parameter.dtype)
            state["memory"] = torch.ones_like(parameter, dtype=dtype)
            state["gradient"] = torch.zeros_like(parameter, dtype=dtype)
            state["square"] = torch.zeros_like(parameter, dtype=dtype)
        tensors = [parameter, *(state[name] for name in STATE)]
        if not x.is_sparse:
            moved = [widened(one) for one in tensors]
            _advance(moved, x, lr, epsilon)
            if moved[0] is not parameter:
                parameter.copy_(moved[0])
            return
        x = x.coalesce()
        rows = tuple(x.indices())
        touched = [widened(one[rows]) for one in tensors]
        _advance(touched, x.values(), lr, epsilon)
        for one, moved in zip(tensors, touched, strict=True):
            one[rows] = moved.to(one.dtype)


def _advance(tensors: list[Tensor], x: Tensor, lr: float, epsilon: float) -> None:
    """One step of parameter, memory, gradient and square by the rule above, in place.

    In place also where nothing is kept: new memory for a table costs more than the arithmetic.
    """
    parameter, memory, gradient, square = tensors
    r = (1 + memory).reciprocal_()
    gradient.lerp_(x, r)  # (1 − r) · gradient + r · x
    square.lerp_(x * x, r)  # (1 − r) · square + r · x²
    ratio = (gradient * gradient).div_(square + epsilon)
    memory.mul_(1 - ratio).add_(1)  # 1 + memory · (1 − ratio)
    step = ratio.clamp_(max=lr).mul_(x)
    parameter.addcdiv_(step, square.sqrt().add_(epsilon), value=-1)
