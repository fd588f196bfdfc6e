"""Definition of the recursive autoencoder: every round looks at every pair."""

from __future__ import annotations

from functools import cache, partial

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.fixtures import digits, normal
from shared_tests.support.tree_batches import (
    BAD_BRACKETS,
    BAD_LENGTHS,
    LENGTHS,
    trees_of_batch,
    with_equal_vectors,
)
from shared_tests.support.tree_batches import BRACKETS as BRACKETS_OF_BATCH

ACTIVATIONS = {
    "linear": lambda x: x,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
}
TIED = 64 * np.finfo(np.float64).eps


def merge(weights, left, right, activation, unit_norm=False, weight_by_leaves=False):
    """The parent of two nodes, each an (embedding, score, number of leaves)."""
    children = np.concatenate([left[0], right[0]])
    encoded = children @ weights["encoder.weight"] + weights["encoder.bias"]
    parent = ACTIVATIONS[activation](encoded)
    if unit_norm:
        parent = parent / max(np.sqrt((parent**2).sum()), 1e-12)
    error = children - (parent @ weights["decoder.weight"] + weights["decoder.bias"])
    leaves = left[2] + right[2]
    shares = (left[2] / leaves, right[2] / leaves) if weight_by_leaves else (1 / 2, 1 / 2)
    squares = [(half**2).sum() for half in np.split(error, 2)]
    score = shares[0] * squares[0] + shares[1] * squares[1] + left[1] + right[1]
    return parent, score, leaves


def recursive_autoencoder(
    weights, vectors, brackets=None, *, dim, activation="linear", pairs="all", **options
):
    if brackets is not None:
        return replay(weights, vectors, merges_of(brackets), activation, **options)
    places = list(range(len(vectors)))
    nodes = [(vector, 0.0, 1) for vector in vectors]
    size = np.sqrt(max(square for square in (vectors**2).sum(axis=1) if np.isfinite(square)))
    merges = []

    @cache
    def parent(left, right):
        return merge(weights, nodes[left], nodes[right], activation, **options)

    while len(places) > 1:
        reach = 1 if pairs == "adjacent" else len(places)
        found = [
            (parent(places[i], places[j]), i, j)
            for i in range(len(places))
            for j in range(i + 1, min(i + reach + 1, len(places)))
        ]
        scores = np.nan_to_num([node[1] for node, _, _ in found], nan=np.inf)
        node, i, j = found[np.argmax(scores <= scores.min() + rounding_error(scores.min(), size))]
        merges.append((places[i], places[j]))
        places[i] = len(nodes)
        nodes.append(node)
        del places[j]
    return tree(merges, nodes)


def rounding_error(best, size):
    """A score is half the square of a difference whose entries are rounded by the size."""
    return TIED * (best + np.sqrt(best) * size + TIED * size**2) if np.isfinite(best) else 0


def merges_of(brackets):
    """The merges of a bracketing: spans of fewer leaves first, then from the left."""
    spans = sorted(((last - first, first, last) for first, last in brackets.tolist()))
    n, merges = len(spans) + 1, []
    nodes = {(leaf, leaf): leaf for leaf in range(n)}
    for _, first, last in spans:
        pairs = [((first, end), (end + 1, last)) for end in range(first, last)]
        merges += [
            (nodes[left], nodes[right]) for left, right in pairs if {left, right} <= {*nodes}
        ]
        nodes[first, last] = n + len(merges) - 1
    return merges


def replay(weights, vectors, merges, activation="linear", dim=None, pairs=None, **options):
    """The tree of the given merges."""
    nodes = [(vector, 0.0, 1) for vector in vectors]
    for left, right in merges:
        nodes.append(merge(weights, nodes[left], nodes[right], activation, **options))
    return tree(merges, nodes)


def tree(merges, nodes):
    return {
        "merges": np.array(merges, np.int64).reshape(-1, 2),
        "embeddings": np.array([embedding for embedding, _, _ in nodes]),
        "scores": np.array([score for _, score, _ in nodes]),
    }


of_batch = partial(trees_of_batch, recursive_autoencoder)


