"""Definition of the distances: sums over features, without a matrix product."""

from __future__ import annotations

import math

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.fixtures import digits, normal


def l2_normalize(x, epsilon=1e-12):
    rows = x.reshape(-1, x.shape[-1]) if x.size else []
    norm = np.array([math.hypot(*row) for row in rows]).reshape(*x.shape[:-1], 1)
    return x / np.maximum(norm, epsilon)


def cosine_similarity(x, y):
    unit_x, unit_y = l2_normalize(x), l2_normalize(y)
    return (unit_x[:, None] * unit_y).sum(axis=-1)


def squared_distances(x, y):
    return ((x[:, None] - y) ** 2).sum(axis=-1)


def pairwise_distances(x, y, distance="cosine"):
    if distance == "cosine":
        return 1 - cosine_similarity(x, y)
    return squared_distances(x, y) ** (0.5 if distance == "euclidean" else 1)


def paired_distances(x, y, distance="cosine"):
    return pairwise_distances(x, y, distance).diagonal()


X, Y = normal(5, 7, seed=1), normal(3, 7, seed=2)
PIXELS, _ = digits(11)
LARGE = np.array([1e20, 1e200, 1e-200, 1e30, 1.0])[:, None]
INTEGERS = np.arange(6).reshape(2, 3)
WITH_NAN = np.where(np.arange(35).reshape(5, 7) == 9, np.nan, X)
WITH_ZERO = np.concatenate([X, np.zeros((1, 7))])
PAIRS = {"x": X, "y": Y}
BAD_PAIRS = (
    BadInput({"x": INTEGERS}, TypeError),
    BadInput({"x": X[0]}),
    BadInput({"y": Y[:, :5]}),
    BadInput({"y": Y.astype("float16")}, TypeError),
    BadInput({"y": Y[0]}),
)
NEAR = 1e4 + np.array([[0.0, 0.0], [0.008, 0.0], [0.0, 3.0]])

