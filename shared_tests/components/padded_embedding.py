"""Definition of the padded embedding: the rows of the real tokens, one after the other."""

from __future__ import annotations

import textwrap

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.components.distances import l2_normalize
from shared_tests.fixtures import docstring_tokens, normal


def pad_token_lists(token_lists, padding_id=0):
    longest = max(len(tokens) for tokens in token_lists)
    rows = [[*tokens, *[padding_id] * (longest - len(tokens))] for tokens in token_lists]
    return np.array(rows, np.int64).reshape(len(rows), longest)


def padded_embedding(weights, ids, vocabulary_size, dim, reduce="mean", unit_norm=False):
    vectors = np.zeros((len(ids), dim))
    for row, tokens in enumerate(ids):
        real = [token for token in tokens if token != 0]
        for token in real:
            vectors[row] += weights["table"][token]
        if reduce == "mean" and real:
            vectors[row] /= len(real)
    return l2_normalize(vectors) if unit_norm else vectors


TABLE = normal(11, 5, seed=1)
TABLE[0] = 0
SIZES = {"vocabulary_size": 11, "dim": 5}
LISTS = [[3, 1, 10], [7], [2, 2, 9, 4, 1], [10, 6]]
RAGGED = {"ids": pad_token_lists(LISTS)}
WITH_EMPTY = {"ids": pad_token_lists([[], [5, 5], []])}
INNER_PADDING = {"ids": np.array([[0, 4, 0, 2], [0, 0, 3, 0]])}
DOCSTRINGS = docstring_tokens(textwrap, vocabulary_size=53)
DOCSTRING_TABLE = normal(53, 3, seed=2)
DOCSTRING_TABLE[0] = 0


def case(name, inputs, **options):
    # The padding's row gets no gradient, though differences see it when a mean counts it.
    return Case(name, inputs, {**SIZES, **options}, {"table": TABLE}, flat={"table": 0})


DEFINITION = Definition(
    "padded_embedding",
    operations=(
        Operation(
            "pad_token_lists",
            pad_token_lists,
            cases=(
                Case("ragged", {"token_lists": LISTS}),
                Case("other padding", {"token_lists": LISTS}, {"padding_id": 12}),
                Case("one list", {"token_lists": [[3]]}),
                Case("an empty list", {"token_lists": [[], [1, 2]]}),
                Case("only empty lists", {"token_lists": [[], []]}),
                Case("docstrings", {"token_lists": DOCSTRINGS}),
            ),
            bad_inputs=(
                BadInput({"token_lists": []}),
                BadInput({"token_lists": [[1, -2]]}),
                BadInput({"token_lists": [[2**63]]}),
                BadInput({"token_lists": [[1.5]]}, TypeError),
                BadInput({"padding_id": -1}),
                BadInput({"padding_id": 1.5}, TypeError),
            ),
            differentiable=False,
            numpy=True,
        ),
        Operation(
            "PaddedEmbedding",
            padded_embedding,
            cases=(
                case("mean", RAGGED),
                case("sum", RAGGED, reduce="sum"),
                case("mean, unit norm", RAGGED, unit_norm=True),
                case("sum, unit norm", RAGGED, reduce="sum", unit_norm=True),
                case("rows of padding", WITH_EMPTY),
                case("rows of padding, unit norm", WITH_EMPTY, unit_norm=True),
                case("no tokens at all", {"ids": np.zeros((3, 0), int)}),
                case("padding inside", INNER_PADDING),
                case("empty batch", {"ids": np.zeros((0, 3), int)}),
                Case(
                    "docstrings",
                    {"ids": pad_token_lists(DOCSTRINGS)},
                    {"vocabulary_size": 53, "dim": 3},
                    {"table": DOCSTRING_TABLE},
                    flat={"table": 0},
                ),
            ),
            bad_inputs=(
                BadInput({"ids": np.ones((2, 3))}, TypeError),
                BadInput({"ids": np.array([1, 2])}),
                BadInput({"ids": np.array([[1, 11]])}),
                BadInput({"ids": np.array([[1, -1]])}),
                BadInput({"reduce": "max"}),
                BadInput({"vocabulary_size": 0}, numpy=False),
                BadInput({"vocabulary_size": 2.0}, TypeError, numpy=False),
                BadInput({"dim": 0}, numpy=False),
                BadInput({"dim": 2.0}, TypeError, numpy=False),
            ),
            numpy=True,
        ),
    ),
    mutants=(
        Mutant(
            "mean counts the padding",
            "PaddedEmbedding",
            "mean",
            {
                "pytorch_impl": (
                    "self.sparse, _plain_bags)",
                    "self.sparse, _plain_bags) * (ids != 0).sum(1, True) / ids.shape[1]",
                ),
                "tf2_impl": (
                    "tf.math.count_nonzero(ids, axis=1, keepdims=True, dtype=vectors.dtype)",
                    "tf.cast(tf.shape(ids)[1], vectors.dtype)",
                ),
                "theano_impl": ("T.sum(T.neq(ids, 0), axis=1, keepdims=True)", "ids.shape[1]"),
                "numpy_infer": (
                    "np.maximum(count, 1)[:, None].astype(vectors.dtype)",
                    "vectors.dtype.type(ids.shape[1])",
                ),
            },
        ),
        Mutant(
            "the padding's row learns",
            "PaddedEmbedding",
            "padding inside",
            {
                "tf2_impl": ("tf.where(ids != 0)", "tf.where(ids >= 0)"),
                "theano_impl": ("T.neq(ids, 0).nonzero()", "T.ge(ids, 0).nonzero()"),
            },
        ),
        Mutant(
            "the padding's row learns by embedding_bag",
            "PaddedEmbedding",
            "padding inside",
            {"pytorch_impl": ("real = ids != 0\n", "real = ids >= 0\n")},
            file="fast.padded_embedding",
        ),
        Mutant(
            "division by no tokens",
            "PaddedEmbedding",
            "rows of padding",
            {
                "tf2_impl": ("tf.maximum(count, 1)", "count"),
                "theano_impl": ("T.maximum(count, 1)", "count"),
                "numpy_infer": ("np.maximum(count, 1)[:, None]", "count[:, None]"),
            },
        ),
        Mutant(
            "unit norm before the sum",
            "PaddedEmbedding",
            "sum, unit norm",
            {
                "pytorch_impl": (
                    "fast.bags(self.table, ids",
                    "fast.bags(l2_normalize(self.table), ids",
                ),
                "tf2_impl": (
                    "tf.gather(self.table, tokens)",
                    "tf.gather(l2_normalize(self.table), tokens)",
                ),
                "theano_impl": ("self.table[ids", "l2_normalize(self.table)[ids"),
                "numpy_infer": ("self.table[ids[real]]", "l2_normalize(self.table)[ids[real]]"),
            },
        ),
        Mutant(
            "unit norm forgotten",
            "PaddedEmbedding",
            "mean, unit norm",
            {
                "pytorch_impl": (
                    "l2_normalize(vectors).to(vectors.dtype) if self.unit_norm else vectors",
                    "vectors",
                ),
                "tf2_impl": ("l2_normalize(vectors) if self.unit_norm else vectors", "vectors"),
                "theano_impl": ("l2_normalize(vectors) if unit_norm else vectors", "vectors"),
                "numpy_infer": ("l2_normalize(vectors) if self.unit_norm else vectors", "vectors"),
            },
        ),
    ),
)
