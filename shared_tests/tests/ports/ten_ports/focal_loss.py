"""A focal loss, PyTorch to Keras, and right: two functions without a weight."""

from __future__ import annotations

import keras
import numpy as np
import torch

FRAMEWORK = "keras"
GAMMA = 2.0


def focal_loss(logits, labels):
    log_shares = torch.log_softmax(logits, dim=-1)
    chosen = log_shares.gather(-1, labels[:, None]).squeeze(-1)
    return (-((1 - chosen.exp()) ** GAMMA) * chosen).mean()


def keras_focal_loss(logits, labels):
    ops = keras.ops
    chosen = ops.take_along_axis(ops.log_softmax(logits, axis=-1), labels[:, None], axis=-1)
    chosen = ops.squeeze(chosen, axis=-1)
    return ops.mean(-((1 - ops.exp(chosen)) ** GAMMA) * chosen)


def original():
    return focal_loss


def port(original):
    return keras_focal_loss


def inputs(generator: np.random.Generator) -> dict[str, np.ndarray]:
    return {"logits": generator.normal(size=(7, 5)), "labels": generator.integers(0, 5, size=7)}