DEFINITION = Definition(
    "distances",
    operations=(
        Operation(
            "l2_normalize",
            l2_normalize,
            cases=(
                Case("rows", {"x": X}),
                Case("three axes", {"x": normal(2, 3, 5, seed=3)}),
                Case("one vector", {"x": X[0]}),
                Case("digits", {"x": PIXELS}),
                Case(
                    "large epsilon", {"x": X * np.geomspace(0.01, 1, 5)[:, None]}, {"epsilon": 1.0}
                ),
                Case("norms below 1e-6", {"x": X * 2e-7}),
                Case("large entries", {"x": X * LARGE}, differentiate=False),
                Case(
                    "large negative entries",
                    {"x": np.where(X > 0, X, X * LARGE)},
                    differentiate=False,
                ),
                Case("zero vector", {"x": np.zeros((2, 3))}, flat={"x": ...}),
                Case("nan", {"x": WITH_NAN}, differentiate=False),
            ),
            bad_inputs=(
                BadInput({"x": INTEGERS}, TypeError),
                BadInput({"x": np.array(1.0)}),
                BadInput({"epsilon": 0.0}),
                BadInput({"epsilon": float("nan")}),
            ),
            numpy=True,
        ),
        Operation(
            "cosine_similarity",
            cosine_similarity,
            cases=(
                Case("all pairs", PAIRS),
                Case("one feature", {"x": X[:, :1], "y": Y[:, :1]}),
                Case("digits", {"x": PIXELS[:5], "y": PIXELS[5:]}),
                Case("zero row", {"x": WITH_ZERO, "y": Y}, flat={"x": -1}),
                Case("nan", {"x": WITH_NAN, "y": Y}, differentiate=False),
            ),
            bad_inputs=BAD_PAIRS,
            numpy=True,
        ),
        Operation(
            "squared_distances",
            squared_distances,
            cases=(
                Case("all pairs", PAIRS),
                Case("offset", {"x": NEAR, "y": NEAR[::-1] + np.array([0.0, 0.016])}),
                Case("same rows", {"x": X, "y": X[::-1].copy()}),
                Case("digits", {"x": PIXELS[:5], "y": PIXELS[5:]}),
                Case("nan", {"x": WITH_NAN, "y": Y}, differentiate=False),
            ),
            bad_inputs=BAD_PAIRS,
            numpy=True,
        ),
        Operation(
            "pairwise_distances",
            pairwise_distances,
            cases=(
                Case("cosine", PAIRS),
                Case("sqeuclidean", PAIRS, {"distance": "sqeuclidean"}),
                Case("euclidean", PAIRS, {"distance": "euclidean"}),
                Case(
                    "euclidean, equal rows",
                    {"x": np.ones((2, 3)), "y": np.ones((1, 3))},
                    {"distance": "euclidean"},
                    flat={"x": ..., "y": ...},
                ),
            ),
            bad_inputs=(*BAD_PAIRS, BadInput({"distance": "manhattan"})),
            numpy=True,
        ),
        Operation(
            "paired_distances",
            paired_distances,
            cases=(
                Case("cosine", {"x": X[:3], "y": Y}),
                Case("sqeuclidean", {"x": X[:3], "y": Y}, {"distance": "sqeuclidean"}),
                Case("euclidean", {"x": X[:3], "y": Y}, {"distance": "euclidean"}),
                Case(
                    "euclidean, equal rows",
                    {"x": Y, "y": Y},
                    {"distance": "euclidean"},
                    flat={"x": ..., "y": ...},
                ),
            ),
            bad_inputs=(
                BadInput({"x": INTEGERS}, TypeError),
                BadInput({"y": X[:2]}),
                BadInput({"distance": "manhattan"}),
            ),
        ),
    ),
    mutants=(
        Mutant(
            "epsilon on the square",
            "l2_normalize",
            "norms below 1e-6",
            {
                "pytorch_impl": ("epsilon / scale", "epsilon**0.5 / scale"),
                "tf2_impl": ("epsilon / scale", "epsilon**0.5 / scale"),
                "theano_impl": (
                    "np.asarray(epsilon, x.dtype)",
                    "np.asarray(epsilon**0.5, x.dtype)",
                ),
                "numpy_infer": ("x.dtype.type(epsilon)", "x.dtype.type(epsilon**0.5)"),
            },
        ),
        Mutant(
            "squares overflow",
            "l2_normalize",
            "large entries",
            {
                "pytorch_impl": ("x = x / scale", "scale = torch.ones_like(scale)"),
                "tf2_impl": ("x = x / scale", "scale = tf.ones_like(scale)"),
                "theano_impl": ("x = x / scale", "scale = T.ones_like(scale)"),
                "numpy_infer": ("x = x / scale", "scale = np.ones_like(scale)"),
            },
        ),
        Mutant(
            "gradient of a zero vector",
            "l2_normalize",
            "zero vector",
            {
                "pytorch_impl": (".masked_fill(zero, math.inf)", ""),
                "tf2_impl": (
                    "tf.where(norm == 0, tf.constant(math.inf, x.dtype), floored)",
                    "floored",
                ),
                "theano_impl": (
                    "T.switch(T.eq(norm, 0), np.asarray(math.inf, x.dtype), floored)",
                    "floored",
                ),
            },
        ),
        Mutant(
            "one side not normalized",
            "cosine_similarity",
            "zero row",
            {
                "pytorch_impl": ("(unit_x, unit_y.T)", "(x, unit_y.T)"),
                "tf2_impl": (
                    "tf.matmul(unit_x, unit_y, transpose_b=True)",
                    "tf.matmul(x, unit_y, transpose_b=True)",
                ),
                "theano_impl": ("T.dot(unit_x, unit_y.T)", "T.dot(x, unit_y.T)"),
                "numpy_infer": ("unit_x @ unit_y.T", "x @ unit_y.T"),
            },
        ),
        Mutant(
            "not centered",
            "squared_distances",
            "offset",
            {
                "pytorch_impl": ("center = _center(x, y)", "center = torch.zeros_like(x[0])"),
                "tf2_impl": ("center = _center(x, y)", "center = tf.zeros_like(x[0])"),
                "theano_impl": ("center = _center(x, y)", "center = T.zeros_like(x[0])"),
                "numpy_infer": ("center = _center(x, y)", "center = np.zeros_like(x[0])"),
            },
        ),
        Mutant(
            "one NaN spoils all pairs",
            "squared_distances",
            "nan",
            {
                "pytorch_impl": (
                    "return center.masked_fill(~center.isfinite(), 0)",
                    "return center",
                ),
                "tf2_impl": (
                    "return tf.where(tf.math.is_finite(center), center, tf.zeros_like(center))",
                    "return center",
                ),
                "theano_impl": (
                    "return T.switch(T.isnan(center) | T.isinf(center), T.zeros_like(center), center)",
                    "return center",
                ),
                "numpy_infer": ("return np.where(np.isfinite(center), center, 0)", "return center"),
            },
        ),
        Mutant(
            "gradient of a root at zero",
            "paired_distances",
            "euclidean, equal rows",
            {
                "pytorch_impl": (
                    "(square + zero).sqrt() * (1 - zero)",
                    "square.sqrt()",
                ),
                "tf2_impl": (
                    "return tf.where(zero, tf.zeros_like(square), root)",
                    "return tf.sqrt(square)",
                ),
                "theano_impl": (
                    "return T.switch(zero, T.zeros_like(square), root)",
                    "return T.sqrt(square)",
                ),
            },
        ),
    ),
)
