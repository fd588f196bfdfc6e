"""Losses of a batch to one number."""

from __future__ import annotations

import tensorflow as tf

from tf2_impl.support.checks import check_choice

REDUCTIONS = ("mean", "sum", "none")


def reduced(losses: tf.Tensor, reduction: str) -> tf.Tensor:
    """The mean or the sum of losses, or the losses themselves."""
    check_choice("reduction", reduction, REDUCTIONS)
    if reduction == "none":
        return losses
    return tf.reduce_mean(losses) if reduction == "mean" else tf.reduce_sum(losses)