def on_the_tree(case):
    """Differences with the merges held fast: where moving a tied vector would change them, and
    where the search would take too long to be repeated for every entry."""
    from fourfold.measure import differences

    outputs = recursive_autoencoder(case.weights, **case.inputs, **case.options)
    fixed = Operation("replay", partial(replay, merges=outputs["merges"]), ())
    return differences(fixed, case, outputs)


DIM = 3
WEIGHTS = {
    "encoder.weight": normal(2 * DIM, DIM, seed=1) / 2,
    "encoder.bias": normal(DIM, seed=2) / 2,
    "decoder.weight": normal(DIM, 2 * DIM, seed=3) / 2,
    "decoder.bias": normal(2 * DIM, seed=4) / 2,
}
# Every parent's encoding is exactly zero, where relu has gradient zero.
AT_ZERO = WEIGHTS | {"encoder.weight": np.zeros((2 * DIM, DIM)), "encoder.bias": np.zeros(DIM)}
# Parents are shorter than 1e-12 and are not scaled to length 1.
SMALL = WEIGHTS | {
    "encoder.weight": 1e-13 * WEIGHTS["encoder.weight"],
    "encoder.bias": 1e-13 * WEIGHTS["encoder.bias"],
}
VECTORS = normal(7, DIM, seed=5)
DUPLICATES = normal(4, DIM, seed=6)[[0, 0, 1, 2, 0, 0, 1, 2, 3, 0, 0]]
PIXELS = digits(11)[0][:, [26, 35, 50]]


# Weights that reconstruct any pair of equal vectors exactly: [l; l]·We = l·A, h·Wd = [h; h]·A⁻¹.
# Their entries are exact in float32; what they are multiplied with rounds in every dtype.
SHEAR, EIGHTHS = np.round(normal(seed=9) * 2**17) / 2**17, np.round(8 * normal(3, 3, seed=10)) / 8
MATRIX = np.array([[1, SHEAR, 0], [0, 2, 0], [0, 0, 4]])
INVERSE = np.array([[1, -SHEAR / 2, 0], [0, 1 / 2, 0], [0, 0, 1 / 4]])
EXACT = {
    "encoder.weight": np.vstack([MATRIX / 2 + EIGHTHS, MATRIX / 2 - EIGHTHS]),
    "encoder.bias": np.zeros(DIM),
    "decoder.weight": np.hstack([INVERSE, INVERSE]),
    "decoder.bias": np.zeros(2 * DIM),
}
EQUAL = np.tile(normal(3, DIM, seed=11), (3, 1))


# ((0 1) ((2 3) 4)) (5 6)
BRACKETS = np.array([[5, 6], [0, 1], [2, 4], [0, 4], [2, 3], [0, 6]])
BOTH = {"unit_norm": True, "weight_by_leaves": True}


def to_the_right(n):
    return np.array([[first, n - 1] for first in range(n - 1)], np.int64).reshape(-1, 2)


SEQUENCES = normal(4, 6, DIM, seed=12)
EQUAL_SEQUENCES = with_equal_vectors(SEQUENCES)


def sequences(name, vectors, lengths, brackets=None, differentiate=True, **options):
    inputs = {"vectors": vectors, "brackets": brackets, "lengths": lengths}
    return Case(name, inputs, {"dim": DIM, **options}, WEIGHTS, differentiate)


def bracketed(name, vectors, brackets, **options):
    inputs = {"vectors": vectors, "brackets": brackets}
    return Case(name, inputs, {"dim": DIM, **options}, WEIGHTS)


def case(name, vectors, weights=WEIGHTS, differentiate=True, flat=None, gradients=None, **options):
    return Case(
        name,
        {"vectors": vectors},
        {"dim": DIM, **options},
        weights,
        differentiate,
        flat or {},
        gradients,
    )


