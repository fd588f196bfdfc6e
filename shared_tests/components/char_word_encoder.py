"""Definition of the word encoder: one word after the other, one window after the other."""

from __future__ import annotations

import re
import textwrap

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation, upstream
from shared_tests.components.padded_embedding import pad_token_lists
from shared_tests.components.sequence_encoder import gru_weights, last_state
from shared_tests.fixtures import normal


def windows_of(weights, word, width):
    """The places of the windows of a word without its padding, and the characters' vectors."""
    missing = max(0, width - len(word))
    vectors = np.array(
        [weights["table"][one] for one in word] + [0 * weights["table"][0]] * missing
    )
    return [vectors[start : start + width] for start in range(len(vectors) - width + 1)]


def char_word_encoder(weights, ids, vocabulary_size, char_dim, n_filters, width):
    words = np.zeros((len(ids), n_filters))
    for row, word in zip(words, ids, strict=True):
        real = [one for one in word if one != 0]
        if real:
            found = [
                (window.T * weights["convolution.weight"]).sum(axis=(1, 2))
                for window in windows_of(weights, real, width)
            ]
            row[:] = np.max(found, axis=0) + weights["convolution.bias"]
    return words


def sentence_encoder(
    weights, ids, vocabulary_size, hidden, char_dim, n_filters, width, reverse=False
):
    words = {
        name.removeprefix("words."): array
        for name, array in weights.items()
        if name.startswith("words.")
    }
    states = np.zeros((len(ids), hidden))
    for state, sentence in zip(states, ids, strict=True):
        real = [word for word in sentence if word.any()]
        vectors = char_word_encoder(words, real, vocabulary_size, char_dim, n_filters, width)
        state[:] = last_state(weights, vectors[::-1] if reverse else vectors)
    return states


def first_of_equals(case):
    """The gradients by hand: of equal windows the first gets all of it."""
    weights, (ids,) = case.weights, case.inputs.values()
    found = {name: np.zeros_like(array) for name, array in weights.items()}
    factors = upstream((len(ids), case.options["n_filters"]))
    width = case.options["width"]
    for word, row in zip(ids, factors, strict=True):
        windows = windows_of(weights, word[word != 0], width)
        for filter, factor in enumerate(row):
            kernel = weights["convolution.weight"][filter]
            values = [(window.T * kernel).sum() for window in windows]
            start = values.index(max(values))
            found["convolution.weight"][filter] += factor * windows[start].T
            found["convolution.bias"][filter] += factor
            for place in range(width):
                found["table"][word[start + place]] += factor * kernel[:, place]
    return found


def char_weights(vocabulary_size, width, seed=1):
    table = normal(vocabulary_size, 3, seed=seed)
    table[0] = 0
    return {
        "table": table,
        "convolution.weight": normal(5, 3, width, seed=seed + 1),
        "convolution.bias": normal(5, seed=seed + 2),
    }


def sentence_weights(vocabulary_size, width):
    words = char_weights(vocabulary_size, width, seed=11)
    weights = {f"words.{name}": one for name, one in words.items()} | gru_weights(5, 2, seed=14)
    # The largest of many windows is far from 0: the gates would be saturated, their gradients none.
    return weights | {"gru.input_weight": 0.2 * weights["gru.input_weight"]}


def pad_sentences(sentences):
    most = max(len(words) for words in sentences)
    flat = [word for words in sentences for word in [*words, *[[]] * (most - len(words))]]
    return pad_token_lists(flat).reshape(len(sentences), most, -1)


def word(name, ids, width=3, weights=None, **conventions):
    options = {"vocabulary_size": 11, "char_dim": 3, "n_filters": 5, "width": width}
    weights = char_weights(11, width) if weights is None else weights
    options["vocabulary_size"] = len(weights["table"])
    return Case(name, {"ids": ids}, options, weights, **conventions)


def sentence(name, ids, width=3, vocabulary_size=11, weights=None, differentiate=True, **more):
    options = {"vocabulary_size": vocabulary_size, "hidden": 2, "char_dim": 3, "n_filters": 5}
    weights = sentence_weights(vocabulary_size, width) if weights is None else weights
    return Case(name, {"ids": ids}, {**options, "width": width, **more}, weights, differentiate)


WORDS = pad_token_lists([[3, 1, 10], [7], [2, 2, 9, 4, 1, 8, 6], [10, 6], [5, 4, 2, 10]])
EMPTY_WORDS = pad_token_lists([[], [5, 8, 5, 2], []])
# Every real window lies below the bias, which a window of padding would give.
BELOW_PADDING = {
    "table": np.abs(char_weights(11, 3)["table"]),
    "convolution.weight": -np.abs(char_weights(11, 3)["convolution.weight"]),
    "convolution.bias": char_weights(11, 3)["convolution.bias"],
}
WITH_PADDING = char_weights(11, 3)
WITH_PADDING["table"][0] = [7.0, 11.0, 13.0]
WITH_NAN = char_weights(11, 3)
WITH_NAN["table"][8, 1] = np.nan
# The filters see the first character alone: those that begin alike tie, and differ behind it.
TIED = char_weights(11, 2)
TIED["convolution.weight"][:, 1:] = 0
TIED["convolution.weight"][:, :, 1] = 0
TIED["convolution.bias"][:] = 0
HIGH, LOW = TIED["table"][1:, 0].argmax() + 1, TIED["table"][1:, 0].argmin() + 1
OTHERS = [one for one in range(1, 11) if one not in (HIGH, LOW)]
TIES = np.array([[HIGH, LOW, OTHERS[0], HIGH, OTHERS[1], LOW, OTHERS[2], HIGH, OTHERS[3]]])

