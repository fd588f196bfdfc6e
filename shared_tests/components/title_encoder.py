"""Definition of the title encoder: word by word, and one title left out after the other."""

from __future__ import annotations

import textwrap

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.components.distances import l2_normalize
from shared_tests.components.padded_embedding import pad_token_lists
from shared_tests.fixtures import docstring_tokens, normal


def title_encoder(weights, ids, vocabulary_size, dim):
    vectors = np.zeros((len(ids), dim))
    for row, words in enumerate(ids):
        for word in words:
            if word != 0:
                vectors[row] += weights["table"][word]
    return l2_normalize(vectors)


def bag_of_titles(vectors):
    bags = np.zeros((len(vectors), vectors.shape[2]))
    for bag, titles in zip(bags, vectors, strict=True):
        real = [title for title in titles if title.any()]
        if real:
            bag += sum(real) / len(real)
    return bags


def leave_one_out_loss(vectors, negatives, margin=0.2):
    hinges = []
    for titles, others in zip(vectors, negatives, strict=True):
        real = [title for title in titles if title.any()]
        for place, title in enumerate(real):
            rest = [*real[:place], *real[place + 1 :]]
            for other in others:
                if rest and other.any():
                    bag = sum(rest) / len(rest)
                    hinges.append(np.maximum(0, margin - cosine(bag, title) + cosine(bag, other)))
    return np.mean(hinges) if hinges else np.array(0.0)


def cosine(x, y):
    return (l2_normalize(x[None]) * l2_normalize(y[None])).sum()


TABLE = normal(11, 5, seed=1)
TABLE[0] = 0
SIZES = {"vocabulary_size": 11, "dim": 5}
RAGGED = {"ids": pad_token_lists([[3, 1, 10], [7], [2, 2, 9, 4, 1], [10, 6]])}
CANCELLING = np.vstack([TABLE[:9], -TABLE[3], TABLE[10]])
DOCSTRINGS = docstring_tokens(textwrap, vocabulary_size=53)
DOCSTRING_TABLE = normal(53, 3, seed=2)
DOCSTRING_TABLE[0] = 0


def case(name, inputs, table=TABLE, **sizes):
    # The padding's row gets no gradient.
    return Case(name, inputs, {**SIZES, **sizes}, {"table": table}, flat={"table": 0})


def units(*shape, seed):
    return l2_normalize(normal(*shape, seed=seed).reshape(-1, shape[-1])).reshape(shape)


def without(vectors, *places):
    """The vectors with zeros at these places of (group, title)."""
    vectors = vectors.copy()
    for place in places:
        vectors[place] = 0
    return vectors


VECTORS, NEGATIVES = units(2, 5, 3, seed=3), units(2, 1, 3, seed=4)
PAIR = {"vectors": VECTORS, "negatives": NEGATIVES}
PADDED = without(VECTORS, (0, 4), (1, 0), (1, 3))
# The docstrings' vectors, by twos and threes: real titles, and one group that is shorter.
ENCODED = title_encoder({"table": DOCSTRING_TABLE}, pad_token_lists(DOCSTRINGS[:5]), 53, 3)
REAL = np.concatenate([ENCODED, np.zeros((1, 3))]).reshape(2, 3, 3)
AXES = np.eye(3)[[[0, 0, 0]]]


def loss(name, vectors, negatives, *, margin=0.2, differentiate=True, **conventions):
    inputs = {"vectors": vectors, "negatives": negatives}
    options = {"margin": margin}
    return Case(name, inputs, options, differentiate=differentiate, **conventions)


def kept_flat(vectors, negatives):
    """Padding gets no gradient, though moving it would make a title of it."""
    return {
        "vectors": ~vectors.any(axis=-1),
        "negatives": ~negatives.any(axis=-1),
    }


def padding(name, vectors, negatives, **options):
    return loss(name, vectors, negatives, flat=kept_flat(vectors, negatives), **options)


def bag_gradient(vectors):
    """Of the mean, by hand: padding gets none, though moving it would make a title of it."""
    from fourfold.definition import upstream

    factor = upstream((len(vectors), vectors.shape[2]))[:, None]
    count = np.maximum(vectors.any(axis=-1).sum(axis=1), 1)[:, None, None]
    return factor / count * vectors.any(axis=-1, keepdims=True)


def bag(name, vectors, **options):
    return Case(name, {"vectors": vectors}, gradients={"vectors": bag_gradient(vectors)}, **options)


