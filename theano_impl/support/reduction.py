"""Losses of a batch to one number."""

from __future__ import annotations

import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import check_choice

REDUCTIONS = ("mean", "sum", "none")


def reduced(losses: TensorVariable, reduction: str) -> TensorVariable:
    """The mean or the sum of losses, or the losses themselves."""
    check_choice("reduction", reduction, REDUCTIONS)
    if reduction == "none":
        return losses
    return T.mean(losses) if reduction == "mean" else T.sum(losses)
