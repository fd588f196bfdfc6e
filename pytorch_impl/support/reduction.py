"""Losses of a batch to one number."""

from __future__ import annotations

from torch import Tensor

from pytorch_impl.support.checks import check_choice

REDUCTIONS = ("mean", "sum", "none")


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """The mean or the sum of losses, or the losses themselves."""
    check_choice("reduction", reduction, REDUCTIONS)
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()
