"""Definition of the clustering loss: the entropies as they are written."""

from __future__ import annotations

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation, upstream
from shared_tests.fixtures import digits, normal


def clustering_loss(probabilities, gamma=1.0, epsilon=1e-6):
    y = probabilities + epsilon
    rows = [-sum(entry * np.log(entry) for entry in row) for row in y]
    whole = -sum(entry * np.log(entry) for entry in y.mean(axis=0))
    return np.mean(rows) - gamma * whole


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def near_zero(name, probabilities, gamma=1.0, epsilon=1e-6):
    """A case whose zeros leave no room for differences: its gradient by hand."""
    y = probabilities + epsilon
    slope = (gamma * (np.log(y.mean(axis=0)) + 1) - np.log(y) - 1) / len(y)
    return Case(
        name,
        {"probabilities": probabilities},
        {"gamma": gamma, "epsilon": epsilon},
        gradients={"probabilities": slope * upstream(())},
    )


ROWS = {"probabilities": softmax(normal(7, 5, seed=1))}
PIXELS, _ = digits(13)
SCORES = (PIXELS - PIXELS.mean(axis=0)) @ normal(64, 5, seed=2) / 3
WITH_NAN = np.where(np.arange(35).reshape(7, 5) == 8, np.nan, ROWS["probabilities"])

CASES = (
    Case("rows", ROWS),
    Case("gamma zero", ROWS, {"gamma": 0.0}),
    Case("gamma", ROWS, {"gamma": 2.5}),
    Case("epsilon", ROWS, {"epsilon": 0.125}),
    Case("digits", {"probabilities": softmax(SCORES)}, {"gamma": 1.5}),
    Case("uniform", {"probabilities": np.full((7, 5), 0.2)}, {"gamma": 0.5}),
    # With gamma 1 both entropies are the same: what is left is rounding.
    near_zero("one cluster takes all", np.eye(5)[[2] * 7]).cancels("*"),
    near_zero("evenly spread", np.eye(5)[[3, 0, 4, 1, 2]]),
    near_zero("unevenly spread", np.eye(5)[[3, 0, 3, 1, 3, 0, 4]], gamma=0.5, epsilon=1e-3),
    Case("one cluster", {"probabilities": np.ones((7, 1))}).cancels("*"),
    Case("batch of one", {"probabilities": ROWS["probabilities"][:1]}, {"gamma": 0.7}),
    Case("not normalized", {"probabilities": ROWS["probabilities"] * 0.9}),
    Case(
        "one above by rounding", {"probabilities": ROWS["probabilities"] * 0 + 1 + 2.0**-50}
    ).cancels("*"),
    Case("nan", {"probabilities": WITH_NAN}, differentiate=False),
)
BAD_OPTIONS = (
    BadInput({"gamma": -0.5}),
    BadInput({"gamma": float("nan")}),
    BadInput({"gamma": float("inf")}),
    BadInput({"epsilon": 0.0}),
    BadInput({"epsilon": -1e-6}),
    BadInput({"epsilon": float("inf")}),
)

DEFINITION = Definition(
    "clustering_loss",
    operations=(
        Operation(
            "clustering_loss",
            clustering_loss,
            CASES,
            bad_inputs=(
                *BAD_OPTIONS,
                BadInput({"probabilities": np.ones((7, 5), int)}, TypeError),
                BadInput({"probabilities": np.ones(5)}),
                BadInput({"probabilities": np.ones((2, 7, 5))}),
                BadInput({"probabilities": np.ones((0, 5))}),
                BadInput({"probabilities": ROWS["probabilities"] - 0.2}),
                BadInput({"probabilities": ROWS["probabilities"] * 3}),
                BadInput({"probabilities": np.array([[0.5, np.inf]])}),
                BadInput({"probabilities": np.array([[np.nan, 1.0], [2.0, 0.0]])}),
            ),
        ),
        Operation(
            "ClusteringLoss",
            clustering_loss,
            CASES,
            bad_inputs=(*BAD_OPTIONS, BadInput({"probabilities": ROWS["probabilities"] - 0.2})),
        ),
    ),
    mutants=(
        Mutant(
            "the wrong sign",
            "clustering_loss",
            "gamma",
            {
                "pytorch_impl": ("- gamma * _entropy", "+ gamma * _entropy"),
                "tf2_impl": ("- gamma * _entropy", "+ gamma * _entropy"),
                "theano_impl": ("- weight * _entropy", "+ weight * _entropy"),
            },
        ),
        Mutant(
            "mean over the clusters",
            "clustering_loss",
            "rows",
            {
                "pytorch_impl": ("_entropy(shifted.mean(0))", "_entropy(shifted.mean(1))"),
                "tf2_impl": ("tf.reduce_mean(shifted, axis=0)", "tf.reduce_mean(shifted, axis=1)"),
                "theano_impl": ("T.mean(shifted, axis=0)", "T.mean(shifted, axis=1)"),
            },
        ),
        Mutant(
            "entropies of the rows summed",
            "clustering_loss",
            "rows",
            {
                "pytorch_impl": ("_entropy(shifted).mean()", "_entropy(shifted).sum()"),
                "tf2_impl": (
                    "tf.reduce_mean(_entropy(shifted))",
                    "tf.reduce_sum(_entropy(shifted))",
                ),
                "theano_impl": ("T.mean(_entropy(shifted))", "T.sum(_entropy(shifted))"),
            },
        ),
        Mutant(
            "epsilon in the logarithm alone",
            "clustering_loss",
            "epsilon",
            {
                "pytorch_impl": (
                    "torch.special.entr(y).sum(-1)",
                    "-((y - 0.125) * y.log()).sum(-1)",
                ),
                "tf2_impl": ("y * tf.math.log(y)", "(y - 0.125) * tf.math.log(y)"),
                "theano_impl": ("y * T.log(y)", "(y - np.asarray(0.125, y.dtype)) * T.log(y)"),
            },
        ),
        Mutant(
            "a logarithm of base 2",
            "ClusteringLoss",
            "evenly spread",
            {
                "pytorch_impl": ("torch.special.entr(y)", "-y * y.log2()"),
                "tf2_impl": ("tf.math.log(y)", "tf.experimental.numpy.log2(y)"),
                "theano_impl": ("T.log(y)", "T.log2(y)"),
            },
        ),
    ),
)
