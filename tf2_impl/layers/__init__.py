"""What components and model files are built from: one home for each layer."""

from tf2_impl.layers.activations import LeakyReLU, LogSoftmax, TopKGating
from tf2_impl.layers.convolution import Convolution, TransposedConvolution
from tf2_impl.layers.embedding import Embedding
from tf2_impl.layers.normalization import L2Normalize, BatchNorm
from tf2_impl.layers.pooling import MaxPool, AveragePool, MaxUnpool, GlobalAveragePool, GlobalMaxPool
from tf2_impl.layers.recurrent import BackwardGRU
from tf2_impl.layers.shape import Flatten, RowMajorFlatten, MoveChannelsFirst, MoveChannelsLast, ChannelsFirst, ChannelsLast

__all__ = ["AveragePool", "BackwardGRU", "BatchNorm", "ChannelsFirst", "ChannelsLast", "Convolution", "Embedding", "Flatten", "GlobalAveragePool", "GlobalMaxPool", "L2Normalize", "LeakyReLU", "LogSoftmax", "MaxPool", "MaxUnpool", "MoveChannelsFirst", "MoveChannelsLast", "RowMajorFlatten", "TopKGating", "TransposedConvolution"]