DEFINITION = Definition(
    "title_encoder",
    operations=(
        Operation(
            "bag_of_titles",
            bag_of_titles,
            cases=(
                bag("full bags", VECTORS),
                bag("padded", PADDED),
                bag("a bag of nothing", without(VECTORS, 0)),
                bag("one title", VECTORS[:, :1]),
                bag("empty batch", VECTORS[:0]),
                bag("docstrings", REAL),
                Case(
                    "nan",
                    {"vectors": np.where(np.arange(5)[:, None] == 2, np.nan, VECTORS)},
                    differentiate=False,
                ),
            ),
            bad_inputs=(
                BadInput({"vectors": np.ones((2, 5, 3), int)}, TypeError),
                BadInput({"vectors": VECTORS[0]}),
            ),
            numpy=True,
        ),
        Operation(
            "leave_one_out_loss",
            leave_one_out_loss,
            cases=(
                Case("leave one out", PAIR),
                loss("wide margin", VECTORS, NEGATIVES, margin=1.5),
                loss("several negatives", VECTORS, units(2, 3, 3, seed=5), margin=0.7),
                padding("padded", PADDED, without(units(2, 3, 3, seed=6), (0, 1))),
                padding("one title", without(VECTORS, (0, slice(1, 5))), NEGATIVES, margin=1.5),
                padding("none to leave out", VECTORS[:, :1], NEGATIVES),
                padding("no negatives", VECTORS, 0 * NEGATIVES),
                padding("docstrings", REAL, ENCODED[[[4], [0]]], margin=1.5),
                loss(
                    "margin met exactly",
                    AXES,
                    np.eye(3)[[[1]]],
                    margin=1.0,
                    flat={"vectors": ..., "negatives": ...},
                ),
                loss(
                    "titles that cancel",
                    np.stack([VECTORS[0, [0, 1, 2]] * [[1], [-1], [1]]])[:, [0, 0, 2]]
                    * [[[1], [-1], [1]]],
                    NEGATIVES[:1],
                    differentiate=False,
                ),
                loss(
                    "nan",
                    np.where(np.arange(5)[:, None] == 2, np.nan, VECTORS),
                    NEGATIVES,
                    differentiate=False,
                ),
            ),
            bad_inputs=(
                BadInput({"vectors": np.ones((2, 5, 3), int)}, TypeError),
                BadInput({"vectors": VECTORS[0]}),
                BadInput({"vectors": VECTORS[:0]}),
                BadInput({"negatives": np.ones((2, 1, 3), int)}, TypeError),
                BadInput({"negatives": NEGATIVES.astype("float32")}, TypeError),
                BadInput({"negatives": NEGATIVES[:, 0]}),
                BadInput({"negatives": NEGATIVES[:1]}),
                BadInput({"negatives": NEGATIVES[:, :, :2]}),
                BadInput({"margin": -0.1}),
                BadInput({"margin": float("nan")}),
            ),
        ),
        Operation(
            "TitleEncoder",
            title_encoder,
            cases=(
                case("ragged", RAGGED),
                case("titles of padding", {"ids": pad_token_lists([[], [5, 5], []])}),
                case("empty batch", {"ids": np.zeros((0, 3), int)}),
                case("padding inside", {"ids": np.array([[0, 4, 0, 2], [0, 0, 3, 0]])}),
                case("no words at all", {"ids": np.zeros((3, 0), int)}),
                case(
                    "docstrings",
                    {"ids": pad_token_lists(DOCSTRINGS)},
                    DOCSTRING_TABLE,
                    vocabulary_size=53,
                    dim=3,
                ),
            ),
            bad_inputs=(
                BadInput({"ids": np.ones((2, 3))}, TypeError),
                BadInput({"ids": np.array([1, 2])}),
                BadInput({"ids": np.array([[1, 11]])}),
                BadInput({"ids": np.array([[1, -1]])}),
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
            "padding counted in the mean",
            "bag_of_titles",
            "padded",
            {
                "pytorch_impl": (
                    "real.sum(1, keepdim=True).clamp_min(1)",
                    "vectors.shape[1]",
                ),
                "tf2_impl": (
                    "tf.reduce_sum(vectors, axis=1) / tf.maximum(count, 1)",
                    "tf.reduce_sum(vectors, axis=1) / 5",
                ),
                "theano_impl": ("T.cast(count, vectors.dtype)", "vectors.shape[1]"),
                "numpy_infer": ("(vectors != 0).any(axis=-1)", "(vectors == vectors).any(axis=-1)"),
            },
        ),
        Mutant(
            "the title left in its bag",
            "leave_one_out_loss",
            "leave one out",
            {
                "pytorch_impl": ("others = 1 - ", "others = 1 - 0 * "),
                "tf2_impl": ("others = 1 - ", "others = 1 - 0 * "),
                "theano_impl": (" - T.eye(", " - 0 * T.eye("),
            },
        ),
        Mutant(
            "padding left out of its bag",
            "leave_one_out_loss",
            "padded",
            {
                "pytorch_impl": ("left_out = real &", "left_out = (real == real) &"),
                "tf2_impl": ("left_out = real &", "left_out = (real == real) &"),
                "theano_impl": ("left_out = real &", "left_out = T.eq(real, real) &"),
            },
        ),
        Mutant(
            "a title alone left out of nothing",
            "leave_one_out_loss",
            "one title",
            {
                "pytorch_impl": ("keepdim=True) > 1)", "keepdim=True) > 0)"),
                "tf2_impl": ("keepdims=True) > 1)", "keepdims=True) > 0)"),
                "theano_impl": ("keepdims=True) > 1)", "keepdims=True) > 0)"),
            },
        ),
        Mutant(
            "the bag not scaled to unit norm",
            "leave_one_out_loss",
            "wide margin",
            {
                "pytorch_impl": (
                    "l2_normalize(matrix_product(others, vectors))",
                    "matrix_product(others, vectors) / 4",
                ),
                "tf2_impl": (
                    "l2_normalize(tf.matmul(others, vectors))",
                    "tf.matmul(others, vectors) / 4",
                ),
                "theano_impl": ("bags = l2_normalize(T.dot(", "bags = (T.dot("),
            },
        ),
        Mutant(
            "gradient of a hinge at zero",
            "leave_one_out_loss",
            "margin met exactly",
            {
                "pytorch_impl": (".relu()", ".clamp_min(0)"),
                "tf2_impl": (
                    "tf.nn.relu(margin - positive + negative)",
                    "tf.maximum(margin - positive + negative, 0)",
                ),
                "theano_impl": ("(violation <= 0)", "(violation < 0)"),
            },
        ),
        Mutant(
            "mean of the words before it is scaled",
            "TitleEncoder",
            "titles of padding",
            {
                "pytorch_impl": ("unit_norm=True", "unit_norm=False"),
                "tf2_impl": ("unit_norm=True", "unit_norm=False"),
                "theano_impl": ("return l2_normalize(T.inc", "return (T.inc"),
                "numpy_infer": ("unit_norm=True", "unit_norm=False"),
            },
        ),
    ),
)
