"""What components and model files are built from: one home for each layer."""

from theano_impl.layers.activations import (
    ELU,
    GELU,
    SELU,
    Dropout,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
    TopKGating,
)
from theano_impl.layers.convolution import Convolution, TransposedConvolution
from theano_impl.layers.embedding import Embedding
from theano_impl.layers.normalization import BatchNorm, L2Normalize, LayerNorm
from theano_impl.layers.pooling import (
    AveragePool,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
    MaxUnpool,
    Pooled,
)
from theano_impl.layers.projection import Projection
from theano_impl.layers.recurrent import GRU
from theano_impl.layers.shape import ChannelsFirst, ChannelsLast, Flatten

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
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "L2Normalize",
    "LayerNorm",
    "LeakyReLU",
    "LogSoftmax",
    "MaxPool",
    "MaxUnpool",
    "Pooled",
    "Projection",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "TopKGating",
    "TransposedConvolution",
]
