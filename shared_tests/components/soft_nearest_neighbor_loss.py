"""Definition of the soft nearest neighbor loss: a loop over the anchors, two log-sum-exps each."""

from __future__ import annotations

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation, upstream
from shared_tests.components.distances import pairwise_distances
from shared_tests.fixtures import digits, normal


def soft_nearest_neighbor_loss(
    embeddings,
    labels,
    temperature=1.0,
    distance="sqeuclidean",
    reduction="mean",
    block_size=None,
    reference=None,
    reference_labels=None,
    same=None,
):
    neighbors = embeddings if reference is None else reference
    distances = pairwise_distances(embeddings, neighbors, distance)
    if same is None:
        known = labels if reference is None else reference_labels
        several = labels.dtype == bool
        same = (labels[:, None] & known).any(2) if several else labels[:, None] == known
    others = ~np.eye(*distances.shape, dtype=bool) | (reference is not None)
    positives = others & same
    has_positives = positives.any(axis=1)
    losses = np.where(np.isnan(distances).any(axis=1), np.nan, 0.0)
    for anchor in np.flatnonzero(has_positives & ~np.isnan(losses)):
        row, near = distances[anchor], positives[anchor]
        logits = (row[near].min() - row) / temperature
        losses[anchor] = log_sum_exp(logits[others[anchor]]) - log_sum_exp(logits[near])
    mean = losses.sum() / max(has_positives.sum(), 1)
    return {"mean": mean, "sum": losses.sum(), "none": losses}[reduction]


def log_sum_exp(x):
    return x.max() + np.log(np.exp(x - x.max()).sum())


def soft_nearest_neighbor_module(
    weights=None, *, embeddings, labels, learn_temperature=False, **options
):
    if learn_temperature:
        logarithm = np.clip(weights["log_inverse_temperature"], -32, 32)
        options["temperature"] = np.exp(-logarithm)
    return soft_nearest_neighbor_loss(embeddings, labels, **options)


LABELS = np.array([0, 1, 0, 2, 1, 0, 3, 2, 1, 0, 2])  # the 3 is a singleton
BATCH = {"embeddings": normal(11, 5, seed=1), "labels": LABELS}
FAR = {"embeddings": 1e3 * normal(11, 5, seed=2), "labels": LABELS}
# All pairs are as far apart, so that the loss is the logarithm of two counts.
SIMPLEX = {"embeddings": 1e3 * np.eye(8), "labels": np.array([0, 1, 0, 2, 1, 0, 1, 0])}
DUPLICATES = {"embeddings": np.repeat(normal(4, 5, seed=3), [2, 3, 1, 5], axis=0), "labels": LABELS}
SINGLETONS = {"embeddings": normal(5, 3, seed=4), "labels": np.arange(5)}
ONE_CLASS = {"embeddings": normal(5, 3, seed=4), "labels": np.zeros(5, int)}
WITH_NAN = BATCH | {
    "embeddings": np.where(np.arange(55).reshape(11, 5) == 7, np.nan, FAR["embeddings"])
}
PIXELS, NUMBERS = digits(17)
# The middle of each image: every entry is moved for a difference of the reference.
PIXELS = PIXELS.reshape(17, 8, 8)[:, 2:6, 2:6].reshape(17, 16)
DIGITS = {"embeddings": PIXELS, "labels": NUMBERS}
COLD = {"temperature": 1e-2}
CENTRED = BATCH["embeddings"] - BATCH["embeddings"].mean(axis=0)
RADIUS = float((CENTRED**2).sum(axis=1).max())


def with_long_steps(case):
    """Differences of what is nearly linear: the rounding of short ones would be the gradient."""
    from fourfold.measure import differences

    held = Operation("held", soft_nearest_neighbor_loss, ())
    return differences(held, case, {"output": np.zeros(len(case.inputs["embeddings"]))}, step=1.0)


