"""Every layer of tf2_impl as a user makes it: what a test over all of them goes through."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

import tf2_impl
from shared_tests.fixtures import normal
from tf2_impl import char_word_encoder, feedback_network, layers
from tf2_impl.conv_autoencoder import ConvAutoencoder1d, ConvAutoencoder2d
from tf2_impl.layers import activations, attention, convolution, pooling
from tf2_impl.neural_grammar import NeuralGrammar
from tf2_impl.padded_embedding import PaddedEmbedding
from tf2_impl.rare_event_memory import RareEventMemory
from tf2_impl.recursive_autoencoder import RecursiveAutoencoder
from tf2_impl.sequence_encoder import SequenceEncoder
from tf2_impl.soft_nearest_neighbor_loss import SoftNearestNeighborLoss
from tf2_impl.sparse_projection import SparseProjection
from tf2_impl.speaker_encoder import SpeakerEncoder
from tf2_impl.title_encoder import TitleEncoder
from tf2_impl.top_k_gating import MixtureOfExperts


@dataclass(frozen=True)
class Example:
    """A layer with arguments, and its inputs: floating ones go through a Dense before it.

    batched: whether the first axis of the inputs is a batch of independent rows.
    """

    make: Callable[..., keras.Layer]
    inputs: tuple[np.ndarray, ...]
    batched: bool = True


# A state, whose output has no gradient: tests of its own hold it.
HELD_APART = {"EmbeddingQueue"}


def package_layers() -> dict[str, type[keras.Layer]]:
    """The public Keras layers that the modules of tf2_impl define, by name."""
    found = {}
    for module in pkgutil.walk_packages(tf2_impl.__path__, "tf2_impl."):
        for name, one in vars(importlib.import_module(module.name)).items():
            own = getattr(one, "__module__", None) == module.name
            if own and isinstance(one, type) and issubclass(one, keras.Layer):
                registered = keras.saving.get_registered_name(one).startswith("fourfold>")
                if registered and name not in HELD_APART and not issubclass(one, keras.Model):
                    found[name] = one
    return found


def _x(*shape: int) -> tuple[np.ndarray]:
    return (normal(*shape, seed=1).astype("float32"),)


def _ids(*shape: int) -> tuple[np.ndarray]:
    return (np.random.default_rng(1).integers(1, 11, shape),)


def _with(kind: Any, *args: Any, **options: Any) -> Callable[..., keras.Layer]:
    return lambda **kwargs: kind(*args, **options, **kwargs)


_WINDOWS = ((2,), (2,), ((0, 1),))
_KERNEL = {"strides": (2,), "dilation_rate": (2,)}
_ROWS, _SEQUENCES, _PLANES = _x(7, 5), _x(3, 11, 5), _x(2, 11, 9, 3)

_MASK = (np.array([[1, 1, 1, 0, 1, 1, 0, 1, 0, 0, 0], [1] * 11, [0] * 11]),)

EXAMPLES: dict[str, Example] = {
    "Affine": Example(_with(layers.Affine), _SEQUENCES),
    "Attention": Example(_with(attention.Attention, 5, causal=True), _SEQUENCES * 3),
    "MaskedAttention": Example(_with(attention.MaskedAttention, 1), (*_SEQUENCES * 3, *_MASK)),
    "MaskedMean": Example(_with(attention.MaskedMean), (*_SEQUENCES, *_MASK)),
    "PositionEmbedding": Example(_with(layers.PositionEmbedding, 13, 5), _SEQUENCES),
    "TimeStep": Example(_with(layers.TimeStep, -2), _SEQUENCES),
    "AveragePool": Example(_with(pooling.AveragePool, *_WINDOWS), _SEQUENCES),
    "BackwardGRU": Example(
        _with(layers.BackwardGRU, 3, recurrent_initializer="glorot_uniform"), _SEQUENCES
    ),
    "BackwardLSTM": Example(
        _with(layers.BackwardLSTM, 3, recurrent_initializer="glorot_uniform"), _SEQUENCES
    ),
    "BatchNorm": Example(_with(layers.BatchNorm), _SEQUENCES, batched=False),
    "ChannelsFirst": Example(_with(layers.ChannelsFirst), _SEQUENCES),
    "ChannelsLast": Example(_with(layers.ChannelsLast), _SEQUENCES),
    "CharWordEncoder": Example(
        _with(char_word_encoder.CharWordEncoder, 11, char_dim=3, n_filters=5, seed=1), _ids(7, 5)
    ),
    "ConvAutoencoder1d": Example(
        _with(ConvAutoencoder1d, 5, channels=(7, 3), seed=2), _x(2, 17, 5)
    ),
    "ConvAutoencoder2d": Example(_with(ConvAutoencoder2d, 3, channels=(5, 2), seed=1), _PLANES),
    "Clip": Example(_with(activations.Clip, -0.5, 0.75), _SEQUENCES),
    "Convolution": Example(_with(convolution.Convolution, 3, (3,), **_KERNEL), _SEQUENCES),
    "Embedding": Example(_with(layers.Embedding, 11, 5, seed=1), _ids(7, 3)),
    "FeedbackNetwork": Example(
        _with(feedback_network.FeedbackNetwork, 5, (2, 3), hidden=7, seed=1), _ROWS
    ),
    "Flatten": Example(_with(layers.Flatten), _SEQUENCES),
    "GlobalAveragePool": Example(_with(pooling.GlobalAveragePool), _SEQUENCES),
    "GlobalMaxPool": Example(_with(pooling.GlobalMaxPool), _SEQUENCES),
    "GroupNorm": Example(_with(layers.GroupNorm, 5), _SEQUENCES),
    "L2Normalize": Example(_with(layers.L2Normalize), _SEQUENCES),
    "LeakyReLU": Example(_with(layers.LeakyReLU, 0.1), _SEQUENCES),
    "LogSoftmax": Example(_with(layers.LogSoftmax, -1), _SEQUENCES),
    "MaxPool": Example(_with(pooling.MaxPool, *_WINDOWS), _SEQUENCES),
    "MaxUnpool": Example(
        _with(pooling.MaxUnpool, (2,), (2,), ((0, 0),)), (*_x(3, 5, 5), *_SEQUENCES)
    ),
    "MixtureOfExperts": Example(_with(MixtureOfExperts, 5, 3, 4, 2, seed=1), _ROWS),
    "MoveChannelsFirst": Example(_with(layers.MoveChannelsFirst), _SEQUENCES),
    "MoveChannelsLast": Example(_with(layers.MoveChannelsLast), _SEQUENCES),
    "NeuralGrammar": Example(_with(NeuralGrammar, 5, 3, seed=1), _ROWS, batched=False),
    "Pad": Example(_with(layers.Pad, [[2, -1]], "reflect"), _SEQUENCES),
    "PReLU": Example(_with(layers.PReLU, 5), _SEQUENCES),
    "PaddedEmbedding": Example(_with(PaddedEmbedding, 11, 5, seed=1), _ids(7, 3)),
    "RareEventMemory": Example(_with(RareEventMemory, 7, 5, seed=1), _ROWS),
    "RecursiveAutoencoder": Example(
        _with(RecursiveAutoencoder, 5, activation="tanh", seed=1), _ROWS, batched=False
    ),
    "Upsample": Example(_with(layers.Upsample, [3]), _SEQUENCES),
    "Resize": Example(_with(layers.Resize, [7], "linear"), _SEQUENCES),
    "RowMajorFlatten": Example(_with(layers.RowMajorFlatten), _SEQUENCES),
    "SentenceEncoder": Example(
        _with(char_word_encoder.SentenceEncoder, 11, 3, char_dim=3, n_filters=5, seed=1),
        _ids(3, 4, 5),
    ),
    "Slice": Example(_with(layers.Slice, 1, 4), _SEQUENCES),
    "StochasticDepth": Example(_with(layers.StochasticDepth, 0.25), _SEQUENCES),
    "ScaleShift": Example(_with(activations.ScaleShift, 0.1, 0.3), _SEQUENCES),
    "SequenceEncoder": Example(
        _with(SequenceEncoder, 11, 5, 3, out_features=2, dropout=0.0, seed=1), _ids(7, 3)
    ),
    "SoftNearestNeighborLoss": Example(
        _with(SoftNearestNeighborLoss, learn_temperature=True),
        (*_ROWS, np.array([0, 1, 2, 0, 1, 2, 0])),
        batched=False,
    ),
    "SparseProjection": Example(_with(SparseProjection, 5, 3, seed=1), _ROWS),
    "SpeakerEncoder": Example(
        _with(SpeakerEncoder, 5, channels=(7, 3), dim=2, seed=1), _x(2, 17, 5)
    ),
    "TitleEncoder": Example(_with(TitleEncoder, 11, 5, seed=1), _ids(7, 3)),
    "TopKGating": Example(_with(layers.TopKGating, 2), _ROWS),
    "TransposedConvolution": Example(
        _with(convolution.TransposedConvolution, 3, (3,), ((1, 0),), **_KERNEL), _SEQUENCES
    ),
}
