"""Half precision: what computes in float32 all the same, and what follows PyTorch's own way.

float16 keeps 11 binary digits and ends at 65504, bfloat16 keeps 8. Of 256 rows a count of triplets
overflows the one, and a tie tolerance of 32 roundings is a quarter of the range in the other. So

    losses, distances, mining, memories    take halves as float32, with autocast off
    layers, models                         multiply in halves where PyTorch's own layers do

The first are marked `@in_single_precision`; the second check their input by `check_layer_dtype`.
`backward` runs under the autocast of its caller, whatever the forward ran under: a loss that was
computed in float32 would multiply its gradients in halves where backward is called inside the
block. So a loss multiplies matrices by `matrix_product`, and the backward of a
`torch.autograd.Function` is marked `@in_single_precision` as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytorch_impl.support.checks import check_dtype
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.transforms import transformed

HALVES = (torch.float16, torch.bfloat16)
# Asked once: torch.compile cannot trace the question.
AUTOCASTING = [d for d in ("cpu", "cuda", "xpu", "mps") if torch.amp.is_autocast_available(d)]

P = ParamSpec("P")
T = TypeVar("T")


def widened(x: T) -> T:
    """A float16 or bfloat16 tensor in float32, which is exact; anything else as it is."""
    return x.float() if isinstance(x, Tensor) and x.dtype in HALVES else x


def single(dtype: torch.dtype) -> torch.dtype:
    """float32 for float16 and bfloat16, any other dtype itself."""
    return torch.float32 if dtype in HALVES else dtype


def in_single_precision(function: Callable[P, T]) -> Callable[P, T]:
    """A function whose half tensors are taken as float32, and which runs without autocast.

    Its result is that of the float32 function on the rounded input. Halves beside float64 are left
    for the function's own checks to refuse: nothing else is cast.
    """

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        tensors = [one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)]
        for one in tensors:
            if autocasts(one):
                with torch.autocast(one.device.type, enabled=False):
                    return wrapper(*args, **kwargs)
        dtypes = {one.dtype for one in tensors}
        if dtypes.isdisjoint(HALVES) or torch.float64 in dtypes:
            return function(*args, **kwargs)
        # Once each, for a tensor that is passed twice is to stay one: so distances of x to itself
        # are known.
        cast: Any = {one: widened(one) for one in tensors}
        given: Any = [cast[one] if isinstance(one, Tensor) else one for one in args]
        named: Any = {k: cast[v] if isinstance(v, Tensor) else v for k, v in kwargs.items()}
        return function(*given, **named)

    return wrapper


class _MatrixProduct(torch.autograd.Function):
    """x @ y, whose gradients of any order are such products too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return x @ y

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, y = ctx.saved_tensors
        of_x, of_y = ctx.needs_input_grad
        with _no_autocast(grad_output):
            return (
                matrix_product(grad_output, y.mT) if of_x else None,
                matrix_product(x.mT, grad_output) if of_y else None,
            )


class _TransformedProduct(torch.autograd.Function):
    """The same for torch.func and forward mode. Its call takes four times as long."""

    generate_vmap_rule = True
    backward = staticmethod(_MatrixProduct.backward)

    @staticmethod
    def forward(x: Tensor, y: Tensor) -> Tensor:
        return x @ y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def jvp(ctx: Any, dx: Tensor, dy: Tensor) -> Tensor:
        x, y = ctx.saved_tensors
        with _no_autocast(x):
            return matrix_product(dx, y) + matrix_product(x, dy)


def matrix_product(x: Tensor, y: Tensor) -> Tensor:
    """x @ y of two tensors with the same number of axes, to be called with autocast off.

    Its backward turns autocast off for itself: that of `x @ y` would multiply in halves where
    `backward` is called inside an autocast block. It is `x @ y` where no gradient is recorded, and
    where torch.compile traces a transform of torch.func, which serves no `torch.autograd.Function`
    with a second derivative.
    """
    changed = transformed(x, y)
    if not torch.is_grad_enabled() or (changed and torch.compiler.is_compiling()):
        return x @ y
    function = _TransformedProduct if changed else _MatrixProduct
    product: Tensor = function.apply(x, y)
    return product


def _no_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """A context without autocast on the device of x: none where autocast is off.

    Dynamo traces a backward once, for every autocast to come: there it is always entered.
    """
    device = x.device.type
    if device in AUTOCASTING and (torch.compiler.is_compiling() or autocasts(x)):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def autocasts(x: Tensor) -> bool:
    """Whether autocast is on for the device of x."""
    device = x.device.type
    return device in AUTOCASTING and torch.is_autocast_enabled(device)


def product_dtype(x: Tensor) -> torch.dtype:
    """The dtype of a product with x: autocast's, which leaves float64 alone, or that of x."""
    if autocasts(x) and x.dtype is not torch.float64:
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype


def check_layer_dtype(name: str, x: Tensor, dtype: torch.dtype) -> None:
    """TypeError unless a layer whose weights are of this dtype can take x, as `nn.Linear` does.

    Under autocast float16, bfloat16 and float32 may meet, otherwise nothing is cast.
    """
    if not autocasts(x) or torch.float64 in (x.dtype, dtype):
        check_dtype(name, x, dtype)


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """`layer(x)` in the dtype of x: in float32 for an x cast up, also where weights are halves."""
    return F.linear(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype))


class FullPrecision(ConfiguredModule):
    """A module that stays in float32 when the model that it is part of is converted to halves.

    Labels and ages that are kept as floating point numbers are no integers above 256 in bfloat16.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FullPrecision:
        def kept(x: Tensor) -> Tensor:
            y = fn(x)
            return widened(x).to(y.device) if y.dtype in HALVES else y

        return super()._apply(kept, recurse)


def restore_state(
    optimizer: torch.optim.Optimizer, state_dict: dict[str, Any], names: Sequence[str]
) -> None:
    """Keep a loaded state of these names in float32; torch rounds it to the parameter's half."""
    places = [place for group in state_dict["param_groups"] for place in group["params"]]
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    for place, parameter in zip(places, parameters, strict=True):
        saved = state_dict["state"].get(place, {})
        if parameter.dtype in HALVES and saved.keys() == set(names):
            for name, value in saved.items():
                optimizer.state[parameter][name] = widened(value).to(parameter.device, copy=True)