CASES = (
    *(
        Case(f"{distance}, {reduction}", BATCH, {"distance": distance, "reduction": reduction})
        for distance in ("cosine", "sqeuclidean", "euclidean")
        for reduction in ("mean", "sum", "none")
    ),
    Case("temperature", BATCH, {"temperature": 3.0}),
    Case(
        "huge temperature",
        BATCH,
        {"temperature": 1e9, "reduction": "none"},
        gradients=with_long_steps,
    ).vanishes("gradient:embeddings"),
    Case("tiny temperature", BATCH, {"temperature": 1e-6}),
    # The fast way is for points within ‖x‖² / T = 16 of their mean.
    *(
        Case(f"{name} fast way", BATCH, {"temperature": RADIUS / ratio, "reduction": "none"})
        for name, ratio in (("just within the", 15.9), ("just beyond the", 16.1))
    ),
    Case("digits", DIGITS, {"temperature": 2.0}),
    Case("digits, euclidean", DIGITS, {"distance": "euclidean", "reduction": "none"}),
    Case("far apart", FAR, COLD),
    Case("far apart, none", FAR, {**COLD, "reduction": "none"}),
    # Differences of the sums at 1e8 would not be differences of the loss.
    Case("equally far apart", SIMPLEX, {**COLD, "reduction": "none"}, differentiate=False),
    Case("equally far apart, blocks", SIMPLEX, {**COLD, "block_size": 4}, differentiate=False),
    Case("duplicates", DUPLICATES, {"reduction": "none"}),
    Case(
        "only duplicates",
        {"embeddings": np.ones((5, 3)), "labels": LABELS[:5]},
        {"distance": "euclidean"},
        flat={"embeddings": ...},
    ),
    Case("only singletons", SINGLETONS, flat={"embeddings": ...}),
    Case("only singletons, none", SINGLETONS, {"reduction": "none"}, flat={"embeddings": ...}),
    Case("one class", ONE_CLASS, flat={"embeddings": ...}),
    Case("one point", {"embeddings": normal(1, 3, seed=5), "labels": np.array([4])}),
    Case("zero vectors", BATCH | {"embeddings": np.zeros((11, 5))}, {"distance": "cosine"}),
    Case("nan", WITH_NAN, {"reduction": "none"}, differentiate=False),
    Case(
        "nan, only singletons",
        SINGLETONS | {"embeddings": SINGLETONS["embeddings"] * np.nan},
        differentiate=False,
    ),
    *(
        Case(f"blocks of {size}", BATCH, {"block_size": size, "reduction": "none"})
        for size in (1, 4, 11, 30)
    ),
    Case(
        "blocks that fit",
        DIGITS | {"embeddings": PIXELS[:15], "labels": NUMBERS[:15]},
        {"block_size": 5},
    ),
    *(
        Case(f"blocks, {distance}", BATCH, {"block_size": 3, "distance": distance})
        for distance in ("cosine", "euclidean")
    ),
    Case("blocks, far apart", FAR, {**COLD, "block_size": 3}),
    Case("blocks, only singletons", SINGLETONS, {"block_size": 2}, flat={"embeddings": ...}),
    Case("blocks, nan", WITH_NAN, {"block_size": 4, "reduction": "none"}, differentiate=False),
)


def learned(name, inputs, inverse_temperature=0.7, gradients=None, **options):
    weights = {"log_inverse_temperature": np.array(np.log(inverse_temperature))}
    options["learn_temperature"] = True
    return Case(name, inputs, options, weights, gradients=gradients)


def of_the_means(case):
    """Gradients of the first order in 1/T: those of mean D to positives − mean D to all others.

    Differences would move the loss, which is log(others / positives), by less than its rounding.
    """
    x, labels = case.inputs["embeddings"], case.inputs["labels"]
    gradient = np.zeros_like(x)
    for anchor, weight in enumerate(upstream(labels.shape)):
        others = np.arange(len(labels)) != anchor
        positives = others & (labels == labels[anchor])
        if positives.any():
            share = positives / positives.sum() - others / others.sum()
            slopes = 2 * weight * np.exp(-32.0) * share[:, None] * (x[anchor] - x)
            gradient[anchor] += slopes.sum(axis=0)
            gradient -= slopes
    return {"embeddings": gradient, "log_inverse_temperature": np.zeros(())}  # beyond its bound


