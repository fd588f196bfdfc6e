"""Definition of SMORMS3: the published rule, entry by entry and step by step."""

from __future__ import annotations

import textwrap

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.fixtures import digits, docstring_tokens, normal


def smorms3(parameter, gradients=None, ids=None, rows=None, lr=0.0025, epsilon=1e-16):
    """The parameter and the state after a step for each of the gradients, (steps, *shape).

    Or for sparse ones: ids, (steps, n), and the gradient of each of these rows, (steps, n, dim).
    """
    parameter = parameter.copy()
    state = [np.ones_like(parameter), np.zeros_like(parameter), np.zeros_like(parameter)]
    steps = gradients if ids is None else [sums(*step) for step in zip(ids, rows, strict=True)]
    for step in steps:
        # A dense gradient is one row with the index (), which stands for the whole array.
        touched = step.items() if isinstance(step, dict) else [((), step)]
        for row, x in touched:
            memory, gradient, square = (one[row] for one in state)
            r = 1 / (1 + memory)
            gradient = (1 - r) * gradient + r * x
            square = (1 - r) * square + r * x**2
            ratio = gradient**2 / (square + epsilon)
            parameter[row] -= np.minimum(lr, ratio) * x / (np.sqrt(square) + epsilon)
            memory = 1 + memory * (1 - ratio)
            for one, value in zip(state, (memory, gradient, square), strict=True):
                one[row] = value
    names = ("memory", "gradient", "square")
    return {"parameter": parameter, **dict(zip(names, state, strict=True))}


def sums(ids, rows):
    """{row: sum of its gradients} of one step."""
    found = {}
    for row, x in zip(ids.tolist(), rows, strict=True):
        found[row] = found.get(row, 0) + x
    return found


def dense(*shape, seed):
    return {"parameter": normal(*shape, seed=seed), "gradients": normal(7, *shape, seed=seed + 1)}


def constant(value, steps=11):
    """The same gradient at every step."""
    return {
        "parameter": normal(3, 5, seed=3),
        "gradients": np.tile(value * normal(3, 5, seed=4), (steps, 1, 1)),
    }


def digit_gradients(steps):
    """Of the mean squared error of a linear map from digits to their labels, along the way."""
    pixels, labels = digits(13 * steps)
    weight, found = np.zeros((64, 10)), []
    for x, label in zip(pixels.reshape(steps, 13, 64), labels.reshape(steps, 13), strict=True):
        found.append(x.T @ (x @ weight - np.eye(10)[label]) / 13)
        weight = weight - 0.1 * found[-1]
    return np.array(found)


