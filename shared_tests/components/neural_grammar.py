"""Definition of the neural grammar: every round looks at every adjacent pair."""

from __future__ import annotations

from functools import cache, partial
from itertools import pairwise

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.fixtures import digits, normal
from shared_tests.repository import PACKAGES
from shared_tests.support.tree_batches import (
    BAD_BRACKETS,
    BAD_LENGTHS,
    LENGTHS,
    trees_of_batch,
    with_equal_vectors,
)
from shared_tests.support.tree_batches import BRACKETS as BRACKETS_OF_BATCH

TIED = 64 * np.finfo(np.float64).eps


def parent_of(weights, left, right):
    left = np.maximum(left @ weights["left.weight"] + weights["left.bias"], 0)
    right = np.maximum(right @ weights["right.weight"] + weights["right.bias"], 0)
    joined = np.concatenate([left, right])
    return np.tanh(joined @ weights["parent.weight"] + weights["parent.bias"])


def score_of(weights, parent):
    return (parent @ weights["score.weight"] + weights["score.bias"])[0]


def first_best(scores, weights, nan):
    """The place of the highest score; of equal ones, to rounding, the first."""
    scores = np.where(np.isnan(scores), nan, scores)
    size = np.abs(weights["score.weight"]).sum() + np.abs(weights["score.bias"]).sum()
    return np.argmax(scores >= scores.max() - TIED * (size if np.isfinite(size) else 0))


def search(weights, vectors, brackets=None):
    """The merges, their spans of leaves, and the best wrong pair at each, or None."""
    embeddings, spans = list(vectors), [(leaf, leaf) for leaf in range(len(vectors))]
    row, merges, rivals = list(range(len(vectors))), [], []
    labelled = None if brackets is None else {tuple(span) for span in brackets}

    @cache
    def score(left, right):
        return score_of(weights, parent_of(weights, embeddings[left], embeddings[right]))

    while len(row) > 1:
        pairs = {(left, right): score(left, right) for left, right in pairwise(row)}
        right = [
            (one, other)
            for one, other in pairs
            if labelled is None or (spans[one][0], spans[other][1]) in labelled
        ]
        wrong = [pair for pair in pairs if pair not in right]
        chosen = right[first_best([pairs[pair] for pair in right], weights, -np.inf)]
        scores = [pairs[pair] for pair in wrong]
        rivals.append(wrong[first_best(scores, weights, np.inf)] if wrong else None)
        merges.append(chosen)
        place = row.index(chosen[0])
        row[place : place + 2] = [len(embeddings)]
        embeddings.append(parent_of(weights, *(embeddings[node] for node in chosen)))
        spans.append((spans[chosen[0]][0], spans[chosen[1]][1]))
    return merges, spans[len(vectors) :], rivals


def neural_grammar(weights, vectors, brackets=None, *, dim, hidden):
    return replay(weights, vectors, *search(weights, vectors, brackets), brackets)


def replay(weights, vectors, merges, spans, rivals, brackets):
    """The tree of the given merges."""
    embeddings, scores, hinges = list(vectors), [0.0] * len(vectors), []
    for merge, rival in zip(merges, rivals, strict=True):
        embeddings.append(parent_of(weights, *(embeddings[node] for node in merge)))
        scores.append(score_of(weights, embeddings[-1]))
        violation = 0.0
        if rival:
            wrong = score_of(weights, parent_of(weights, *(embeddings[node] for node in rival)))
            violation = 1 + wrong - scores[-1]
        hinges.append(np.maximum(violation, 0))
    tree = {
        "merges": np.array(merges, np.int64).reshape(-1, 2),
        "embeddings": np.array(embeddings),
        "scores": np.array(scores),
    }
    if brackets is None:
        return tree | {"brackets": np.array(spans, np.int64).reshape(-1, 2)}
    return tree | {"hinges": np.array(hinges)}


of_batch = partial(trees_of_batch, neural_grammar)