LEARNED_CASES = (
    learned("learned", BATCH),
    learned("learned, far apart", FAR, 90.0),
    learned("learned, digits", DIGITS, distance="euclidean", reduction="none"),
    learned("learned, blocks", BATCH, block_size=4, distance="cosine"),
    learned("learned, only singletons", SINGLETONS, reduction="sum"),
    learned("learned, as cold as it gets", FAR, np.exp(40.0), distance="cosine"),
    learned(
        "learned, as hot as it gets",
        BATCH,
        np.exp(-40.0),
        gradients=of_the_means,
        reduction="none",
    ).vanishes("gradient:embeddings"),
)
SEVEN = np.arange(7)
SEVERAL = np.arange(44).reshape(11, 4) % 5 % 3 == 1  # some rows have no label
SAME = np.arange(121).reshape(11, 11) % 7 % 3 == 0
REFERENCE = BATCH | {"reference": normal(13, 5, seed=11), "reference_labels": np.arange(13) % 3}
PAIR_CASES = (
    Case("reference", REFERENCE),
    Case(
        "reference, the anchors themselves",
        BATCH | {"reference": BATCH["embeddings"], "reference_labels": LABELS},
        {"temperature": 3.0, "reduction": "sum"},
        differentiate=False,
    ),
    Case(
        "reference, blocks of 4",
        REFERENCE,
        {"distance": "euclidean", "reduction": "none", "block_size": 4},
    ),
    Case(
        "reference without positives",
        REFERENCE | {"reference_labels": np.arange(13) + 7},
        flat={"embeddings": ..., "reference": ...},
    ),
    Case("several labels", BATCH | {"labels": SEVERAL}, {"distance": "cosine"}),
    Case(
        "several labels, reference",
        REFERENCE | {"labels": SEVERAL, "reference_labels": SEVERAL[[*range(11), 0, 1]]},
        {"block_size": 3, "reduction": "none"},
    ),
    Case(
        "compared by the caller",
        {"embeddings": BATCH["embeddings"], "same": SAME},
        {"labels": None, "block_size": 11},
    ),
)
BAD_OPTIONS = (
    BadInput({"temperature": 0.0}),
    BadInput({"temperature": -1.0}),
    BadInput({"temperature": float("inf")}),
    BadInput({"distance": "manhattan"}),
    BadInput({"reduction": "median"}),
    BadInput({"block_size": 0}),
    BadInput({"block_size": 2.0}, TypeError),
)

