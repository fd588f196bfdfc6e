"""What components and model files are built from: one home for each layer."""

from theano_impl.layers.activations import *  # noqa: F403  # its `__all__` alone
from theano_impl.layers.activations import __all__ as ACTIVATIONS
from theano_impl.layers.attention import (
    Attention,
    MaskedAttention,
    MaskedMean,
    PositionEmbedding,
    TimeStep,
)
from theano_impl.layers.combinations import *  # noqa: F403  # its `__all__` alone
from theano_impl.layers.combinations import __all__ as COMBINATIONS
from theano_impl.layers.convolution import Convolution, TransposedConvolution
from theano_impl.layers.embedding import Embedding
from theano_impl.layers.normalization import (
    Affine,
    BatchNorm,
    GroupNorm,
    L2Normalize,
    LayerNorm,
    RMSNorm,
)
from theano_impl.layers.pooling import (
    AveragePool,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
    MaxUnpool,
    Pooled,
)
from theano_impl.layers.projection import Projection
from theano_impl.layers.recurrent import GRU, LSTM
from theano_impl.layers.shape import ChannelsFirst, ChannelsLast, Flatten, Permute, Reshape, Slice
from theano_impl.layers.space import Pad, Resize, Upsample

__all__ = [
    *ACTIVATIONS,
    *COMBINATIONS,
    "GRU",
    "LSTM",
    "Affine",
    "Attention",
    "AveragePool",
    "BatchNorm",
    "ChannelsFirst",
    "ChannelsLast",
    "Convolution",
    "Embedding",
    "Flatten",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "GroupNorm",
    "L2Normalize",
    "LayerNorm",
    "MaskedAttention",
    "MaskedMean",
    "MaxPool",
    "MaxUnpool",
    "Pad",
    "Permute",
    "Pooled",
    "PositionEmbedding",
    "Projection",
    "RMSNorm",
    "Reshape",
    "Resize",
    "Slice",
    "TimeStep",
    "TransposedConvolution",
    "Upsample",
]
