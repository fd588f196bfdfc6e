"""The trainings that all frameworks run from the same start: which model, batches and loss.

Each takes a hundred steps, its batches in turn. What is trained are the weights of a case of the
definitions; where a loss has none, the embeddings it is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fourfold.definition import SparseInput
from fourfold.training import Native, Training
from shared_tests.components.padded_embedding import pad_token_lists
from shared_tests.fixtures import normal

STEPS = 100
OPTIMIZERS = ("sgd", "smorms3")
STATES = ("memory", "gradient", "square")  # what SMORMS3 keeps for each parameter


def distance_to_target(native: Native, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
    return native.mean((outputs["output"] - batch["target"]) ** 2)


def faint(native: Native, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
    """Gradients as small as the square root of SMORMS3's epsilon: where that stands, shows."""
    return 2**-27 * distance_to_target(native, outputs, batch)  # exact in float32 too


def own_loss(native: Native, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
    """Of what is a loss itself."""
    return outputs["output"]


def root_score(native: Native, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
    return native.component("recursive_autoencoder").Tree(**outputs).loss


def hinges(native: Native, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
    return native.component("neural_grammar").LabelledTree(**outputs).loss


def reconstruction(native: Native, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
    return native.mean((outputs["output"] - batch["x"]) ** 2)


def clusters(native: Native, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
    loss = native.component("clustering_loss").clustering_loss
    return loss(outputs["output"], gamma=1.5)


def levels(native: Native, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
    losses = native.component("feedback_network").level_losses
    return native.mean(losses(batch["labels"], *outputs.values()))


def triplets(native: Native, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
    """The first rows are anchors, the next positives, the last negatives."""
    y = outputs["output"]
    return native.component("triplet_loss").triplet_loss(y[:2], y[2:4], y[4:])


def leave_one_out(native: Native, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
    """One bag of four titles, and two negatives."""
    titles = outputs["output"]
    return native.component("title_encoder").leave_one_out_loss(
        titles[None, :4, :], titles[None, 4:, :]
    )


def drawn(n: int, *, first: int = 1, **shapes: tuple[int, ...]) -> list[dict[str, Any]]:
    """n batches of normal numbers; `first` is the number of the first one."""
    named = list(enumerate(shapes.items()))
    return [
        {name: normal(*shape, seed=10 * batch + place) for place, (name, shape) in named}
        for batch in range(first, first + n)
    ]


def given(
    name: str, values: Sequence[Any], *, first: int = 1, **shapes: tuple[int, ...]
) -> list[dict[str, Any]]:
    """A batch for each of these values, with normal numbers beside it."""
    beside = drawn(len(values), first=first, **shapes)
    return [{name: np.asarray(one), **rest} for one, rest in zip(values, beside, strict=True)]


WORDS = (
    pad_token_lists([[3, 1, 10], [7], [2, 2, 9, 4, 1], [10, 6]]),
    pad_token_lists([[5, 8], [1, 4, 6, 3, 3], [9], [2, 7, 5]]),
    pad_token_lists([[8, 1, 1, 5, 2], [6], [4, 3], [10, 9, 7]]),
)
TITLES = (
    pad_token_lists([[3, 1], [10, 7, 2], [2, 9], [4], [1, 6], [8, 5]]),
    pad_token_lists([[5, 8], [1, 4, 6], [9], [2, 7], [3], [10, 1]]),
)
SENTENCES = (
    np.array([[[3, 1, 10], [7, 0, 0]], [[2, 9, 4], [0, 0, 0]], [[10, 6, 0], [5, 4, 2]]]),
    np.array([[[8, 3, 0], [1, 0, 0]], [[6, 5, 0], [2, 7, 9]], [[4, 0, 0], [0, 0, 0]]]),
)
BRACKETS = (
    [[0, 1], [2, 3], [5, 6], [2, 4], [0, 4], [0, 6]],
    [[3, 4], [0, 1], [3, 5], [2, 5], [2, 6], [0, 6]],
)
POINT_LABELS = ([0, 1, 0, 2, 1, 0, 3, 2, 1, 0, 2], [1, 1, 0, 2, 2, 0, 0, 2, 1, 0, 2])
QUERY_LABELS = ([0, 1, 2, 0, 1, 2, 0], [1, 2, 0, 1, 2, 0, 1])
LEVEL_LABELS = ([[1, 0, 4], [0, 2, 1], [1, 1, 0]], [[0, 1, 3], [0, 0, 2], [1, 2, 4]])
SPARSE = [
    {"x": SparseInput(x * (x > 0.5)), "target": normal(11, 5, seed=seed + 5)}
    for seed in range(3)
    for x in [normal(11, 7, seed=seed)]
]

TRAININGS = (
    Training(
        "chain", ("chain", "mlp", "batch"), drawn(3, x=(4, 7), target=(4, 3)), distance_to_target
    ),
    Training(
        "char_word_encoder",
        ("char_word_encoder", "CharWordEncoder", "ragged"),
        given("ids", WORDS, target=(4, 5)),
        distance_to_target,
    ),
    Training(
        "char_word_encoder",
        ("char_word_encoder", "SentenceEncoder", "sentences"),
        given("ids", SENTENCES, target=(3, 2)),
        distance_to_target,
    ),
    Training("clustering_loss", ("chain", "mlp", "batch"), drawn(3, x=(11, 7)), clusters),
    Training(
        "conv_autoencoder",
        ("conv_autoencoder", "ConvAutoencoder1d", "even length"),
        drawn(2, x=(3, 2, 12)),
        reconstruction,
    ),
    Training(
        "conv_autoencoder",
        ("conv_autoencoder", "ConvAutoencoder2d", "odd plane"),
        drawn(2, x=(2, 2, 9, 11)),
        reconstruction,
    ),
    Training(
        "feedback_network",
        ("feedback_network", "FeedbackNetwork", "three levels"),
        # Of seven draws one in which no activation comes near relu's kink, where SMORMS3 makes
        # steps of rounding errors: see `smorms3` in docs/porting.md.
        given("labels", LEVEL_LABELS, first=11, x=(3, 7)),
        levels,
    ),
    Training(
        "neural_grammar",
        ("neural_grammar", "NeuralGrammar", "labelled"),
        given("brackets", BRACKETS, vectors=(7, 3)),
        hinges,
    ),
    Training(
        "padded_embedding",
        ("padded_embedding", "PaddedEmbedding", "mean"),
        given("ids", WORDS, target=(4, 5)),
        distance_to_target,
        rate=0.5,
    ),
    Training(
        "rare_event_memory",
        ("rare_event_memory", "memory_loss", "wide margin"),
        given("labels", QUERY_LABELS),
        own_loss,
        embeddings=("queries",),
    ),
    Training(
        "recursive_autoencoder",
        ("recursive_autoencoder", "RecursiveAutoencoder", "tanh"),
        drawn(2, vectors=(7, 3)),
        root_score,
        rate=0.01,
    ),
    Training(
        "sequence_encoder",
        ("sequence_encoder", "SequenceEncoder", "projection"),
        given("ids", WORDS, target=(4, 7)),
        distance_to_target,
    ),
    Training(
        "sequence_encoder",
        ("sequence_encoder", "SequenceEncoder", "right to left, projection"),
        given("ids", WORDS, target=(4, 7)),
        distance_to_target,
    ),
    Training(
        "soft_nearest_neighbor_loss",
        ("soft_nearest_neighbor_loss", "SoftNearestNeighborLoss", "learned"),
        given("labels", POINT_LABELS),
        own_loss,
        embeddings=("embeddings",),
    ),
    Training(
        "sparse_projection",
        ("sparse_projection", "SparseProjection", "empty rows, csr"),
        SPARSE,
        distance_to_target,
    ),
    Training(
        "sparse_projection",
        ("sparse_projection", "SparseProjection", "full"),
        drawn(3, x=(11, 7), target=(11, 5)),
        faint,
        rate=2.0**22,
    ),
    Training(
        "speaker_encoder",
        ("speaker_encoder", "SpeakerEncoder", "odd number of frames"),
        drawn(2, x=(6, 2, 11)),
        triplets,
        rate=0.005,
    ),
    Training(
        "title_encoder",
        ("title_encoder", "TitleEncoder", "ragged"),
        given("ids", TITLES),
        leave_one_out,
        rate=0.02,
    ),
    Training(
        "top_k_gating",
        ("top_k_gating", "MixtureOfExperts", "two of seven"),
        drawn(3, x=(11, 5), target=(11, 3)),
        distance_to_target,
    ),
    Training(
        "triplet_loss",
        ("triplet_loss", "triplet_loss", "sqeuclidean, mean"),
        [{}],
        own_loss,
        embeddings=("anchor", "positive", "negative"),
        rate=0.002,
    ),
    Training(
        "triplet_loss",
        ("triplet_loss", "all_triplets_loss", "cosine, mean"),
        given("labels", POINT_LABELS),
        own_loss,
        embeddings=("embeddings",),
    ),
)
