"""Inference with NumPy alone: chains of layers that are called with a value."""

from numpy_infer.layer import Input, Layer

__all__ = ["Input", "Layer"]
