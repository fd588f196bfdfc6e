"""Where weights start, what noise is like, and what a seed does: the same in every framework.

Many draws from fixed seeds are held to the distribution that the initializers name: its bounds or
its scale, its mean, its variance and its shape.
"""

from __future__ import annotations

import importlib
import math
from functools import cache
from typing import Any

import numpy as np
import pytest

from fourfold.distributions import assert_normal, assert_uniform
from shared_tests.repository import PACKAGES
from shared_tests.support.sources import arguments, components, public

# Large, and no two sizes alike: a bound shows which of them it was made of.
SIZES: dict[str, dict[str, Any]] = {
    "char_word_encoder.CharWordEncoder": {
        "vocabulary_size": 211,
        "char_dim": 17,
        "n_filters": 53,
        "width": 3,
    },
    "char_word_encoder.SentenceEncoder": {
        "vocabulary_size": 211,
        "hidden": 31,
        "char_dim": 17,
        "n_filters": 53,
        "width": 3,
    },
    "conv_autoencoder.ConvAutoencoder1d": {"in_channels": 19, "channels": [43, 23]},
    "conv_autoencoder.ConvAutoencoder2d": {"in_channels": 7, "channels": [19, 11]},
    "feedback_network.FeedbackNetwork": {"in_features": 61, "classes": [37, 53], "hidden": 29},
    "neural_grammar.NeuralGrammar": {"dim": 1009, "hidden": 3},
    "padded_embedding.PaddedEmbedding": {"vocabulary_size": 211, "dim": 17},
    "rare_event_memory.RareEventMemory": {"size": 11, "dim": 5},
    "recursive_autoencoder.RecursiveAutoencoder": {"dim": 37},
    "sequence_encoder.SequenceEncoder": {
        "vocabulary_size": 211,
        "embedding_dim": 17,
        "hidden": 31,
        "out_features": 61,
    },
    "sparse_projection.SparseProjection": {"in_features": 61, "out_features": 23},
    "speaker_encoder.SpeakerEncoder": {"n_mels": 37, "channels": [41, 29], "dim": 53},
    "title_encoder.TitleEncoder": {"vocabulary_size": 211, "dim": 17},
    "top_k_gating.MixtureOfExperts": {
        "in_features": 61,
        "out_features": 29,
        "n_experts": 19,
        "k": 3,
        "noisy": True,
    },
}
DRAWN = sorted(set(SIZES) - {"rare_event_memory.RareEventMemory"})  # it starts empty


def build(framework: str, model: str, seed: int | None, **options):
    """A model from its constructor, with a seed."""
    component, _, name = model.partition(".")
    made = getattr(importlib.import_module(f"{PACKAGES[framework]}.{component}"), name)
    options = {**SIZES[model], **options}
    if framework != "theano":
        return made(**options, seed=seed)
    with importlib.import_module("theano").config.change_flags(floatX="float32"):
        return made(*made.symbolic_inputs("float32"), **options, seed=seed)


def arrays(framework: str, model: str, seed: int | None = 1) -> dict[str, np.ndarray]:
    interchange = importlib.import_module(f"{PACKAGES[framework]}.interchange")
    return interchange.to_arrays(build(framework, model, seed))


@cache
def started(framework: str, model: str) -> dict[str, np.ndarray]:
    return arrays(framework, model)


def matrices(name: str, array: np.ndarray) -> list[np.ndarray]:
    """The parts that were drawn by themselves: a GRU has a matrix for each gate."""
    return (
        np.split(array, 3, axis=1) if name.endswith(("input_weight", "hidden_weight")) else [array]
    )


def bound(shape: tuple[int, ...], convolution: bool) -> float:
    """√(6 / (in + out)); each channel of a convolution counts once for each kernel place."""
    if convolution:
        return math.sqrt(6 / ((shape[0] + shape[1]) * math.prod(shape[2:])))
    return math.sqrt(6 / (shape[-2] + shape[-1]))


@pytest.mark.parametrize("model", DRAWN)
def test_weights_start_as_they_should(framework_name, model):
    found = started(framework_name, model)
    for name, array in found.items():
        if "bias" in name or name == "noise_weight" or name.startswith("norm."):
            assert len(np.unique(array)) == 1, name  # zeros, and a scale of ones
            assert array.flat[0] == (1 if name == "norm.scale" else 0), name
        elif name.endswith("table"):
            assert not array[0].any()
            assert_normal(array[1:], array.shape[1] ** -0.5)
        elif array.ndim == 3 and name == "expert_weight":
            assert_uniform(array, bound(array.shape, convolution=False))
        else:
            for part in matrices(name, array):
                assert_uniform(part, bound(part.shape, convolution=part.ndim > 2))


@pytest.mark.parametrize("model", DRAWN)
def test_a_seed_repeats_and_another_does_not(framework_name, model):
    first = started(framework_name, model)
    same, other = (arrays(framework_name, model, seed) for seed in (1, 2))
    some, fresh = (arrays(framework_name, model, None) for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(same[name], array)
        if len(np.unique(array)) > 1:
            assert (other[name] != array).mean() > 0.9, name
            assert (some[name] != fresh[name]).mean() > 0.9, name


def test_every_class_with_a_seed_is_here(framework_name):
    package = PACKAGES[framework_name]
    seeded = {
        f"{component}.{name}"
        for component, tree in components(package).items()
        for name, node in public(tree).items()
        if any(argument == "seed" for _, argument, _ in arguments(node))
    }
    assert seeded == set(SIZES)


def test_noise_of_the_ages_is_uniform_on_both_sides(framework_name):
    """Of two slots that differ by a in age, noise of ±2a makes the younger seem older in 9 of 32.

    The difference of two such numbers has a triangular density on ±4a. Of one-sided noise it
    would have half the width: 1 of 8.
    """
    options = {"size": 2, "dim": 3, "rule": "circular", "age_noise": 20.0}
    model = build(framework_name, "rare_event_memory.RareEventMemory", 1, **options)
    state = {
        "keys": np.eye(3, dtype=np.float32)[:2],
        "labels": np.zeros(2, np.float32),
        "ages": np.array([30, 40], np.float32),
    }
    interchange = importlib.import_module(f"{PACKAGES[framework_name]}.interchange")
    update = updater(framework_name, model)
    younger = 0
    for _ in range(400):
        interchange.load_arrays(model, state)
        update(np.eye(3, dtype=np.float32)[2:], np.array([1]))
        ages = interchange.to_arrays(model)["ages"]
        younger += int(ages[0] < ages[1])
    deviation = math.sqrt(9 / 32 * 23 / 32 / 400)
    assert abs(younger / 400 - 9 / 32) < 3 * deviation


def updater(framework: str, model):
    if framework == "theano":
        theano = importlib.import_module("theano")
        labels = theano.tensor.lvector()
        return theano.function([model.inputs[0], labels], updates=model.update(labels))
    if framework == "torch":
        torch = importlib.import_module("torch")
        return lambda queries, labels: model.update(*map(torch.from_numpy, (queries, labels)))
    return importlib.import_module("tensorflow").function(model.update)
