"""Definition of the sparse projection: the dense product, whatever form its input comes in."""

from __future__ import annotations

import textwrap

import numpy as np

from fourfold.definition import (
    BadInput,
    Case,
    Definition,
    Mutant,
    Operation,
    SparseInput,
    upstream,
)
from shared_tests.fixtures import digits, docstring_tokens, normal

LAYOUTS = ("csr", "csc", "coo")


def sparse_projection(weights, x, in_features, out_features, bias=True):
    y = np.zeros((len(x), out_features))
    for row, column in np.argwhere(x):
        y[row] += x[row, column] * weights["weight"][column]
    return y + weights["bias"] if bias else y


def sparse_normal(rows, columns, seed):
    """About one entry in three is not zero; the first row, one inside and one column are empty."""
    x = normal(rows, columns, seed=seed)
    x[np.random.default_rng(seed).random(x.shape) > 1 / 3] = 0
    x[[0, rows // 2]] = 0
    x[:, 1] = 0
    return x


def bags_of_words(module, vocabulary_size):
    """How often each word stands in each docstring: (docstrings, vocabulary_size)."""
    tokens = docstring_tokens(module, vocabulary_size)
    return np.array([np.bincount(ids, minlength=vocabulary_size) for ids in tokens]) / 1.0


# A (5, 7) matrix as its entries: out of order, and two places are stored twice.
ROWS = np.array([3, 0, 0, 2, 0, 3, 2])
COLUMNS = np.array([2, 4, 1, 6, 1, 2, 0])
VALUES = np.array([3.0, 4.0, 1.0, -2.0, 2.0, 0.5, 7.0])
REPEATED = np.zeros((5, 7))
np.add.at(REPEATED, (ROWS, COLUMNS), VALUES)


def repeated(layout):
    """The data, indices and indptr of these entries, csr or csc."""
    lines, others = (ROWS, COLUMNS) if layout == "csr" else (COLUMNS, ROWS)
    order = np.argsort(lines, kind="stable")
    counts = np.bincount(lines, minlength=REPEATED.shape[0 if layout == "csr" else 1])
    return VALUES[order], others[order], np.concatenate([[0], np.cumsum(counts)])


X = sparse_normal(11, 7, seed=1)
WORDS = bags_of_words(textwrap, 53)
PIXELS, _ = digits(13)


def of_the_product(case):
    """The gradients of Σ G ⊙ (x·W + b): for many features, which differences take one by one."""
    x, weight = case.inputs["x"], case.weights["weight"]
    dense = x.array if isinstance(x, SparseInput) else x
    slopes = upstream((len(dense), case.options["out_features"]))
    gradients = {"weight": dense.T @ slopes, "bias": slopes.sum(axis=0)}
    return gradients if dense is not x else {"x": slopes @ weight.T, **gradients}


def case(name, x, out_features=5, differentiate=True, gradients=None, **options):
    in_features = x.shape[1] if isinstance(x, np.ndarray) else x.array.shape[1]
    weights = {"weight": normal(in_features, out_features, seed=2)}
    if options.get("bias", True):
        weights["bias"] = normal(out_features, seed=3)
    sizes = {"in_features": in_features, "out_features": out_features}
    options = {**sizes, **options}
    return Case(name, {"x": x}, options, weights, differentiate, gradients=gradients)


def each(name, x, **options):
    """A case for the dense array and for every sparse form of it."""
    sparse = [case(f"{name}, {form}", SparseInput(x, form), **options) for form in LAYOUTS]
    return (case(f"{name}, dense", x, **options), *sparse)


DEFINITION = Definition(
    "sparse_projection",
    operations=(
        Operation(
            "SparseProjection",
            sparse_projection,
            cases=(
                *each("empty rows", X),
                *each("no bias", X, bias=False),
                *each("all zero", np.zeros((3, 7))),
                *each("one row", X[1:2]),
                *each("empty batch", X[:0]),
                *each("docstrings", WORDS, out_features=3, gradients=of_the_product),
                *each("digits", PIXELS, out_features=2, gradients=of_the_product),
                case("full", SparseInput(normal(5, 7, seed=4))),
                case("one feature out", SparseInput(X), out_features=1),
                # Where nothing is stored, a NaN in the weight is not met.
                case("nan", SparseInput(np.where(X > 1, np.nan, X)), differentiate=False),
            ),
            bad_inputs=(
                BadInput({"x": np.ones((3, 7), int)}, TypeError),
                BadInput({"x": X.astype("float32")}, TypeError),
                BadInput({"x": SparseInput(X.astype("float32"))}, TypeError),
                BadInput({"x": SparseInput(X.astype("float32"), "csc")}, TypeError),
                BadInput({"x": X[0]}),
                BadInput({"x": X[:, :5]}),
                BadInput({"x": SparseInput(X[:, :5])}),
                BadInput({"x": SparseInput(X[:, :5], "csc")}),
                BadInput({"x": SparseInput(X[:, :5], "coo")}),
                BadInput({"in_features": 0}, numpy=False),
                BadInput({"in_features": 2.0}, TypeError, numpy=False),
                BadInput({"out_features": 0}, numpy=False),
                BadInput({"out_features": 2.0}, TypeError, numpy=False),
            ),
            numpy=True,
        ),
    ),
    mutants=(
        Mutant(
            "no bias",
            "SparseProjection",
            "empty rows, csr",
            {
                "pytorch_impl": ("y if self.bias is None else y + self.bias.to(y.dtype)", "y"),
                "tf2_impl": ("y if self.bias is None else y + tf.cast(self.bias, x.dtype)", "y"),
                "theano_impl": ("y if self.bias is None else y + self.bias", "y"),
                "numpy_infer": ("y if self.bias is None else y + self.bias", "y"),
            },
        ),
        Mutant(
            "counts taken for presence",
            "SparseProjection",
            "docstrings, csr",
            {
                "pytorch_impl": ("fast.product(x, self", "fast.product(x.sgn(), self"),
                "tf2_impl": (
                    "tf.stop_gradient(widened(x.values))",
                    "tf.sign(widened(x.values))",
                ),
                "theano_impl": (
                    "structured_dot(x, weight)",
                    "structured_dot(sparse.sgn(x), weight)",
                ),
                "numpy_infer": (
                    "fast.product(by_rows(x), self",
                    "fast.product(SparseMatrix(np.sign(x.data), x.indices, x.indptr, x.shape), self",
                ),
            },
        ),
        Mutant(
            "features in the other order",
            "SparseProjection",
            "digits, csc",
            {
                "pytorch_impl": (
                    "fast.product(x, self.weight)",
                    "fast.product(x, self.weight.flip(0))",
                ),
                "tf2_impl": ("dense_matmul(wide, weight)", "dense_matmul(wide, weight[::-1])"),
                "theano_impl": ("structured_dot(x, weight)", "structured_dot(x, weight[::-1])"),
                "numpy_infer": (
                    "fast.product(by_rows(x), self.weight)",
                    "fast.product(by_rows(x), self.weight[::-1])",
                ),
            },
        ),
        Mutant(
            "no gradient for a dense input either",
            "SparseProjection",
            "digits, dense",
            {
                "pytorch_impl": ("y = x @ self.weight", "y = x.detach() @ self.weight"),
                "tf2_impl": ("tf.matmul(x,", "tf.matmul(tf.stop_gradient(x),"),
                "theano_impl": (
                    "linear(x)",
                    "linear(sparse.basic.theano.gradient.disconnected_grad(x))",
                ),
            },
        ),
        Mutant(
            "no gradient for the weight of a sparse input",
            "SparseProjection",
            "empty rows, csr",
            {
                "pytorch_impl": (
                    "fast.product(x, self.weight)",
                    "fast.product(x, self.weight.detach())",
                ),
                "tf2_impl": (
                    "dense_matmul(wide, weight)",
                    "dense_matmul(wide, tf.stop_gradient(weight))",
                ),
            },
        ),
        Mutant(
            "an empty row takes the next one's first entry",
            "SparseProjection",
            "empty rows, csr",
            {"numpy_infer": ("filled = starts < x.indptr", "filled = starts <= x.indptr")},
            file="fast.sparse_projection",
        ),
    ),
)