DEFINITION = Definition(
    "soft_nearest_neighbor_loss",
    operations=(
        Operation(
            "soft_nearest_neighbor_loss",
            soft_nearest_neighbor_loss,
            (*CASES, *PAIR_CASES),
            bad_inputs=(
                *BAD_OPTIONS,
                *(
                    BadInput(changes, error, inputs=("reference", "reference_labels", "same"))
                    for changes, error in (
                        ({"labels": None}, ValueError),
                        ({"same": SAME}, ValueError),
                        ({"same": SAME[:, :7], "labels": None}, ValueError),
                        ({"labels": SEVERAL[:10]}, ValueError),
                        ({"reference": np.ones((7, 3)), "reference_labels": SEVEN}, ValueError),
                        ({"reference": np.ones((7, 5), int), "reference_labels": SEVEN}, TypeError),
                        ({"reference_labels": SEVEN}, ValueError),
                    )
                ),
                BadInput({"embeddings": np.ones((11, 5), int)}, TypeError),
                BadInput({"embeddings": np.ones(11)}),
                BadInput({"embeddings": np.ones((0, 5)), "labels": LABELS[:0]}),
                BadInput({"labels": LABELS / 2}, TypeError),
                BadInput({"labels": LABELS[:10]}),
                BadInput({"labels": LABELS[:, None]}),
            ),
        ),
        Operation(
            "SoftNearestNeighborLoss", soft_nearest_neighbor_module, CASES, bad_inputs=BAD_OPTIONS
        ),
        Operation(
            "SoftNearestNeighborLoss",
            soft_nearest_neighbor_module,
            LEARNED_CASES,
            bad_inputs=(
                BadInput({"embeddings": BATCH["embeddings"].astype("float16")}, TypeError),
            ),
        ),
    ),
    mutants=(
        Mutant(
            "a point as its own neighbor",
            "soft_nearest_neighbor_loss",
            "sqeuclidean, mean",
            {
                "pytorch_impl": ("N.diagonal(first).zero_()", ""),
                "tf2_impl": ("tf.zeros_like(rows, x.dtype)", "tf.ones_like(rows, x.dtype)"),
                "theano_impl": (
                    "T.switch(T.eq(rows[:, None], T.arange(keys.shape[0])), T.zeros_like(N), N)",
                    "N",
                ),
            },
            "fast.soft_nearest_neighbor_loss",
        ),
        Mutant(
            "itself known by distance zero",
            "soft_nearest_neighbor_loss",
            "duplicates",
            {
                "pytorch_impl": (
                    "N.diagonal(first).zero_()",
                    "N.masked_fill_((keys[:, block, None] == keys[:, None]).all(0), 0)",
                ),
                "tf2_impl": (
                    "tf.tensor_scatter_nd_update(N, itself, tf.zeros_like(rows, x.dtype))",
                    "N * tf.cast(tf.reduce_any(tf.gather(x, rows)[:, None] != x, 2), x.dtype)",
                ),
                "theano_impl": (
                    "T.eq(rows[:, None], T.arange(keys.shape[0]))",
                    "T.ge(N, 0.999999)",
                ),
            },
            "fast.soft_nearest_neighbor_loss",
        ),
        Mutant(
            "index within the block",
            "soft_nearest_neighbor_loss",
            "blocks of 4",
            {
                "pytorch_impl": (
                    "N.diagonal(first).zero_()",
                    "N.diagonal().zero_()",
                ),
                "tf2_impl": (
                    "tf.range(tf.shape(rows)[0]), rows]",
                    "tf.range(tf.shape(rows)[0]), tf.range(tf.shape(rows)[0])]",
                ),
                "theano_impl": (
                    "T.switch(T.eq(rows[:, None]",
                    "T.switch(T.eq(T.arange(rows.shape[0])[:, None]",
                ),
            },
            "fast.soft_nearest_neighbor_loss",
        ),
        Mutant(
            "mean over all anchors",
            "soft_nearest_neighbor_loss",
            "cosine, mean",
            {
                "pytorch_impl": ("ordered[1:] == ordered[:-1]", "ordered[1:] >= 0"),
                "tf2_impl": ("ordered[1:] == ordered[:-1]", "ordered[1:] >= 0"),
                "theano_impl": ("sizes[classes] > 1", "sizes[classes] > 0"),
            },
            "support.soft_neighbors",
        ),
        Mutant(
            "a plain sum",
            "soft_nearest_neighbor_loss",
            "far apart",
            {
                "pytorch_impl": (
                    "logits.masked_fill(~others, -math.inf).logsumexp(1)",
                    "logits.masked_fill(~others, -math.inf).exp().sum(1).log()",
                ),
                "tf2_impl": (
                    "tf.reduce_logsumexp(tf.where(others, logits, -infinity), axis=1)",
                    "tf.math.log(tf.reduce_sum(tf.exp(tf.where(others, logits, -infinity)), 1))",
                ),
                "theano_impl": (
                    "_log_sum_exp(T.switch(others, logits, -infinity))",
                    "T.log(T.sum(T.switch(others, T.exp(logits), 0), axis=1))",
                ),
            },
        ),
        Mutant(
            "the anchor left out of a reference",
            "soft_nearest_neighbor_loss",
            "reference",
            {
                "pytorch_impl": (
                    "positive[rows] | negative[rows]",
                    "rows[:, None] != torch.arange(len(reference))",
                ),
                "tf2_impl": (
                    "positives | negatives",
                    "tf.linalg.set_diag(positives | negatives, tf.zeros(tf.shape(rows), tf.bool))",
                ),
                "theano_impl": (
                    "positive[rows] | negative[rows]",
                    "T.neq(rows[:, None], T.arange(reference.shape[0]))",
                ),
            },
            "support.soft_neighbors",
        ),
        Mutant(
            "digits lost in the difference",
            "soft_nearest_neighbor_loss",
            "equally far apart",
            {
                "pytorch_impl": ("(nearest - D) / temperature", "-D / temperature"),
                "tf2_impl": ("(nearest - D) / temperature", "-D / temperature"),
                "theano_impl": ("(nearest - D) / temperature", "-D / temperature"),
            },
        ),
        Mutant(
            "times the temperature",
            "soft_nearest_neighbor_loss",
            "temperature",
            {
                "pytorch_impl": ("= 1 / temperature", "= temperature"),
                "tf2_impl": ("-ones], 1) / temperature", "-ones], 1) * temperature"),
                "theano_impl": ("-ones], axis=1) / temperature", "-ones], axis=1) * temperature"),
            },
            "fast.soft_nearest_neighbor_loss",
        ),
        Mutant(
            "learned temperature for its inverse",
            "SoftNearestNeighborLoss",
            "learned",
            {
                "pytorch_impl": ("1 / self.inverse_temperature", "self.inverse_temperature"),
                "tf2_impl": ("1 / self.inverse_temperature", "self.inverse_temperature"),
                "theano_impl": ("1 / self.inverse_temperature", "self.inverse_temperature"),
            },
            "support.learned_temperature",
        ),
        Mutant(
            "a temperature without a limit",
            "SoftNearestNeighborLoss",
            "learned, as cold as it gets",
            {
                "pytorch_impl": (".clamp(-LARGEST_LOG, LARGEST_LOG)", ""),
                "tf2_impl": (
                    "tf.clip_by_value(logarithm, -LARGEST_LOG, LARGEST_LOG)",
                    "logarithm",
                ),
                "theano_impl": ("T.clip(logarithm, -limit, limit)", "logarithm"),
            },
            "support.learned_temperature",
        ),
    ),
)
