"""Runs of a model for the sanity checks, after which the model is as it was before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def check_model(model: nn.Module, batch: Sequence[Any]) -> None:
    """TypeError for what is no module or no list, ValueError for a batch without rows."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected an nn.Module, got {type(model).__name__}")
    if not isinstance(batch, list | tuple):
        raise TypeError(f"batch: expected a list or a tuple, got {type(batch).__name__}")
    if not batch:
        raise ValueError("batch: expected at least one array, got none")
    for shape in (tuple(getattr(one, "shape", ())) for one in batch):
        if shape and shape[0] == 0:
            raise ValueError(f"batch: expected at least one row, got shape {shape}")


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Those that are not frozen, by name."""
    return {name: one for name, one in model.named_parameters() if one.requires_grad}


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Whatever runs inside, a model and the random state are afterwards as they were."""
    tensors = [*model.parameters(), *model.buffers()]
    values = [tensor.detach().clone() for tensor in tensors]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    modules = [
        (one, one.training, dict(one.named_buffers(recurse=False))) for one in model.modules()
    ]
    devices = {tensor.device for tensor in tensors if tensor.is_cuda}
    with torch.random.fork_rng(devices), torch.enable_grad():
        try:
            for parameter, _ in gradients:
                parameter.grad = None
            yield
        finally:
            for parameter, gradient in gradients:
                parameter.grad = gradient
            for module, training, buffers in modules:
                module.training = training
                for name, buffer in buffers.items():  # one may have been replaced, not changed
                    setattr(module, name, buffer)
            with torch.no_grad():
                for tensor, value in zip(tensors, values, strict=True):
                    tensor.copy_(value)


def loss_and_gradients(
    model: nn.Module, compute_loss: Callable[..., Tensor], batch: Sequence[Any]
) -> tuple[Tensor, Sequence[Tensor | None]]:
    """The loss, and the gradient of each trained parameter, None where there is none."""
    loss = compute_loss(model, *batch)
    if not isinstance(loss, Tensor):
        raise TypeError(f"compute_loss: expected a torch.Tensor, got {type(loss).__name__}")
    if loss.ndim:
        raise ValueError(f"compute_loss: expected one number, got shape {tuple(loss.shape)}")
    parameters = list(trained_parameters(model).values())
    if not (parameters and loss.requires_grad):
        return loss, [None] * len(parameters)
    return loss, torch.autograd.grad(loss, parameters, allow_unused=True)


def measure(
    model: nn.Module,
    compute_loss: Callable[..., Tensor],
    batch: Sequence[Any],
    moved: Mapping[int, np.ndarray],
) -> tuple[float, list[float | None]]:
    """The loss and the largest |gradient| of each parameter, with some parameters moved."""
    with unchanged(model):
        parameters = list(trained_parameters(model).values())
        with torch.no_grad():
            for index, value in moved.items():
                parameters[index].copy_(torch.from_numpy(value))
        loss, gradients = loss_and_gradients(model, compute_loss, batch)
    return loss.item(), [_largest(gradient) for gradient in gradients]


def _largest(gradient: Tensor | None) -> float | None:
    """The largest absolute entry; NaN where there is one, None without a gradient."""
    if gradient is None:
        return None
    entries = _entries(gradient)
    return entries.abs().max().item() if entries.numel() else 0.0


def is_finite(x: Any) -> bool:
    """False for a tensor that holds NaN or infinity; True for no tensor, and for none."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        return True
    return bool(_entries(x).isfinite().all())


def _entries(x: Tensor) -> Tensor:
    """All entries of a dense tensor, the stored ones of a sparse one."""
    if x.layout == torch.strided:
        return x
    return (x.coalesce() if x.is_sparse else x).values()


def to_number(name: str, x: Tensor | float) -> float:
    """A number, or a tensor without axes, as a float."""
    if not isinstance(x, Tensor | Real):
        raise TypeError(f"{name}: expected a number, got {type(x).__name__}")
    if isinstance(x, Tensor) and x.ndim:
        raise ValueError(f"{name}: expected one number, got shape {tuple(x.shape)}")
    return x.item() if isinstance(x, Tensor) else float(x)


def to_array(x: Tensor | None) -> Any:
    """The array of a tensor, on the host; NumPy has no bfloat16. None stays None."""
    if x is None:
        return None
    x = x.detach().cpu()
    return (x.float() if x.dtype is torch.bfloat16 else x).numpy()
