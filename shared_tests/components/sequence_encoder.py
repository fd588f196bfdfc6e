"""Definition of the sequence encoder: one sequence after the other, one step after the other."""

from __future__ import annotations

import textwrap

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.components.padded_embedding import pad_token_lists
from shared_tests.fixtures import docstring_tokens, normal


def sigmoid(x):
    return (1 + np.tanh(x / 2)) / 2


def gru_step(weights, given, state):
    """The state after the next input, whose product with the input's weights is given."""
    h = len(state)
    kept = state @ weights["gru.hidden_weight"] + weights["gru.hidden_bias"]
    reset = sigmoid(given[:h] + kept[:h])
    update = sigmoid(given[h : 2 * h] + kept[h : 2 * h])
    candidate = np.tanh(given[2 * h :] + reset * kept[2 * h :])
    return (1 - update) * candidate + update * state


def last_state(weights, vectors):
    state = np.zeros(len(weights["gru.hidden_weight"]))
    for vector in vectors:
        given = vector @ weights["gru.input_weight"] + weights["gru.input_bias"]
        state = gru_step(weights, given, state)
    return state


def sequence_encoder(
    weights,
    ids,
    vocabulary_size,
    embedding_dim,
    hidden,
    out_features=None,
    dropout=0.1,
    reverse=False,
):
    states = np.zeros((len(ids), hidden))
    for state, row in zip(states, ids, strict=True):
        real = [weights["table"][one] for one in row if one != 0]
        state[:] = last_state(weights, real[::-1] if reverse else real)
    if out_features is None:
        return states
    return states @ weights["projection.weight"] + weights["projection.bias"]


def gru_weights(in_features, hidden, seed):
    shapes = {
        "gru.input_weight": (in_features, 3 * hidden),
        "gru.hidden_weight": (hidden, 3 * hidden),
        "gru.input_bias": (3 * hidden,),
        "gru.hidden_bias": (3 * hidden,),
    }
    return {name: normal(*shape, seed=seed + i) for i, (name, shape) in enumerate(shapes.items())}


SIZES = {"vocabulary_size": 11, "embedding_dim": 3, "hidden": 5}
TABLE = normal(11, 3, seed=1)
TABLE[0] = 0
WEIGHTS = {"table": TABLE, **gru_weights(3, 5, seed=2)}
PROJECTED = {
    **WEIGHTS,
    "projection.weight": normal(5, 7, seed=6),
    "projection.bias": normal(7, seed=7),
}
# Far out on the gates' sigmoids, where exp overflows in float32.
SATURATED = WEIGHTS | {"gru.input_weight": 300 * WEIGHTS["gru.input_weight"]}
WITH_NAN = TABLE.copy()
WITH_NAN[5, 1] = np.nan
WITH_PADDING = TABLE.copy()
WITH_PADDING[0] = [7.0, 11.0, 13.0]
RAGGED = pad_token_lists([[3, 1, 10], [7], [2, 2, 9, 4, 1], [10, 6]])
EMPTY_ROWS = pad_token_lists([[], [5, 8, 5], []])
DOCSTRINGS = pad_token_lists(docstring_tokens(textwrap, vocabulary_size=23))[:, :13]
DOCSTRING_TABLE = normal(23, 3, seed=8)
DOCSTRING_TABLE[0] = 0


def case(name, ids, weights=WEIGHTS, *, differentiate=True, **options):
    return Case(name, {"ids": ids}, {**SIZES, **options}, weights, differentiate)


