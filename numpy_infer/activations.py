"""Element by element, or over the last axis: what stands between two layers with weights."""

from __future__ import annotations

import numpy as np

from numpy_infer.checks import check_floating
from numpy_infer.layer import Layer


class ReLU(Layer):
    """max(x, 0)."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        return np.maximum(x, 0)


class Tanh(Layer):
    """The hyperbolic tangent."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        return np.tanh(x)


class Sigmoid(Layer):
    """1 / (1 + exp(−x)), without overflow at either end."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        tail = np.exp(-np.abs(x))
        return np.where(x < 0, tail, 1) / (1 + tail)


class Softmax(Layer):
    """exp(x) / Σ exp(x) over the last axis, without overflow."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        share = np.exp(x - x.max(axis=-1, keepdims=True))
        share /= share.sum(axis=-1, keepdims=True)
        return share
