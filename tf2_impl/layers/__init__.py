"""What components and model files are built from: one home for each layer."""

from tf2_impl.layers.activations import (
    Clip,
    LeakyReLU,
    LogSoftmax,
    PReLU,
    StochasticDepth,
    TopKGating,
    gelu,
    gelu_tanh,
)
from tf2_impl.layers.attention import (
    Attention,
    MaskedAttention,
    MaskedMean,
    PositionEmbedding,
    TimeStep,
)
from tf2_impl.layers.convolution import Convolution, TransposedConvolution
from tf2_impl.layers.embedding import Embedding
from tf2_impl.layers.normalization import Affine, BatchNorm, GroupNorm, L2Normalize
from tf2_impl.layers.pooling import (
    AveragePool,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
    MaxUnpool,
)
from tf2_impl.layers.recurrent import BackwardGRU, BackwardLSTM
from tf2_impl.layers.shape import (
    ChannelsFirst,
    ChannelsLast,
    Flatten,
    MoveChannelsFirst,
    MoveChannelsLast,
    RowMajorFlatten,
    Slice,
)
from tf2_impl.layers.space import Pad, Resize, Upsample

__all__ = [
    "Affine",
    "Attention",
    "AveragePool",
    "BackwardGRU",
    "BackwardLSTM",
    "BatchNorm",
    "ChannelsFirst",
    "ChannelsLast",
    "Clip",
    "Convolution",
    "Embedding",
    "Flatten",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "GroupNorm",
    "L2Normalize",
    "LeakyReLU",
    "LogSoftmax",
    "MaskedAttention",
    "MaskedMean",
    "MaxPool",
    "MaxUnpool",
    "MoveChannelsFirst",
    "MoveChannelsLast",
    "PReLU",
    "Pad",
    "PositionEmbedding",
    "Resize",
    "RowMajorFlatten",
    "Slice",
    "StochasticDepth",
    "TimeStep",
    "TopKGating",
    "TransposedConvolution",
    "Upsample",
    "gelu",
    "gelu_tanh",
]