def on_the_tree(case, zero_hinges=False):
    """Differences with the merges held fast: where moving a tied vector would change them, and
    where the search would take too long to be repeated for every entry."""
    from fourfold.measure import differences, reference_outputs

    brackets = case.inputs.get("brackets")
    found = search(case.weights, case.inputs["vectors"], brackets)

    def fixed(weights, vectors, brackets=None, **others):
        tree = replay(weights, vectors, *found, brackets)
        return tree | {"hinges": 0 * tree["hinges"]} if zero_hinges else tree

    operation = Operation("replay", fixed, ())
    return differences(operation, case, reference_outputs(operation, case))


DIM, HIDDEN = 3, 5
SIZES = {"dim": DIM, "hidden": HIDDEN}
WEIGHTS = {
    "left.weight": normal(DIM, HIDDEN, seed=1) / 2,
    "left.bias": normal(HIDDEN, seed=2) / 2,
    "right.weight": normal(DIM, HIDDEN, seed=3) / 2,
    "right.bias": normal(HIDDEN, seed=4) / 2,
    "parent.weight": normal(2 * HIDDEN, DIM, seed=5) / 2,
    "parent.bias": normal(DIM, seed=6) / 2,
    "score.weight": normal(DIM, 1, seed=7),
    "score.bias": normal(1, seed=8),
}
# Both projections of the children are exactly zero, where relu has gradient zero.
AT_ZERO = {
    name: np.zeros_like(array) if name.startswith(("left", "right")) else array
    for name, array in WEIGHTS.items()
}
VECTORS = normal(7, DIM, seed=175)  # of the pairs that score best, two are in BRACKETS
DUPLICATES = normal(4, DIM, seed=10)[[0, 0, 1, 2, 0, 0, 1, 2, 3, 0, 0]]
PIXELS = digits(11)[0][:, [26, 35, 50]]
WITH_NAN = np.where(np.arange(7)[:, None] == 2, np.nan, VECTORS)

# ((0 1) ((2 3) 4)) (5 6)
BRACKETS = np.array([[0, 1], [2, 3], [5, 6], [2, 4], [0, 4], [0, 6]])


def to_the_left(n):
    return np.array([[0, last] for last in range(1, n)], np.int64).reshape(-1, 2)


def to_the_right(n):
    return np.array([[first, n - 1] for first in range(n - 1)], np.int64).reshape(-1, 2)


# Parents are exactly ±1 in every entry, and differ in the first: their scores differ by exactly 1.
SATURATED = WEIGHTS | {
    "parent.weight": 100 * WEIGHTS["parent.weight"],
    "score.weight": np.array([[1 / 2], [1 / 4], [1 / 8]]),
    "score.bias": np.array([2.0]),
}
AT_THE_MARGIN = 4 * normal(3, DIM, seed=15)


def case(name, vectors, weights=WEIGHTS, differentiate=True, flat=None, gradients=None):
    return Case(name, {"vectors": vectors}, SIZES, weights, differentiate, flat or {}, gradients)


def labelled(name, vectors, brackets, weights=WEIGHTS, differentiate=True, gradients=None):
    inputs = {"vectors": vectors, "brackets": brackets}
    return Case(name, inputs, SIZES, weights, differentiate, gradients=gradients)


SEQUENCES = normal(4, 6, DIM, seed=21)
EQUAL_SEQUENCES = with_equal_vectors(SEQUENCES)


def sequences(name, vectors, lengths, brackets=None, differentiate=True):
    inputs = {"vectors": vectors, "brackets": brackets, "lengths": lengths}
    return Case(name, inputs, SIZES, WEIGHTS, differentiate)


BAD_SIZES = (
    BadInput({"dim": 0}, numpy=False),
    BadInput({"dim": 2.0}, TypeError, numpy=False),
    BadInput({"hidden": 0}, numpy=False),
    BadInput({"hidden": 2.0}, TypeError, numpy=False),
)

