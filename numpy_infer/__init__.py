"""Inference with NumPy alone: chains of layers that are called with a value.

The chain's layers are here; the components are imported from their own modules.
"""

from numpy_infer.activations import ReLU, Sigmoid, Softmax, Tanh
from numpy_infer.layer import Input, Layer
from numpy_infer.normalization import BatchNorm, L2Normalize, LayerNorm
from numpy_infer.projection import Projection

__all__ = [
    "BatchNorm",
    "Input",
    "L2Normalize",
    "Layer",
    "LayerNorm",
    "Projection",
    "ReLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
]