DEFINITION = Definition(
    "sequence_encoder",
    operations=(
        Operation(
            "SequenceEncoder",
            sequence_encoder,
            cases=(
                case("ragged", RAGGED),
                case("right to left", RAGGED, reverse=True),
                case("projection", RAGGED, PROJECTED, out_features=7),
                case(
                    "right to left, projection",
                    RAGGED[::-1],
                    PROJECTED,
                    out_features=7,
                    reverse=True,
                ),
                case("rows of padding", EMPTY_ROWS),
                case("rows of padding, right to left", EMPTY_ROWS, reverse=True),
                case("rows of padding, projection", EMPTY_ROWS, PROJECTED, out_features=7),
                case("no ids at all", np.zeros((3, 0), int)),
                case("one id", np.array([[4]])),
                case("empty batch", RAGGED[:0]),
                case("more padding than ids", np.pad(RAGGED, ((0, 0), (0, 4))), reverse=True),
                case("padding with a vector", EMPTY_ROWS, WEIGHTS | {"table": WITH_PADDING}),
                case("saturated", RAGGED, SATURATED).cancels("gradient:*"),
                case(
                    "docstrings",
                    DOCSTRINGS,
                    WEIGHTS | {"table": DOCSTRING_TABLE},
                    vocabulary_size=23,
                ),
                case("nan", EMPTY_ROWS, WEIGHTS | {"table": WITH_NAN}, differentiate=False),
            ),
            bad_inputs=(
                BadInput({"ids": np.ones((2, 3))}, TypeError),
                BadInput({"ids": np.array([1, 2])}),
                BadInput({"ids": np.array([[1, 11]])}),
                BadInput({"ids": np.array([[1, -1]])}),
                BadInput({"ids": np.array([[1, 2, 3], [3, 0, 2]])}),
                BadInput({"ids": np.array([[0, 2]])}),
                BadInput({"vocabulary_size": 0}, numpy=False),
                BadInput({"vocabulary_size": 2.0}, TypeError, numpy=False),
                BadInput({"embedding_dim": 0}, numpy=False),
                BadInput({"embedding_dim": 2.0}, TypeError, numpy=False),
                BadInput({"hidden": 0}, numpy=False),
                BadInput({"hidden": 2.0}, TypeError, numpy=False),
                BadInput({"out_features": 0}, numpy=False),
                BadInput({"out_features": 2.0}, TypeError, numpy=False),
                BadInput({"dropout": -0.1}, numpy=False),
                BadInput({"dropout": 1}, numpy=False),
                BadInput({"dropout": float("nan")}, numpy=False),
            ),
            kind="model",
            numpy=True,
        ),
    ),
    mutants=(
        Mutant(
            "padding read like ids",
            "SequenceEncoder",
            "ragged",
            {
                "pytorch_impl": ("real.sum(1)", "(ids == ids).sum(1)"),
                "tf2_impl": ("tf.math.count_nonzero(real,", "tf.math.count_nonzero(ids == ids,"),
                "theano_impl": ("mask=real", "mask=None"),
                "numpy_infer": ("(vectors, real)", "(vectors)"),
            },
        ),
        Mutant(
            "read from the wrong end",
            "SequenceEncoder",
            "right to left",
            {
                "pytorch_impl": ("reverse=self.reverse", "reverse=not self.reverse"),
                "tf2_impl": ("reverse=self.reverse", "reverse=not self.reverse"),
                "theano_impl": ('"backward" if reverse', '"backward" if not reverse'),
                "numpy_infer": ('"backward" if reverse', '"backward" if not reverse'),
            },
        ),
        Mutant(
            "right to left begins with the padding",
            "SequenceEncoder",
            "right to left",
            {
                "pytorch_impl": (
                    "last_states(self.gru, vectors, real.sum(1), reverse=self.reverse)",
                    "self.gru(vectors.flip(1))[1][0]",
                ),
                "tf2_impl": (
                    "last_states(self.gru, vectors, lengths, reverse=self.reverse)",
                    "self.gru(vectors[:, ::-1])",
                ),
                "theano_impl": ("mask=real", "mask=None"),
                "numpy_infer": ("(vectors, real)", "(vectors)"),
            },
        ),
        Mutant(
            "a step for a row of padding",
            "SequenceEncoder",
            "rows of padding",
            {
                "pytorch_impl": ("real.sum(1)", "real.sum(1).clamp_min(1)"),
                "tf2_impl": ("vectors, lengths,", "vectors, tf.maximum(lengths, 1),"),
                "theano_impl": ("mask=real", "mask=real | T.eq(T.arange(ids.shape[1]), 0)"),
                "numpy_infer": (
                    "(vectors, real)",
                    "(vectors, real | (np.arange(ids.shape[1]) == 0))",
                ),
            },
        ),
        Mutant(
            "dropout outside of training",
            "SequenceEncoder",
            "ragged",
            {
                "pytorch_impl": ("self.dropout(vec", "self.dropout.train()(vec"),
                "tf2_impl": ("training=training)  #", "training=True)  #"),
                "theano_impl": ("training=training", "training=True"),
            },
        ),
    ),
)