SENTENCES = pad_sentences(
    [[[3, 1, 10], [7]], [[2, 2, 9, 4]], [[10, 6], [5, 4, 2, 10], [1], [8, 3, 9]]]
)
EMPTY_SENTENCES = pad_sentences([[], [[5, 8, 5, 2], [4]], []])
LETTERS = 27
LINES = str(textwrap.dedent.__doc__).lower().split("\n")[:5]
SPELLED = [[[ord(c) - 96 for c in one] for one in re.findall("[a-z]+", line)] for line in LINES]
SPELLED_WORDS = pad_token_lists([one for words in SPELLED for one in words])
SENTENCE_WITH_NAN = sentence_weights(11, 3)
SENTENCE_WITH_NAN["words.table"][8, 1] = np.nan

SIZES = (
    BadInput({"vocabulary_size": 0}, numpy=False),
    BadInput({"vocabulary_size": 2.0}, TypeError, numpy=False),
    BadInput({"char_dim": 0}, numpy=False),
    BadInput({"char_dim": 2.0}, TypeError, numpy=False),
    BadInput({"n_filters": 0}, numpy=False),
    BadInput({"n_filters": 2.0}, TypeError, numpy=False),
    BadInput({"width": 0}, numpy=False),
    BadInput({"width": 2.0}, TypeError, numpy=False),
)