DEFINITION = Definition(
    "neural_grammar",
    operations=(
        Operation(
            "NeuralGrammar",
            neural_grammar,
            cases=(
                case("seven", VECTORS),
                case("one vector", VECTORS[:1]),
                case("two vectors", VECTORS[:2]),
                case("fifty", normal(50, DIM, seed=12), gradients=on_the_tree),
                case("duplicates", DUPLICATES, gradients=on_the_tree),
                case("zero vectors", np.zeros((5, DIM)), gradients=on_the_tree),
                case("saturated", AT_THE_MARGIN, SATURATED),
                case("digits", PIXELS, gradients=on_the_tree),
                case(
                    "relu at zero",
                    VECTORS[:3],
                    AT_ZERO,
                    flat=dict.fromkeys(
                        ("left.weight", "left.bias", "right.weight", "right.bias"), ...
                    ),
                ),
                case("nan", WITH_NAN, differentiate=False),
            ),
            bad_inputs=(
                BadInput({"vectors": np.ones((7, DIM), int)}, TypeError),
                BadInput({"vectors": VECTORS.astype("float32")}, TypeError),
                BadInput({"vectors": VECTORS[0]}),
                BadInput({"vectors": VECTORS[:0]}),
                BadInput({"vectors": VECTORS[:, :2]}),
                *BAD_SIZES,
            ),
            kind="model",
            numpy=True,
        ),
        Operation(
            "NeuralGrammar",
            neural_grammar,
            cases=(
                labelled("labelled", VECTORS, BRACKETS),
                labelled("labelled in another order", VECTORS, BRACKETS[::-1]),
                labelled("labelled to the left", VECTORS, to_the_left(7)),
                labelled("labelled to the right", VECTORS, to_the_right(7)),
                labelled("labelled one vector", VECTORS[:1], to_the_left(1)),
                labelled("labelled two vectors", VECTORS[:2], to_the_left(2)),
                labelled(
                    "labelled duplicates", DUPLICATES, to_the_right(11), gradients=on_the_tree
                ),
                labelled("labelled digits", PIXELS, to_the_left(11), gradients=on_the_tree),
                labelled(
                    "margin met exactly",
                    AT_THE_MARGIN,
                    to_the_left(3),
                    SATURATED,
                    gradients=partial(on_the_tree, zero_hinges=True),
                ),
                labelled("labelled nan", WITH_NAN, BRACKETS, differentiate=False),
            ),
            bad_inputs=(
                BadInput({"brackets": BRACKETS / 1.0}, TypeError),
                BadInput({"brackets": BRACKETS[0]}),
                BadInput({"brackets": BRACKETS[:5]}),
                BadInput({"brackets": BRACKETS[:, :1]}),
                BadInput({"brackets": BRACKETS[[0, 1, 2, 3, 4, 4]]}),
                BadInput({"brackets": BRACKETS[:, ::-1]}),
                BadInput({"brackets": np.array([[3, 3], *BRACKETS[1:]])}),  # a span of one leaf
                BadInput({"brackets": BRACKETS + 1}),
                BadInput({"brackets": BRACKETS - 1}),
                BadInput({"brackets": np.array([[0, 1], [2, 3], [4, 6], [2, 4], [0, 4], [0, 6]])}),
            ),
            kind="model",
        ),
        Operation(
            "NeuralGrammar",
            of_batch,
            cases=(
                sequences("lengths", SEQUENCES, LENGTHS),
                sequences(
                    "lengths of equal vectors", EQUAL_SEQUENCES, LENGTHS, differentiate=False
                ),
                sequences("lengths of 1", SEQUENCES[:, :2], np.ones(4, int)),
                sequences("lengths of two vectors", SEQUENCES[:2, :2], np.array([2, 1])),
                case("sequences of one length", SEQUENCES[:2, :4]),
            ),
            bad_inputs=(
                *BAD_LENGTHS,
                BadInput({"vectors": SEQUENCES[:, :0]}),
            ),
            kind="model",
            numpy=True,
        ),
        Operation(
            "NeuralGrammar",
            of_batch,
            cases=(
                sequences("lengths and brackets", SEQUENCES, LENGTHS, BRACKETS_OF_BATCH),
                sequences(
                    "lengths and brackets of equal vectors",
                    EQUAL_SEQUENCES,
                    LENGTHS,
                    BRACKETS_OF_BATCH,
                    differentiate=False,
                ),
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
        Mutant(
            "children joined the other way round",
            "NeuralGrammar",
            "seven",
            {
                "pytorch_impl": (
                    "[linear(self.left, left).relu(), linear(self.right, right).relu()]",
                    "[linear(self.right, right).relu(), linear(self.left, left).relu()]",
                ),
                "tf2_impl": (
                    "[_relu(project(self.left, left)), _relu(project(self.right, right))]",
                    "[_relu(project(self.right, right)), _relu(project(self.left, left))]",
                ),
                "theano_impl": ("T.concatenate([left, right]", "T.concatenate([right, left]"),
                "numpy_infer": ("np.concatenate([left, right]", "np.concatenate([right, left]"),
            },
        ),
        Mutant(
            "the worst pair merged",
            "NeuralGrammar",
            "seven",
            dict.fromkeys(PACKAGES.values(), ("costs = -scores(", "costs = scores(")),
            file="support.bracketing",
        ),
        Mutant(
            "neighbours of a merge not scored anew",
            "NeuralGrammar",
            "seven",
            {
                "pytorch_impl": ("costs.scatter_(2, sides[:1].expand_as(found), found)", ""),
                "tf2_impl": ("costs = tf.tensor_scatter_nd_update(costs, new, found)", ""),
                "theano_impl": ("costs = T.set_subtensor(costs[new], found)", ""),
                "numpy_infer": ("costs[new] = ", ""),
            },
            file="support.bracketing",
        ),
        Mutant(
            "the last of tied pairs",
            "NeuralGrammar",
            "zero vectors",
            {
                "pytorch_impl": (
                    "t] = first_minimum(costs,",
                    "t] = n - first_minimum(costs.flip(2),",
                ),
                "tf2_impl": (
                    "gap = first_minimum(ranked,",
                    "gap = n - 2 - first_minimum(ranked[::-1],",
                ),
                "theano_impl": (
                    "gap = first_minimum(T.switch(wrong, infinity, ranked),",
                    "gap = n - 2 - first_minimum(T.switch(wrong, infinity, ranked)[::-1],",
                ),
                "numpy_infer": (
                    "gap = first_minimum(costs,",
                    "gap = n - 2 - first_minimum(costs[::-1],",
                ),
            },
            file="support.bracketing",
        ),
        Mutant(
            "NaN merged first",
            "NeuralGrammar",
            "nan",
            {
                "pytorch_impl": ("masked_fill(nan, most)", "masked_fill(nan, -most)"),
                "tf2_impl": ("tf.where(nan, largest", "tf.where(nan, -largest"),
                "theano_impl": ("T.switch(nan, _largest", "T.switch(nan, -_largest"),
                "numpy_infer": ("costs, largest)", "costs, -largest)"),
            },
            file="support.bracketing",
        ),
        Mutant(
            "gradient of relu at zero",
            "NeuralGrammar",
            "relu at zero",
            {
                "pytorch_impl": (
                    "linear(self.left, left).relu()",
                    "linear(self.left, left).clamp_min(0)",
                ),
                "tf2_impl": ("tf.where(x <= 0, tf.zeros_like(x), x)", "tf.maximum(x, 0)"),
                "theano_impl": ("T.switch(x <= 0, T.zeros_like(x), x)", "T.nnet.relu(x)"),
            },
        ),
        Mutant(
            "gradient stops at the children",
            "NeuralGrammar",
            "seven",
            {
                "pytorch_impl": (
                    "*rows_at(nodes, pair).unbind(1)",
                    "*rows_at(nodes, pair).detach().unbind(1)",
                ),
                "tf2_impl": (
                    "parents(left[None],",
                    "parents(tf.stop_gradient(left[None]),",
                ),
                "theano_impl": (
                    "nodes[node], parents(nodes[pair[0]],",
                    "nodes[node], parents(theano.gradient.disconnected_grad(nodes[pair[0]]),",
                ),
            },
            file="support.bracketing",
        ),
        Mutant(
            "no margin",
            "NeuralGrammar",
            "labelled",
            {
                "pytorch_impl": ("1 + wrong", "wrong"),
                "tf2_impl": ("1 + wrong", "wrong"),
                "theano_impl": ("np.asarray(1, wrong.dtype) + wrong", "wrong"),
            },
        ),
        Mutant(
            "a right pair that waits counted as wrong",
            "NeuralGrammar",
            "labelled",
            {
                "pytorch_impl": ("outside | right])", "outside])"),
                "tf2_impl": (
                    "tf.where(wrong, tf.where(nan",
                    "tf.where(gaps != gap, tf.where(nan",
                ),
                "theano_impl": ("T.switch(wrong, ranked", "T.switch(T.neq(gaps, gap), ranked"),
            },
            file="support.bracketing",
        ),
        Mutant(
            "gradient of a hinge at zero",
            "NeuralGrammar",
            "margin met exactly",
            {
                "pytorch_impl": ("violation.relu()", "violation.clamp_min(0)"),
                "tf2_impl": ("tf.nn.relu(violation)", "tf.maximum(violation, 0)"),
                "theano_impl": ("(violation <= 0)", "(violation < 0)"),
            },
        ),
        Mutant(
            "padding scored",
            "NeuralGrammar",
            "lengths",
            {
                "tf2_impl": (
                    "real = gaps + 1 < lengths[:, None]",
                    "real = gaps < n + 0 * lengths[:, None]",
                ),
                "theano_impl": (
                    "real = gaps + 1 < lengths[:, None]",
                    "real = gaps < n + 0 * lengths[:, None]",
                ),
                "numpy_infer": (
                    "real = np.arange(1, n) < lengths[:, None]",
                    "real = np.arange(1, n) < n + 0 * lengths[:, None]",
                ),
            },
            "support.tree_batches",
        ),
        Mutant(
            "a parent in the slot of another sequence",
            "NeuralGrammar",
            "lengths",
            {"pytorch_impl": ("index_copy_(0, start + first,", "index_copy_(0, first,")},
            "support.bracketing",
        ),
        Mutant(
            "the parent that a gap had before",
            "NeuralGrammar",
            "fifty",
            {
                "pytorch_impl": (
                    "made.index_copy_(0, children[1].flatten(), parent.flatten(0, 1))",
                    "",
                )
            },
            "support.bracketing",
        ),
        Mutant(
            "the root not repeated",
            "NeuralGrammar",
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
            "the root not repeated",
            "NeuralGrammar",
            "lengths",
            {
                "pytorch_impl": (
                    "nodes.minimum(2 * lengths[:, None] - 2)",
                    "nodes % (2 * lengths[:, None] - 1)",
                )
            },
            "support.greedy_tree",
        ),
        Mutant(
            "a length off by one",
            "NeuralGrammar",
            "lengths",
            {
                "tf2_impl": (
                    "node = tf.gather(lengths, b) + t\n",
                    "node = tf.gather(lengths, b) + t - 1\n",
                ),
                "theano_impl": ("node = lengths[b] + t\n", "node = lengths[b] + t - 1\n"),
                "numpy_infer": ("node, gap = lengths[b] + t,", "node, gap = lengths[b] + t - 1,"),
            },
            "support.tree_batches",
        ),
        Mutant(
            "a length off by one",
            "NeuralGrammar",
            "lengths",
            {
                "pytorch_impl": (
                    "table[rows, first, last] = lengths[:, None]",
                    "table[rows, first, last] = lengths[:, None] - 1",
                )
            },
            "support.bracketing",
        ),
    ),
)
