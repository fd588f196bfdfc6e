"""Definition of the scaling of gradients by inverse frequency, row by row."""

from __future__ import annotations

import textwrap

import numpy as np

from shared_tests.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.fixtures import docstring_tokens, normal


def inverse_frequency_weights(counts, like):
    """like: an array of the dtype that is the framework's default at the time."""
    found = [int(count) for count in counts[1:] if count > 0]
    mean = sum(found) / len(found)
    return np.array([0.0] + [max(1, mean / max(1, int(count))) for count in counts[1:]])


def scale_gradients_by_frequency(table, upstream, ids, weights, sparse):
    """The gradient of a table whose rows `ids` were looked up; whether it is still sparse."""
    gradient = np.zeros_like(table)
    for row, token in zip(upstream, ids, strict=True):
        gradient[token] += row * weights[token]
    return {"gradient": gradient, "sparse": np.array(sparse)}


def counts_case(name, counts):
    return Case(name, {"counts": np.array(counts), "like": np.ones(1)})


def lookups(ids, seed, weights):
    table, upstream = normal(len(weights), 5, seed=seed), normal(len(ids), 5, seed=seed + 1)
    return {"table": table, "upstream": upstream, "ids": np.array(ids, int), "weights": weights}


SPARSE, DENSE = {"sparse": True}, {"sparse": False}
WEIGHTS = np.abs(normal(11, seed=1)) + 1
TOKENS = [token for line in docstring_tokens(textwrap, vocabulary_size=53) for token in line]
PADDED = [0, *TOKENS, 0, 0]
COUNTS = np.bincount(PADDED, minlength=59)  # six ids never occur
ZIPF = inverse_frequency_weights(COUNTS, None)
DISTINCT, REPEATED = [3, 1, 10, 7], [4, 2, 4, 0, 9, 4, 2]

DEFINITION = Definition(
    "frequency_scaling",
    operations=(
        Operation(
            "inverse_frequency_weights",
            inverse_frequency_weights,
            cases=(
                counts_case("counts", [0, 11, 2, 5, 1, 17, 3]),
                counts_case("much padding", [10**6, 11, 2, 5, 1]),
                counts_case("ids that never occur", [0, 7, 0, 2, 0, 13]),
                counts_case("all equal", [3, 3, 3, 3]),
                counts_case("one huge", [0, 1, 2**62, 2, 2**62]),
                counts_case("one id", [0, 0, 5]),
                counts_case("narrow integers", np.array([0, 200, 1, 250, 3], np.uint8)),
                counts_case("docstrings", COUNTS),
            ),
            bad_inputs=(
                BadInput({"counts": np.array([0, 3, -1])}),
                BadInput({"counts": np.array([7, 0, 0])}),
                BadInput({"counts": np.array([], int)}),
                BadInput({"counts": np.ones((2, 3), int)}),
                BadInput({"counts": np.ones(3)}, TypeError),
                BadInput({"counts": np.ones(3, bool)}, TypeError),
            ),
            differentiable=False,
        ),
        Operation(
            "scale_gradients_by_frequency",
            scale_gradients_by_frequency,
            cases=(
                Case("sparse", lookups(DISTINCT, 4, WEIGHTS), SPARSE),
                Case("dense", lookups(DISTINCT, 6, WEIGHTS), DENSE),
                Case("an id several times", lookups(REPEATED, 8, WEIGHTS), SPARSE),
                Case("an id several times, dense", lookups(REPEATED, 10, WEIGHTS), DENSE),
                Case("no rows", lookups([], 12, WEIGHTS), SPARSE),
                Case("docstrings", lookups(PADDED, 14, ZIPF), SPARSE),
                Case("docstrings, dense", lookups(PADDED, 16, ZIPF), DENSE),
            ),
            bad_inputs=(
                BadInput({"weights": np.ones((11, 1))}),
                BadInput({"weights": np.ones(11, int)}, TypeError),
                BadInput({"weights": np.ones(11, np.float32)}, TypeError),
                BadInput({"weights": np.ones(13)}),
                BadInput({"weights": np.ones(13), "sparse": False}),
            ),
            differentiable=False,
        ),
    ),
    mutants=(
        Mutant(
            "frequent ids are damped",
            "inverse_frequency_weights",
            "counts",
            {
                "pytorch_impl": (".double().clamp(min=1)).clamp(min=1)", ".double().clamp(min=1))"),
                "tf2_impl": ("tf.maximum(weights[1:], 1)", "weights[1:]"),
                "theano_impl": (
                    "np.maximum(found.mean() / np.maximum(counts, 1), 1)",
                    "found.mean() / np.maximum(counts, 1)",
                ),
            },
        ),
        Mutant(
            "the mean counts the padding",
            "inverse_frequency_weights",
            "much padding",
            {
                "pytorch_impl": ("counts[1:][counts[1:] > 0]", "counts[counts > 0]"),
                "tf2_impl": ("counts[1:], counts[1:] > 0", "counts, counts > 0"),
                "theano_impl": ("counts[1:][counts[1:] > 0]", "counts[counts > 0]"),
            },
        ),
        Mutant(
            "the mean counts what never occurs",
            "inverse_frequency_weights",
            "ids that never occur",
            {
                "pytorch_impl": ("counts[1:][counts[1:] > 0]", "counts[1:]"),
                "tf2_impl": ("tf.boolean_mask(counts[1:], counts[1:] > 0)", "counts[1:]"),
                "theano_impl": ("counts[1:][counts[1:] > 0]", "counts[1:]"),
            },
        ),
        Mutant(
            "padding has a weight",
            "inverse_frequency_weights",
            "docstrings",
            {
                "pytorch_impl": ("weights[0] = 0", "weights[0] = 1"),
                "tf2_impl": ("[[0.0]", "[[1.0]"),
                "theano_impl": ("weights[0] = 0", "weights[0] = 1"),
            },
        ),
        Mutant(
            "weights by place, not by id",
            "scale_gradients_by_frequency",
            "sparse",
            {
                "pytorch_impl": (
                    "weights[gradient._indices()[0]]",
                    "weights[: len(gradient._values())]",
                ),
                "tf2_impl": (
                    "tf.gather(weights, gradient.indices)",
                    "weights[: len(gradient.indices)]",
                ),
                "theano_impl": ("weights[ids]", "weights[: ids.shape[0]]"),
            },
        ),
        Mutant(
            "divided by the weights",
            "scale_gradients_by_frequency",
            "an id several times, dense",
            {
                "pytorch_impl": ("rows.mul_", "rows.div_"),
                "tf2_impl": ("widened(rows) * tf.reshape", "widened(rows) / tf.reshape"),
                "theano_impl": ("gradient * _column", "gradient / _column"),
            },
        ),
        Mutant(
            "a dense gradient",
            "scale_gradients_by_frequency",
            "an id several times",
            {
                "tf2_impl": (
                    "return tf.IndexedSlices(rows, gradient.indices, gradient.dense_shape)",
                    "return tf.convert_to_tensor(\n            tf.IndexedSlices(rows, gradient.indices, gradient.dense_shape)\n        )",
                ),
                "theano_impl": ("if _is_zero(start)", "if False"),
            },
        ),
    ),
)