WAVE = constant(1.0)
FLIPS = {**WAVE, "gradients": WAVE["gradients"] * (-1.0) ** np.arange(11)[:, None, None]}
WITH_NAN = dense(3, 5, seed=5)
WITH_NAN["gradients"][2, 1, 3] = np.nan
PAUSES = dense(3, 5, seed=7)
PAUSES["gradients"][[0, 2, 3]] = 0
TABLE = normal(11, 3, seed=9)
# Row 10 is never touched, row 7 comes twice in one step and 2 three times.
IDS = np.array([[3, 7, 1, 7, 0], [2, 9, 2, 4, 2], [8, 3, 5, 6, 7], [1, 1, 0, 4, 3]])
LOOKUPS = {"parameter": TABLE, "ids": IDS, "rows": normal(4, 5, 3, seed=10)}
EVERY_ROW = {
    "parameter": TABLE,
    "ids": np.array([np.random.default_rng(seed).permutation(11) for seed in range(7)]),
    "rows": normal(7, 11, 3, seed=11),
}
WORDS = np.concatenate(docstring_tokens(textwrap, vocabulary_size=53))
WORD_STEPS = WORDS[: len(WORDS) // 7 * 7].reshape(7, -1)

DEFINITION = Definition(
    "smorms3",
    operations=(
        Operation(
            "SMORMS3",
            smorms3,
            cases=(
                Case("dense", dense(3, 5, seed=1)),
                Case("dense, vector", dense(7, seed=12)),
                Case("dense, scalar", dense(seed=14)),
                Case("dense, three axes", dense(2, 3, 5, seed=16)),
                Case("other rate", dense(3, 5, seed=1), {"lr": 0.3}),
                Case("rate never clamps", dense(3, 5, seed=1), {"lr": 2.0}),
                Case("rate of zero", dense(3, 5, seed=1), {"lr": 0.0}),
                Case("other epsilon", dense(3, 5, seed=1), {"lr": 0.5, "epsilon": 0.1}),
                Case("constant gradients", WAVE, {"lr": 0.1}),
                Case("signs that flip", FLIPS, {"lr": 0.1}),
                Case("gradients of zero", constant(0.0)),
                Case("zeros on the way", PAUSES, {"lr": 0.1}),
                Case("tiny gradients", constant(1e-9), {"lr": 0.1}).vanishes(
                    "value:gradient", "value:square"
                ),
                Case("huge gradients", constant(1e12), {"lr": 0.1}),
                Case("NaN in a gradient", WITH_NAN),
                Case("sparse", LOOKUPS, {"lr": 0.1}),
                Case("sparse, every row", EVERY_ROW, {"lr": 0.1}),
                Case("sparse, other epsilon", LOOKUPS, {"lr": 0.5, "epsilon": 0.1}),
                Case(
                    "sparse, vector",
                    {"parameter": TABLE[:, 0], "ids": IDS, "rows": normal(4, 5, seed=18)},
                    {"lr": 0.1},
                ),
                Case(
                    "sparse, no ids",
                    {"parameter": TABLE, "ids": np.zeros((2, 0), int), "rows": np.ones((2, 0, 3))},
                ),
                Case(
                    "sparse, NaN in a gradient",
                    {**LOOKUPS, "rows": np.where(IDS[..., None] == 9, np.nan, LOOKUPS["rows"])},
                ),
                Case(
                    "digits",
                    {"parameter": normal(64, 10, seed=19), "gradients": digit_gradients(5)},
                ),
                Case(
                    "docstrings",
                    {
                        "parameter": normal(53, 3, seed=20),
                        "ids": WORD_STEPS,
                        "rows": normal(*WORD_STEPS.shape, 3, seed=21),
                    },
                ),
            ),
            bad_inputs=(
                BadInput({"epsilon": 0.0}),
                BadInput({"epsilon": -1e-16}),
                BadInput({"epsilon": np.inf}),
                BadInput({"epsilon": np.nan}),
            ),
            differentiable=False,
        ),
    ),
    mutants=(
        Mutant(
            "r after the memory has moved",
            "SMORMS3",
            "dense",
            {
                "pytorch_impl": (
                    "r = (1 + memory).reciprocal_()",
                    "r = 1 / (1 + 1 + memory * (1 - gradient**2 / (square + epsilon)))",
                ),
                "tf2_impl": (
                    "r = 1 / (1 + memory)",
                    "r = 1 / (1 + 1 + memory * (1 - gradient**2 / (square + epsilon)))",
                ),
                "theano_impl": (
                    "r = 1 / (1 + memory)",
                    "r = 1 / (1 + 1 + memory * (1 - gradient**2 / (square + epsilon)))",
                ),
            },
        ),
        Mutant(
            "no epsilon in the ratio",
            "SMORMS3",
            "gradients of zero",
            {
                "pytorch_impl": (".div_(square + epsilon)", ".div_(square)"),
                "tf2_impl": ("gradient**2 / (square + epsilon)", "gradient**2 / square"),
                "theano_impl": ("gradient**2 / (square + epsilon)", "gradient**2 / square"),
            },
        ),
        Mutant(
            "no epsilon in the step",
            "SMORMS3",
            "other epsilon",
            {
                "pytorch_impl": ("square.sqrt().add_(epsilon)", "square.sqrt()"),
                "tf2_impl": ("(tf.sqrt(square) + epsilon)", "tf.sqrt(square)"),
                "theano_impl": ("(T.sqrt(square) + epsilon)", "T.sqrt(square)"),
            },
        ),
        Mutant(
            "epsilon inside the root",
            "SMORMS3",
            "tiny gradients",
            {
                "pytorch_impl": ("square.sqrt().add_(epsilon)", "(square + epsilon).sqrt()"),
                "tf2_impl": ("(tf.sqrt(square) + epsilon)", "tf.sqrt(square + epsilon)"),
                "theano_impl": ("(T.sqrt(square) + epsilon)", "T.sqrt(square + epsilon)"),
            },
        ),
        Mutant(
            "memory starts at 0",
            "SMORMS3",
            "dense",
            {
                "pytorch_impl": ('"memory"] = torch.ones_like', '"memory"] = torch.zeros_like'),
                "tf2_impl": ('["ones", "zeros", "zeros"]', '["zeros", "zeros", "zeros"]'),
                "theano_impl": ('"memory": np.ones_like', '"memory": np.zeros_like'),
            },
        ),
        Mutant(
            "the rate is not clamped",
            "SMORMS3",
            "dense",
            {
                "pytorch_impl": ("ratio.clamp_(max=lr)", "ratio"),
                "tf2_impl": ("tf.minimum(lr, ratio)", "ratio"),
                "theano_impl": ("T.minimum(lr, ratio)", "ratio"),
            },
        ),
        Mutant(
            "the rate is the clamp",
            "SMORMS3",
            "rate never clamps",
            {
                "pytorch_impl": ("ratio.clamp_(max=lr)", "torch.full_like(x, lr)"),
                "tf2_impl": ("tf.minimum(lr, ratio)", "lr"),
                "theano_impl": ("T.minimum(lr, ratio)", "lr"),
            },
        ),
        Mutant(
            "square of the mean, not the mean of squares",
            "SMORMS3",
            "signs that flip",
            {
                "pytorch_impl": ("square.lerp_(x * x, r)", "square.lerp_(x, r).pow_(2)"),
                "tf2_impl": ("r * x**2", "(r * x) ** 2"),
                "theano_impl": ("r * x**2", "(r * x) ** 2"),
            },
        ),
        Mutant(
            "duplicates not summed",
            "SMORMS3",
            "sparse",
            {
                "pytorch_impl": (
                    "x = x.coalesce()",
                    "x = torch.sparse_coo_tensor(x._indices(), x._values(), x.shape, is_coalesced=True)",
                ),
                "tf2_impl": (
                    "slices = sum_rows(tf.IndexedSlices(rows, gradient.indices, gradient.dense_shape))",
                    "slices = tf.IndexedSlices(rows, gradient.indices, gradient.dense_shape)",
                ),
                "theano_impl": (
                    "rows = sparse_rows(gradient)",
                    "rows = sparse_rows(gradient)\n            made = gradient.owner\n            rows = rows and rows._replace(ids=made.inputs[2], values=made.inputs[1])",
                ),
            },
        ),
        Mutant(
            "every row moves",
            "SMORMS3",
            "sparse",
            {
                "pytorch_impl": (
                    "if not x.is_sparse:",
                    "x = x.to_dense()\n        if not x.is_sparse:",
                ),
                "tf2_impl": (
                    "if isinstance(gradient",
                    "gradient = tf.convert_to_tensor(gradient)\n        if isinstance(gradient",
                ),
                "theano_impl": ("rows = sparse_rows(gradient)", "rows = None"),
            },
        ),
    ),
)