DEFINITION = Definition(
    "char_word_encoder",
    operations=(
        Operation(
            "CharWordEncoder",
            char_word_encoder,
            cases=(
                word("ragged", WORDS),
                word("one character at a time", WORDS, width=1),
                word("all shorter than the width", WORDS[:, :2][[0, 1, 3]], width=5),
                word("words of padding", EMPTY_WORDS),
                word("no characters at all", np.zeros((3, 0), int)),
                word("one word", WORDS[4:, :4]),
                word("empty batch", WORDS[:0]),
                word("more padding than characters", np.pad(WORDS, ((0, 0), (0, 7)))),
                word("every window below that of padding", WORDS, weights=BELOW_PADDING),
                word("padding with a vector", WORDS, weights=WITH_PADDING),
                word("ties", TIES, width=2, weights=TIED, gradients=first_of_equals),
                word("docstrings", SPELLED_WORDS, weights=char_weights(LETTERS, 3)),
                word("nan", WORDS, weights=WITH_NAN, differentiate=False),
            ),
            bad_inputs=(
                BadInput({"ids": np.ones((2, 3))}, TypeError),
                BadInput({"ids": np.array([1, 2])}),
                BadInput({"ids": np.array([[1, 11]])}),
                BadInput({"ids": np.array([[1, -1]])}),
                BadInput({"ids": np.array([[1, 2, 3], [3, 0, 2]])}),
                BadInput({"ids": np.array([[0, 2]])}),
                *SIZES,
            ),
            kind="model",
            numpy=True,
        ),
        Operation(
            "SentenceEncoder",
            sentence_encoder,
            cases=(
                sentence("sentences", SENTENCES),
                sentence("sentences, right to left", SENTENCES, reverse=True).vanishes(
                    "gradient:words.convolution.*"
                ),
                sentence("sentences of padding", EMPTY_SENTENCES).vanishes(
                    "gradient:words.convolution.*"
                ),
                sentence("no words at all", np.zeros((3, 0, 2), int)),
                sentence("words without characters", np.zeros((3, 2, 0), int)),
                sentence("a sentence of one word", SENTENCES[1:2, :1]).vanishes(
                    "gradient:words.convolution.*"
                ),
                sentence("empty batch", SENTENCES[:0]),
                sentence("docstring sentences", pad_sentences(SPELLED), vocabulary_size=LETTERS),
                sentence(
                    "a sentence with nan", SENTENCES, weights=SENTENCE_WITH_NAN, differentiate=False
                ),
            ),
            bad_inputs=(
                BadInput({"ids": np.ones((2, 3, 2))}, TypeError),
                BadInput({"ids": WORDS}),
                BadInput({"ids": SENTENCES + 1}),
                BadInput({"ids": -SENTENCES}),
                BadInput({"ids": np.array([[[1, 2]], [[0, 2]]])}),
                BadInput({"ids": np.array([[[0, 0], [1, 2]]])}),
                BadInput({"hidden": 0}, numpy=False),
                BadInput({"hidden": 2.0}, TypeError, numpy=False),
                *SIZES,
            ),
            kind="model",
            numpy=True,
        ),
    ),
    mutants=(
        Mutant(
            "windows of padding win",
            "CharWordEncoder",
            "every window below that of padding",
            {
                "pytorch_impl": ("~inside[:, None]", "~inside[:, None] & False"),
                "tf2_impl": ("tf.where(inside[..., None],", "tf.where(inside[..., None] | True,"),
                "theano_impl": (
                    "T.switch(inside[:, None, :],",
                    "T.switch(T.ge(inside, 0)[:, None, :],",
                ),
                "numpy_infer": ("where=~inside[:, None]", "where=~inside[:, None] & False"),
            },
        ),
        Mutant(
            "windows that end behind the word",
            "CharWordEncoder",
            "ragged",
            {
                "pytorch_impl": ("(lengths - self.width + 1)", "(lengths)"),
                "tf2_impl": ("lengths - self.width + 1", "lengths"),
                "theano_impl": ("lengths - width + 1", "lengths"),
                "numpy_infer": ("lengths - self.width + 1", "lengths"),
            },
        ),
        Mutant(
            "no window in a short word",
            "CharWordEncoder",
            "all shorter than the width",
            {
                "pytorch_impl": (".clamp_min(1)", ""),
                "tf2_impl": ("tf.maximum(lengths - self.width + 1, 1)", "lengths - self.width + 1"),
                "theano_impl": ("T.maximum(lengths - width + 1, 1)", "(lengths - width + 1)"),
                "numpy_infer": (
                    "np.maximum(lengths - self.width + 1, 1)",
                    "lengths - self.width + 1",
                ),
            },
        ),
        Mutant(
            "a flipped kernel",
            "CharWordEncoder",
            "ragged",
            {
                "pytorch_impl": (
                    "self.convolution(vectors.mT)",
                    "F.conv1d(vectors.mT, self.convolution.weight.flip(2), self.convolution.bias)",
                ),
                "tf2_impl": (
                    "on_rows(self.convolution, vectors)",
                    "tf.nn.conv1d(vectors, self.convolution.kernel[::-1], 1, 'VALID')"
                    " + self.convolution.bias",
                ),
                "theano_impl": (
                    'self.add_layer("convolution", convolution).output',
                    '__import__("theano").clone(self.add_layer("convolution", convolution).output,'
                    " {convolution.weight: convolution.weight[:, :, ::-1]})",
                ),
                "numpy_infer": (
                    "convolution_weight, convolution_bias, **window",
                    "convolution_weight[:, :, ::-1], convolution_bias, **window",
                ),
            },
        ),
        Mutant(
            "the bias of no word",
            "CharWordEncoder",
            "words of padding",
            {
                "pytorch_impl": (".masked_fill(lengths == 0, 0)", ""),
                "tf2_impl": ("tf.where(lengths > 0,", "tf.where(lengths >= 0,"),
                "theano_impl": ("T.switch(lengths > 0,", "T.switch(lengths >= 0,"),
                "numpy_infer": ("lengths[:, 0] == 0", "lengths[:, 0] < 0"),
            },
        ),
        Mutant(
            "the padding's row is read",
            "CharWordEncoder",
            "padding with a vector",
            {
                "pytorch_impl": (".masked_fill(~real[..., None], 0)", ""),
                "tf2_impl": ("tf.where(real[..., None],", "tf.where(real[..., None] | True,"),
                "theano_impl": (
                    "T.switch(real[:, :, None],",
                    "T.switch(T.ge(real, 0)[:, :, None],",
                ),
                "numpy_infer": ("        vectors[~real] = 0\n", ""),
            },
        ),
        Mutant(
            "gradient of the maximum shared among equals",
            "CharWordEncoder",
            "ties",
            {
                "pytorch_impl": (".max(2).values", ".amax(2)"),
                "tf2_impl": (
                    "max_over_time(c)",
                    "tf.reduce_max(c, axis=1)",
                ),
                "theano_impl": (
                    "max_over_time(c)",
                    "T.max(c, axis=2)",
                ),
            },
        ),
        Mutant(
            "sentences read from the wrong end",
            "SentenceEncoder",
            "sentences",
            {
                "pytorch_impl": ("reverse=self.reverse)", "reverse=not self.reverse)"),
                "tf2_impl": ("reverse=self.reverse)", "reverse=not self.reverse)"),
                "theano_impl": ('"backward" if reverse', '"backward" if not reverse'),
                "numpy_infer": ('"backward" if reverse', '"backward" if not reverse'),
            },
        ),
        Mutant(
            "padding read like words",
            "SentenceEncoder",
            "sentences",
            {
                "pytorch_impl": (
                    "vectors, real.sum(1), rev",
                    "vectors, (real == real).sum(1), rev",
                ),
                "tf2_impl": (
                    "tf.math.count_nonzero(real, axis=1)\n",
                    "tf.math.count_nonzero(real | True, axis=1)\n",
                ),
                "theano_impl": ("mask=real", "mask=None"),
                "numpy_infer": (", vectors.shape[1]), real)", ", vectors.shape[1]))"),
            },
        ),
    ),
)