DEFINITION = Definition(
    "recursive_autoencoder",
    operations=(
        Operation(
            "RecursiveAutoencoder",
            recursive_autoencoder,
            cases=(
                case("linear", VECTORS),
                case("tanh", VECTORS, activation="tanh"),
                case("sigmoid", VECTORS, activation="sigmoid"),
                case("relu", VECTORS, activation="relu"),
                case("adjacent", VECTORS, pairs="adjacent"),
                case("one vector", VECTORS[:1]),
                case("two vectors", VECTORS[:2]),
                case("fifty", normal(50, DIM, seed=7), activation="tanh", gradients=on_the_tree),
                case(
                    "fifty adjacent",
                    normal(50, DIM, seed=8),
                    pairs="adjacent",
                    gradients=on_the_tree,
                ),
                case("duplicates", DUPLICATES, activation="tanh", gradients=on_the_tree),
                case("duplicates adjacent", DUPLICATES, pairs="adjacent", gradients=on_the_tree),
                case(
                    "exact reconstruction",
                    EQUAL,
                    EXACT,
                    gradients=on_the_tree,
                ),
                case("zero vectors", np.zeros((5, DIM)), gradients=on_the_tree),
                case("digits", PIXELS, activation="sigmoid", gradients=on_the_tree),
                case(
                    "relu at zero",
                    VECTORS[:3],
                    AT_ZERO,
                    flat={"encoder.weight": ..., "encoder.bias": ...},
                    activation="relu",
                ),
                case("unit norm", VECTORS, activation="tanh", unit_norm=True),
                case("unit norm of small parents", VECTORS, SMALL, False, unit_norm=True),
                case(
                    "unit norm of zero",
                    VECTORS[:3],
                    AT_ZERO,
                    flat={"encoder.weight": ..., "encoder.bias": ...},
                    unit_norm=True,
                ),
                case(
                    "unit norm of duplicates",
                    DUPLICATES,
                    unit_norm=True,
                    gradients=on_the_tree,
                ),
                case("weighted by leaves", VECTORS, weight_by_leaves=True),
                case(
                    "weighted by leaves, adjacent",
                    VECTORS,
                    pairs="adjacent",
                    weight_by_leaves=True,
                ),
                case(
                    "weighted by leaves, duplicates",
                    DUPLICATES,
                    pairs="adjacent",
                    weight_by_leaves=True,
                    gradients=on_the_tree,
                ),
                case("both options", VECTORS, activation="sigmoid", **BOTH),
                case(
                    "digits, both options", PIXELS, pairs="adjacent", **BOTH, gradients=on_the_tree
                ),
                case(
                    "nan",
                    np.where(np.arange(7)[:, None] == 2, np.nan, VECTORS),
                    differentiate=False,
                ),
            ),
            bad_inputs=(
                BadInput({"vectors": np.ones((7, DIM), int)}, TypeError),
                BadInput({"vectors": VECTORS.astype("float32")}, TypeError),
                BadInput({"vectors": VECTORS[0]}),
                BadInput({"vectors": VECTORS[:0]}),
                BadInput({"vectors": VECTORS[:, :2]}),
                BadInput({"activation": "swish"}),
                BadInput({"pairs": "some"}),
                BadInput({"unit_norm": 1}, TypeError),
                BadInput({"weight_by_leaves": "yes"}, TypeError),
                BadInput({"dim": 0}, numpy=False),
                BadInput({"dim": 2.0}, TypeError, numpy=False),
            ),
            kind="model",
            numpy=True,
        ),
        Operation(
            "RecursiveAutoencoder",
            recursive_autoencoder,
            cases=(
                bracketed("brackets", VECTORS, BRACKETS, activation="tanh"),
                bracketed("brackets in another order", VECTORS, BRACKETS[::-1]),
                bracketed("brackets, both options", VECTORS, BRACKETS, **BOTH),
                bracketed("brackets to the right", VECTORS, to_the_right(7), pairs="adjacent"),
                bracketed("brackets of one vector", VECTORS[:1], to_the_right(1)),
                bracketed("brackets of two vectors", VECTORS[:2], to_the_right(2)),
                bracketed("digits, brackets", PIXELS, to_the_right(11), activation="sigmoid"),
            ),
            bad_inputs=(
                BadInput({"brackets": BRACKETS / 1.0}, TypeError),
                BadInput({"brackets": BRACKETS[0]}),
                BadInput({"brackets": BRACKETS[:5]}),
                BadInput({"brackets": BRACKETS + 1}),
                BadInput({"brackets": np.array([[0, 1], [2, 3], [4, 6], [2, 4], [0, 4], [0, 6]])}),
            ),
            kind="model",
        ),
        Operation(
            "RecursiveAutoencoder",
            of_batch,
            cases=(
                sequences("lengths", SEQUENCES, LENGTHS, activation="tanh"),
                sequences("lengths, adjacent", SEQUENCES, LENGTHS, pairs="adjacent", **BOTH),
                sequences(
                    "lengths of equal vectors", EQUAL_SEQUENCES, LENGTHS, differentiate=False
                ),
                sequences("lengths of 1", SEQUENCES[:, :2], np.ones(4, int)),
                sequences("lengths of two vectors", SEQUENCES[:2, :2], np.array([2, 1])),
                case("sequences of one length", SEQUENCES[:2, :4], activation="sigmoid"),
            ),
            bad_inputs=(
                *BAD_LENGTHS,
                BadInput({"vectors": SEQUENCES[:, :0]}),
            ),
            kind="model",
            numpy=True,
        ),
        Operation(
            "RecursiveAutoencoder",
            of_batch,
            cases=(
                sequences("lengths and brackets", SEQUENCES, LENGTHS, BRACKETS_OF_BATCH),
                sequences(
                    "lengths of 1 and brackets",
                    SEQUENCES[:, :2],
                    np.ones(4, int),
                    BRACKETS_OF_BATCH[:, 4:],
                ),
                sequences(
                    "lengths and brackets of two vectors",
                    SEQUENCES[:2, :2],
                    np.array([2, 1]),
                    np.array([[[0, 1]], [[9, 9]]]),
                ),
            ),
            bad_inputs=BAD_BRACKETS,
            kind="model",
        ),
    ),
    mutants=(
        *(
            Mutant(name, "RecursiveAutoencoder", case, edits, "support.greedy_tree")
            for name, case, edits in (
                (
                    "children's scores not added",
                    "nan",
                    {
                        "tf2_impl": (" + tf.gather(scores, i) + tf.gather(scores, j)", ""),
                        "theano_impl": (" + scores[i] + scores[j]", ""),
                        "numpy_infer": (" + scores[i] + scores[j]", ""),
                    },
                ),
                (
                    "the new node on the wrong side of its partners",
                    "nan",
                    {
                        "tf2_impl": ("i, j = tf.min", "j, i = tf.min"),
                        "theano_impl": ("i, j = T.min", "j, i = T.min"),
                        "numpy_infer": ("i, j = np.min", "j, i = np.min"),
                    },
                ),
                (
                    "merged nodes merged again",
                    "nan",
                    {
                        "tf2_impl": ("is_open[:, None] & is_open,", "costs < infinity,"),
                        "theano_impl": ("is_open[:, None] & is_open,", "costs < infinity,"),
                        "numpy_infer": ("        slots.remove(right)\n", ""),
                    },
                ),
                (
                    "the last of tied pairs",
                    "duplicates",
                    {
                        "tf2_impl": (
                            "first_minimum(flat, ",
                            "n * n - 1 - first_minimum(flat[::-1], ",
                        ),
                        "theano_impl": (
                            "first_minimum(flat, ",
                            "n * n - 1 - first_minimum(flat[::-1], ",
                        ),
                        "numpy_infer": (
                            "first_minimum(costs.ravel(), ",
                            "n * n - 1 - first_minimum(costs.ravel()[::-1], ",
                        ),
                    },
                ),
                (
                    "two apart called adjacent",
                    "adjacent",
                    {
                        "tf2_impl": ("reach = tf.constant(1", "reach = tf.constant(2"),
                        "theano_impl": ("reach = T.constant(1", "reach = T.constant(2"),
                        "numpy_infer": ("reach = 1", "reach = 2"),
                    },
                ),
            )
        ),
        *(
            Mutant(
                f"{name}, fast",
                "RecursiveAutoencoder",
                case,
                {"pytorch_impl": edit},
                "fast.recursive_autoencoder",
            )
            for name, case, edit in (
                (
                    "children's scores not added",
                    "nan",
                    ("torch.add(scores, ", "torch.add(0 * scores, "),
                ),
                ("no half", "nan", (".sum(-1) / 2", ".sum(-1)")),
                (
                    "the new node on the wrong side of its partners",
                    "nan",
                    ("lower, upper = partners", "upper, lower = partners"),
                ),
                ("merged nodes merged again", "nan", ("        slots.remove(j)\n", "")),
                (
                    "the last of tied pairs",
                    "duplicates",
                    ("in slots if slot != i", "in slots[::-1] if slot != i"),
                ),
                ("two apart called adjacent", "adjacent", ("reach = 1", "reach = 2")),
                (
                    "gradient stops at the children",
                    "tanh",
                    ("_joined(embeddings, pairs)))", "_joined(embeddings, pairs).detach()))"),
                ),
            )
        ),
        Mutant(
            "parents not of length 1",
            "RecursiveAutoencoder",
            "unit norm",
            {
                "pytorch_impl": ("if self.unit_norm else parents", "if False else parents"),
                "tf2_impl": ("if self.unit_norm:", "if False:"),
                "theano_impl": ("if self.unit_norm else parents", "if False else parents"),
                "numpy_infer": ("if self.unit_norm else parents", "if False else parents"),
            },
        ),
        Mutant(
            "the share of the other child",
            "RecursiveAutoencoder",
            "weighted by leaves",
            {
                "tf2_impl": ("shares * squares", "shares[:, ::-1] * squares"),
                "theano_impl": (
                    "sides = errors[..., : self",
                    "sides = errors[..., ::-1][..., : self",
                ),
                "numpy_infer": ("(shares * squares)", "(shares[..., ::-1] * squares)"),
            },
        ),
        Mutant(
            "the share of the other child, fast",
            "RecursiveAutoencoder",
            "weighted by leaves",
            {"pytorch_impl": ("(shares * errors", "(shares.flip(1) * errors")},
            "fast.recursive_autoencoder",
        ),
        Mutant(
            "the search counts a parent as one leaf",
            "RecursiveAutoencoder",
            "weighted by leaves, adjacent",
            {
                "tf2_impl": (
                    "leaves = tf.tensor_scatter_nd_update(leaves, [[left]], ",
                    "_ = tf.tensor_scatter_nd_update(leaves, [[left]], ",
                ),
                "theano_impl": ("leaves = T.set_subtensor(leaves[left], T.sum(counts))", ""),
                "numpy_infer": ("leaves[left] += leaves[right]", ""),
            },
            "support.greedy_tree",
        ),
        Mutant(
            "the search counts a parent as one leaf, fast",
            "RecursiveAutoencoder",
            "weighted by leaves, adjacent",
            {"pytorch_impl": ("leaves[i] += leaves[j]", "pass")},
            "fast.recursive_autoencoder",
        ),
        Mutant(
            "brackets of equal length merged from the right",
            "RecursiveAutoencoder",
            "brackets",
            {
                "pytorch_impl": ("((last - first) * n + first)", "((last - first) * n - first)"),
                "tf2_impl": (
                    "(brackets[:, 1] - brackets[:, 0]) * n + brackets[:, 0]",
                    "(brackets[:, 1] - brackets[:, 0]) * n - brackets[:, 0]",
                ),
                "theano_impl": (
                    "(brackets[:, 1] - brackets[:, 0]) * n + brackets[:, 0]",
                    "(brackets[:, 1] - brackets[:, 0]) * n - brackets[:, 0]",
                ),
            },
            "support.bracketing",
        ),
        Mutant(
            "brackets searched all the same",
            "RecursiveAutoencoder",
            "brackets",
            {
                "tf2_impl": ("if brackets is None:", "if True:"),
                "theano_impl": ("if brackets is None:", "if True:"),
            },
        ),
        Mutant(
            "no half",
            "RecursiveAutoencoder",
            "nan",
            {
                "tf2_impl": ("errors**2, axis=1) / 2", "errors**2, axis=1)"),
                "theano_impl": (" / np.asarray(2, errors.dtype)", ""),
                "numpy_infer": (".sum(axis=-1) / 2", ".sum(axis=-1)"),
            },
        ),
        Mutant(
            "gradient of relu at zero",
            "RecursiveAutoencoder",
            "relu at zero",
            {
                "pytorch_impl": ("torch.relu", "lambda x: x.clamp_min(0)"),
                "tf2_impl": ("tf.nn.relu", "lambda x: tf.maximum(x, 0)"),
                "theano_impl": ("lambda x: T.switch(x <= 0, T.zeros_like(x), x)", "T.nnet.relu"),
            },
        ),
        Mutant(
            "gradient stops at the children",
            "RecursiveAutoencoder",
            "tanh",
            {
                "tf2_impl": (
                    "children = embeddings.read(left)[None], embeddings.read(right)[None]",
                    "children = [tf.stop_gradient(embeddings.read(one)[None]) "
                    "for one in (left, right)]",
                ),
                "theano_impl": (
                    "merge(embeddings[left], embeddings[right],",
                    "merge(*map(theano.gradient.disconnected_grad, "
                    "(embeddings[left], embeddings[right])),",
                ),
            },
            "support.greedy_tree",
        ),
        Mutant(
            "padding scored",
            "RecursiveAutoencoder",
            "lengths",
            {
                "tf2_impl": (
                    "is_open = slot < lengths[:, None]",
                    "is_open = slot < n + 0 * lengths[:, None]",
                ),
                "theano_impl": (
                    "is_open = slot < lengths[:, None]",
                    "is_open = slot < n + 0 * lengths[:, None]",
                ),
                "numpy_infer": (
                    "real = second < lengths[:, None]",
                    "real = second < n + 0 * lengths[:, None]",
                ),
            },
            "support.tree_batches",
        ),
        Mutant(
            "merged beyond the root",
            "RecursiveAutoencoder",
            "lengths",
            {"pytorch_impl": ("(lengths > steps[:, None])", "(lengths >= steps[:, None])")},
            "support.greedy_tree",
        ),
        Mutant(
            "the root not repeated",
            "RecursiveAutoencoder",
            "lengths",
            {
                "tf2_impl": (
                    "tf.minimum(tf.range(count), 2 * lengths[:, None] - 2)",
                    "tf.range(count) % (2 * lengths[:, None] - 1)",
                ),
                "theano_impl": (
                    "T.minimum(T.arange(2 * n - 1), 2 * lengths[:, None] - 2)",
                    "T.arange(2 * n - 1) % (2 * lengths[:, None] - 1)",
                ),
                "numpy_infer": (
                    "np.minimum(np.arange(nodes.shape[1]), 2 * lengths[:, None] - 2)",
                    "np.arange(nodes.shape[1]) % (2 * lengths[:, None] - 1)",
                ),
            },
            "support.tree_batches",
        ),
        Mutant(
            "the root not repeated, fast",
            "RecursiveAutoencoder",
            "lengths",
            {
                "pytorch_impl": (
                    "all_nodes(lengths, n))",
                    "torch.arange(2 * n - 1) % (2 * lengths[:, None] - 1))",
                )
            },
            "fast.recursive_autoencoder",
        ),
        Mutant(
            "a length off by one",
            "RecursiveAutoencoder",
            "lengths",
            {
                "tf2_impl": (
                    "i[:, None], tf.gather(lengths, b) + t",
                    "i[:, None], tf.gather(lengths, b) + t - 1",
                ),
                "theano_impl": ("ids[i], lengths[b] + t", "ids[i], lengths[b] + t - 1"),
                "numpy_infer": ("right, lengths[:count] + t", "right, lengths[:count] + t - 1"),
            },
            "support.tree_batches",
        ),
        Mutant(
            "a length off by one",
            "RecursiveAutoencoder",
            "lengths",
            {"pytorch_impl": ("lengths[:count] + t\n", "lengths[:count] + t - 1\n")},
            "support.greedy_tree",
        ),
    ),
)
