"""Definition of the scaling of gradients and of updates by inverse frequency, row by row."""

from __future__ import annotations

import textwrap

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.components.sanity_checks import smorms3
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


RATE, MOMENTUM = 0.125, 0.875  # Keras keeps them in float32


def scale_updates_by_frequency(table, ids, rows, weights, rule, sparse):
    """The table after each step of a rule, which does not know that its updates are scaled."""
    steps, state = [], (np.ones_like(table), np.zeros_like(table), np.zeros_like(table))
    velocity = np.zeros_like(table)
    for own_ids, own_rows in zip(ids, rows, strict=True):
        gradient = np.zeros_like(table)
        for token, row in zip(own_ids, own_rows, strict=True):
            gradient[token] += row
        if rule == "SMORMS3":
            after, *moved = smorms3(table, gradient, *state, RATE)
            present = np.isin(np.arange(len(table)), own_ids)[:, None] | (not sparse)
            after = np.where(present, after, table)
            state = [np.where(present, *pair) for pair in zip(moved, state, strict=True)]
        else:
            velocity = (MOMENTUM if rule == "momentum" else 0) * velocity + gradient
            after = table - RATE * velocity
        table = np.array(
            [old + own * (new - old) for own, old, new in zip(weights, table, after, strict=True)]
        )
        steps.append(table)
    return {"tables": np.array(steps)}


def counts_case(name, counts):
    return Case(name, {"counts": np.array(counts), "like": np.ones(1)})


def lookups(ids, seed, weights):
    table, upstream = normal(len(weights), 5, seed=seed), normal(len(ids), 5, seed=seed + 1)
    return {"table": table, "upstream": upstream, "ids": np.array(ids, int), "weights": weights}


def steps_case(name, ids, seed, weights, rule, sparse):
    """A step for each row of ids, on a table whose row 0 is padding."""
    ids = np.array(ids, int)
    table = normal(len(weights), 5, seed=seed)
    table[0] = 0
    rows = normal(*ids.shape, 5, seed=seed + 1)
    inputs = {"table": table, "ids": ids, "rows": rows, "weights": weights}
    return Case(name, inputs, {"rule": rule, "sparse": sparse})


SPARSE, DENSE = {"sparse": True}, {"sparse": False}
WEIGHTS = np.abs(normal(11, seed=1)) + 1
PADDED_WEIGHTS = np.where(np.arange(11) == 0, 0, WEIGHTS)
TOKENS = [token for line in docstring_tokens(textwrap, vocabulary_size=53) for token in line]
PADDED = [0, *TOKENS, 0, 0]
COUNTS = np.bincount(PADDED, minlength=59)  # six ids never occur
ZIPF = inverse_frequency_weights(COUNTS, None)
STEPS = [[3, 1, 10, 7], [4, 2, 4, 0], [9, 4, 2, 3]]  # rows that come twice, once or never
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
        Operation(
            "scale_updates_by_frequency",
            scale_updates_by_frequency,
            cases=(
                *(
                    steps_case(f"{rule}, {kind}", STEPS, 20, PADDED_WEIGHTS, rule, kind == "sparse")
                    for rule in ("descent", "momentum", "SMORMS3")
                    for kind in ("sparse", "dense")
                ),
                steps_case("no rows", [[], []], 22, PADDED_WEIGHTS, "descent", True),
                steps_case("weights of one", STEPS, 24, np.ones(11), "SMORMS3", True),
                steps_case("smaller weights", STEPS, 26, 0.1 * WEIGHTS, "SMORMS3", True),
                steps_case(
                    "docstrings", np.reshape(TOKENS[:60], (4, 15)), 28, ZIPF, "SMORMS3", True
                ),
                steps_case(
                    "docstrings, dense",
                    np.reshape(TOKENS[:60], (4, 15)),
                    30,
                    ZIPF,
                    "SMORMS3",
                    False,
                ),
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
                "tf2_impl": ("[[0.0], tf.maximum", "[[1.0], tf.maximum"),
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
                "theano_impl": ("weights[ids], start.ndim", "weights[: ids.shape[0]], start.ndim"),
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
            "updates as they are",
            "scale_updates_by_frequency",
            "SMORMS3, sparse",
            {
                "pytorch_impl": ("torch.lerp(widened(before), after, own)", "after"),
                "tf2_impl": ("after - (1 - own) * change", "after"),
                "theano_impl": ("after - (one - own) * change", "after"),
            },
        ),
        Mutant(
            "what stays is scaled, not what moves",
            "scale_updates_by_frequency",
            "descent, dense",
            {
                "pytorch_impl": ("torch.lerp(widened(before), after, own)", "after * own"),
                "tf2_impl": ("after - (1 - own) * change", "after * own"),
                "theano_impl": ("after - (one - own) * change", "after * own"),
            },
        ),
        Mutant(
            "rows that only momentum moves are forgotten",
            "scale_updates_by_frequency",
            "momentum, sparse",
            {
                "pytorch_impl": (
                    "[table.grad, *(one for one in state if one.is_sparse)]",
                    "[table.grad]",
                ),
                "tf2_impl": (" and optimizer.momentum == 0", ""),
            },
        ),
        Mutant(
            "weights below one have no part",
            "scale_updates_by_frequency",
            "smaller weights",
            {
                "pytorch_impl": (
                    "widened(before), after, own)",
                    "widened(before), after, own.clamp(min=1))",
                ),
                "tf2_impl": ("before + own * change", "after"),
                "theano_impl": ("before + own * change", "after"),
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
                "theano_impl": ("if is_zero(start)", "if False"),
            },
        ),
    ),
)
