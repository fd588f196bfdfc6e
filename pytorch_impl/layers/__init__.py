"""What components and model files are built from: one home for each layer."""

from pytorch_impl.layers.activations import HardSigmoid, StochasticDepth, TopKGating
from pytorch_impl.layers.attention import PositionEmbedding, TimeStep
from pytorch_impl.layers.convolution import Padded
from pytorch_impl.layers.normalization import Affine, BatchNorm, L2Normalize
from pytorch_impl.layers.pooling import GlobalAveragePool, GlobalMaxPool
from pytorch_impl.layers.recurrent import GRU, LSTM
from pytorch_impl.layers.shape import ChannelsFirst, ChannelsLast, Permute, Reshape, Slice
from pytorch_impl.layers.space import Resize, Upsample
from pytorch_impl.layers.unpool_sequential import UnpoolSequential

__all__ = [
    "GRU",
    "LSTM",
    "Affine",
    "BatchNorm",
    "ChannelsFirst",
    "ChannelsLast",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "HardSigmoid",
    "L2Normalize",
    "Padded",
    "Permute",
    "PositionEmbedding",
    "Reshape",
    "Resize",
    "Slice",
    "StochasticDepth",
    "TimeStep",
    "TopKGating",
    "UnpoolSequential",
    "Upsample",
]
