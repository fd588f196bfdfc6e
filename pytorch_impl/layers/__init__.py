"""What components and model files are built from: one home for each layer."""

from pytorch_impl.layers.activations import TopKGating
from pytorch_impl.layers.convolution import Padded
from pytorch_impl.layers.normalization import BatchNorm, L2Normalize
from pytorch_impl.layers.pooling import Hourglass, GlobalAveragePool, GlobalMaxPool
from pytorch_impl.layers.recurrent import GRU
from pytorch_impl.layers.shape import ChannelsFirst, ChannelsLast

__all__ = ["BatchNorm", "ChannelsFirst", "ChannelsLast", "GRU", "GlobalAveragePool", "GlobalMaxPool", "Hourglass", "L2Normalize", "Padded", "TopKGating"]
