"""Checks to run before a long training, because one that is wrong fails silently.

    initial loss    |loss − log classes| ≤ tolerance · log classes, before training
    overfits        trained on one tiny batch alone, loss ≤ share · the first loss
    gradients       of every parameter, finite and not all zeros, unless it cancels in the loss
    finite          no NaN and no infinity, from the batch to the gradients
    spread          embeddings are not all in one point or on a line
    loss moves      and does not stay at its margin

They report and do not raise, and leave the model as it was.

Source: A. Karpathy, A Recipe for Training Neural Networks, 2019.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from numpy_infer.sanity_checks import Verdict, check_loss_moves, spread_verdict, why_zero
from numpy_infer.support import sanity_messages
from pytorch_impl.smorms3 import SMORMS3
from pytorch_impl.support.checks import check_count, check_floating, check_integers, check_number

__all__ = [
    "Verdict",
    "check_finite",
    "check_gradients_reach",
    "check_initial_loss",
    "check_loss_moves",
    "check_overfits",
    "check_spread",
]


def check_initial_loss(loss: Tensor | float, classes: int, *, tolerance: float = 0.1) -> Verdict:
    """Whether an untrained classifier starts with the loss of equal chances, −log(1/classes).

    loss: mean cross-entropy over rows, in nats: a number or a tensor of one. tolerance: how far
    it may be off, as a share of what is expected. Figures: found, expected. TypeError for
    anything but a number, ValueError for several, no class or a negative tolerance.
    """
    if not isinstance(loss, Tensor | Real):
        raise TypeError(f"loss: expected a number, got {type(loss).__name__}")
    if isinstance(loss, Tensor) and loss.ndim:
        raise ValueError(f"loss: expected one number, got shape {tuple(loss.shape)}")
    classes = check_count("classes", classes)
    tolerance = check_number("tolerance", tolerance, least=0)
    found = loss.item() if isinstance(loss, Tensor) else float(loss)
    expected = math.log(classes)
    ok = abs(found - expected) <= tolerance * expected
    message = sanity_messages.initial_loss(found, expected, classes, ok)
    return Verdict(ok, message, {"found": found, "expected": expected})


def check_overfits(
    model: nn.Module,
    compute_loss: Callable[..., Tensor],
    batch: Sequence[Any],
    *,
    steps: int = 500,
    share: float = 0.01,
    lr: float = 0.01,
    lower_bound: float = 0.0,
) -> Verdict:
    """Whether training on one batch alone brings the loss below a share of its start.

    lower_bound is the lowest value that the loss can have, from which both are counted:
    −gamma · log(clusters) for `clustering_loss`, the entropy of the smoothed labels for label
    smoothing.

    compute_loss(model, *batch) returns the loss, one number of at least 0; a handful of rows is
    best. SMORMS3 with rate lr trains a model in the mode it is in, for `steps` steps or until the
    loss is low enough. Then parameters, buffers, modes, gradients and PyTorch's random state are
    put back, also when compute_loss raises; generators of the model's own are not. Figures:
    losses, before the first step and after each; target. ValueError for a batch that is empty, a
    share outside 0..1, and for steps, lr or lower_bound out of range.
    """
    _check_arguments(model, batch)
    steps = check_count("steps", steps)
    share = check_number("share", share, above=0)
    if share >= 1:
        raise ValueError(f"share: expected a number below 1, got {share}")
    lr = check_number("lr", lr, above=0)
    lower_bound = check_number("lower_bound", lower_bound)
    parameters = list(_trained(model).values())
    if not parameters:
        figures = {"losses": [], "target": math.nan}
        return Verdict(False, sanity_messages.no_parameters(), figures)
    losses: list[float] = []
    with _unchanged(model):
        optimizer = SMORMS3(parameters, lr=lr)
        for _ in range(steps + 1):
            loss, gradients = _loss_and_gradients(model, compute_loss, batch)
            losses.append(loss.item())
            target = lower_bound + share * (losses[0] - lower_bound)
            if not math.isfinite(losses[-1]) or losses[-1] <= target:
                break
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
    size = losses[0] - lower_bound
    ok = 0 < size < math.inf and -share * size <= losses[-1] - lower_bound <= share * size
    message = sanity_messages.overfits(losses, share, lower_bound)
    return Verdict(ok, message, {"losses": losses, "target": target})


def check_gradients_reach(
    model: nn.Module, compute_loss: Callable[..., Tensor], batch: Sequence[Any]
) -> Verdict:
    """Whether every parameter gets a gradient, finite and not all zeros.

    Where it is all zeros, `sanity_checks.why_zero` of numpy_infer says why, after some calls with
    parameters that are moved at random: a unit is asleep or saturated (dead), the parameter makes a
    choice and nothing else (steps), the loss does not depend on it with this batch (unused), or it
    cancels in the loss by construction, as a bias does in a difference of scores (cancels). The
    last is no fault.

    compute_loss and batch as for `check_overfits`. Frozen parameters are left out. Nothing of the
    model changes, nor the gradients that it holds. Figures: the names of the parameters that are
    reached, missing (no gradient), zero, not_finite and left_out, and,
    of zero, dead, steps, cancels and unused. ValueError for an empty batch.
    """
    _check_arguments(model, batch)
    trained = _trained(model)
    with _unchanged(model):
        _, gradients = _loss_and_gradients(model, compute_loss, batch)
    found = [(name, _reach(one)) for name, one in zip(trained, gradients, strict=True)]

    def evaluate(moved: Mapping[int, np.ndarray]) -> tuple[float, list[float]]:
        with _unchanged(model):
            with torch.no_grad():
                for place, value in moved.items():
                    parameters[place].copy_(torch.from_numpy(value))
            loss, gradients = _loss_and_gradients(model, compute_loss, batch)
        return loss.item(), [_largest(one) for one in gradients]

    parameters = list(trained.values())
    zero = [place for place, (_, own) in enumerate(found) if own == "zero"]
    whys = why_zero(evaluate, {place: _array(parameters[place]) for place in zero})
    figures = {
        reach: [name for name, own in found if own == reach]
        for reach in ("reached", "missing", "zero", "not_finite")
    }
    for why in ("dead", "steps", "cancels", "unused"):
        figures[why] = [found[place][0] for place, own in whys.items() if own == why]
    figures["left_out"] = [name for name, one in model.named_parameters() if not one.requires_grad]
    if not found:
        return Verdict(False, sanity_messages.no_parameters(), figures)
    ok = 0 < len(figures["reached"]) == len(found) - len(figures["cancels"])
    return Verdict(ok, sanity_messages.gradients_reach(**figures), figures)


def check_finite(
    model: nn.Module, compute_loss: Callable[..., Tensor], batch: Sequence[Any]
) -> Verdict:
    """Whether the batch, the weights, the loss and the gradients are free of NaN and infinity.

    compute_loss and batch as for `check_overfits`; the weights are parameters and buffers.
    Nothing of the model changes. Figures: the names that hold NaN or infinity in each of batch,
    weights, loss and gradients; where it began is the first. ValueError for a batch that is empty.
    """
    _check_arguments(model, batch)
    trained = _trained(model)
    with _unchanged(model):
        loss, gradients = _loss_and_gradients(model, compute_loss, batch)
    looked_at = {
        "batch": [(f"batch[{place}]", one) for place, one in enumerate(batch)],
        "weights": [*model.named_parameters(), *model.named_buffers()],
        "loss": [("the loss", loss)],
        "gradients": [
            (f"the gradient of {name}", one) for name, one in zip(trained, gradients, strict=True)
        ],
    }
    figures = {
        kind: [name for name, one in named if not _is_finite(one)]
        for kind, named in looked_at.items()
    }
    return Verdict(not any(figures.values()), sanity_messages.finite(figures), figures)


def check_spread(
    embeddings: Tensor,
    labels: Tensor | None = None,
    *,
    start: Tensor | None = None,
    share: float = 0.01,
) -> Verdict:
    """Whether embeddings are apart: not all in one point, not on a line, no two classes merged.

    embeddings: (n, d), of many rows, as the model gives them; labels: (n,) integers. Their distance
    is √(mean |xᵢ − xⱼ|²), and what is usual is that of rows of this length in random directions,
    or, if given, that of start: the embeddings of the same rows before training. They are in one
    point when it is at most `share` of this; on a line when their effective rank,
    (Σ λ)² / Σ λ² of the eigenvalues of their covariance, is at most 1 + 2 · share, which is all
    that two classes need. Two classes are merged when both together are in one point.

    Call it during a training with triplets, too: a collapse is quick. Figures: spread (a share of
    what is usual), rank, merged (pairs of labels). TypeError for embeddings that are not floating
    and labels that are not integers, ValueError for fewer than two rows and for other shapes.

        verdict = check_spread(model(x), labels)
        assert verdict, verdict.message
    """
    check_floating("embeddings", embeddings)
    if start is not None:
        check_floating("start", start)
    if labels is not None:
        check_integers("labels", labels)
    classes, before = (None if one is None else _array(one) for one in (labels, start))
    return spread_verdict(_array(embeddings), classes, before, share)


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
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


def _check_arguments(model: nn.Module, batch: Sequence[Any]) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected an nn.Module, got {type(model).__name__}")
    if not isinstance(batch, list | tuple):
        raise TypeError(f"batch: expected a list or a tuple, got {type(batch).__name__}")
    if not batch:
        raise ValueError("batch: expected at least one array, got none")
    for shape in (tuple(getattr(one, "shape", ())) for one in batch):
        if shape and shape[0] == 0:
            raise ValueError(f"batch: expected at least one row, got shape {shape}")


def _trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: one for name, one in model.named_parameters() if one.requires_grad}


def _loss_and_gradients(
    model: nn.Module, compute_loss: Callable[..., Tensor], batch: Sequence[Any]
) -> tuple[Tensor, Sequence[Tensor | None]]:
    """The loss, and the gradient of each parameter that is trained, None where there is none."""
    loss = compute_loss(model, *batch)
    if not isinstance(loss, Tensor):
        raise TypeError(f"compute_loss: expected a torch.Tensor, got {type(loss).__name__}")
    if loss.ndim:
        raise ValueError(f"compute_loss: expected one number, got shape {tuple(loss.shape)}")
    parameters = list(_trained(model).values())
    if not (parameters and loss.requires_grad):
        return loss, [None] * len(parameters)
    return loss, torch.autograd.grad(loss, parameters, allow_unused=True)


def _reach(gradient: Tensor | None) -> str:
    """How a gradient reaches its parameter."""
    if gradient is None:
        return "missing"
    if not _is_finite(gradient):
        return "not_finite"
    return "reached" if bool(_entries(gradient).any()) else "zero"


def _entries(x: Tensor) -> Tensor:
    """All entries of a dense tensor, the stored ones of a sparse one."""
    if x.layout == torch.strided:
        return x
    return (x.coalesce() if x.is_sparse else x).values()


def _is_finite(x: Any) -> bool:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        return True
    return bool(_entries(x).isfinite().all())


def _largest(gradient: Tensor | None) -> float:
    entries = None if gradient is None else _entries(gradient)
    return 0.0 if entries is None or not entries.numel() else entries.abs().max().item()


def _array(x: Tensor) -> np.ndarray:
    """On the host; NumPy has no bfloat16."""
    x = x.detach().cpu()
    return (x.float() if x.dtype is torch.bfloat16 else x).numpy()
