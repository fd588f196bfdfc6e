"""Inference with NumPy alone: chains of layers that are called with a value.

The chain's layers are here, with `load_model` and `predict`; components have their own modules.
Each layer's file is read when it is first asked for: a program starts with what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy_infer.support.layer import Input, Layer

if TYPE_CHECKING:
    from numpy_infer.layers.activations import (
        ELU,
        GELU,
        SELU,
        LeakyReLU,
        LogSoftmax,
        ReLU,
        Sigmoid,
        SiLU,
        Softmax,
        Softplus,
        Tanh,
    )
    from numpy_infer.layers.convolution import Convolution, TransposedConvolution
    from numpy_infer.layers.embedding import Embedding
    from numpy_infer.layers.normalization import BatchNorm, L2Normalize, LayerNorm
    from numpy_infer.layers.pooling import (
        AveragePool,
        GlobalAveragePool,
        GlobalMaxPool,
        MaxPool,
        MaxUnpool,
    )
    from numpy_infer.layers.projection import Projection
    from numpy_infer.layers.recurrent import GRU
    from numpy_infer.layers.shape import ChannelsFirst, ChannelsLast, Flatten
    from numpy_infer.model_file import load_model
    from numpy_infer.prediction import predict
    from numpy_infer.top_k_gating import TopKGating

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "SELU",
    "AveragePool",
    "BatchNorm",
    "ChannelsFirst",
    "ChannelsLast",
    "Convolution",
    "Embedding",
    "Flatten",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Input",
    "L2Normalize",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LogSoftmax",
    "MaxPool",
    "MaxUnpool",
    "Projection",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "TopKGating",
    "TransposedConvolution",
    "load_model",
    "predict",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "load_model":
        from numpy_infer.model_file import load_model

        return load_model
    if name == "predict":
        from numpy_infer.prediction import predict

        return predict
    from importlib import import_module

    from numpy_infer.format.network import LAYERS

    return getattr(import_module(f"numpy_infer.{LAYERS[name]}"), name)


def __dir__() -> list[str]:
    return __all__
