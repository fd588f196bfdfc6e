"""What components and model files are built from: one home for each layer."""

from theano_impl.layers.activations import ReLU, LeakyReLU, ELU, SELU, GELU, SiLU, Sigmoid, Softplus, Tanh, Softmax, LogSoftmax, TopKGating, Dropout
from theano_impl.layers.convolution import Convolution, TransposedConvolution
from theano_impl.layers.embedding import Embedding
from theano_impl.layers.normalization import BatchNorm, LayerNorm, L2Normalize
from theano_impl.layers.pooling import Pooled, MaxPool, MaxUnpool, AveragePool, GlobalAveragePool, GlobalMaxPool
from theano_impl.layers.projection import Projection
from theano_impl.layers.recurrent import GRU
from theano_impl.layers.shape import Flatten, ChannelsFirst, ChannelsLast

__all__ = ["AveragePool", "BatchNorm", "ChannelsFirst", "ChannelsLast", "Convolution", "Dropout", "ELU", "Embedding", "Flatten", "GELU", "GRU", "GlobalAveragePool", "GlobalMaxPool", "L2Normalize", "LayerNorm", "LeakyReLU", "LogSoftmax", "MaxPool", "MaxUnpool", "Pooled", "Projection", "ReLU", "SELU", "SiLU", "Sigmoid", "Softmax", "Softplus", "Tanh", "TopKGating", "TransposedConvolution"]
