"""Definition of the triplet losses: every hinge by itself."""

from __future__ import annotations

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation, upstream
from shared_tests.components.distances import paired_distances, pairwise_distances
from shared_tests.fixtures import digits, normal


def hinge(violation, soft_margin):
    return np.logaddexp(0, violation) if soft_margin else np.maximum(0, violation)


def triplet_loss(
    anchor,
    positive,
    negative,
    margin=0.3,
    distance="cosine",
    reduction="mean",
    soft_margin=False,
    swap=False,
):
    near = paired_distances(anchor, positive, distance)
    far = paired_distances(anchor, negative, distance)
    if swap:
        far = np.minimum(far, paired_distances(positive, negative, distance))
    losses = hinge(margin + near - far, soft_margin)
    return {"mean": losses.mean(), "sum": losses.sum(), "none": losses}[reduction]


def all_triplets_loss(
    embeddings, labels, margin=0.3, distance="cosine", reduction="mean", soft_margin=False
):
    distances = pairwise_distances(embeddings, embeddings, distance)
    same = labels[:, None] == labels
    positive = same & ~np.eye(len(labels), dtype=bool)
    valid = positive[:, :, None] & ~same[:, None, :]
    violation = margin + distances[:, :, None] - distances[:, None, :]
    active = valid & (soft_margin | (violation > 0))
    sums = np.where(valid, hinge(violation, soft_margin), 0).sum(axis=(1, 2))
    return {
        "mean": sums.sum() / max(valid.sum(), 1),
        "active": sums.sum() / max(active.sum(), 1),
        "sum": sums.sum(),
        "none": sums,
    }[reduction]


DISTANCES = ("cosine", "sqeuclidean", "euclidean")
TRIPLET = {
    name: normal(5, 7, seed=seed) for seed, name in enumerate(("anchor", "positive", "negative"))
}
# By sqeuclidean distance and margin 1: met exactly, met with room, violated.
KINK = {
    "anchor": np.zeros((3, 2)),
    "positive": np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]]),
    "negative": np.array([[1.0, 1.0], [3.0, 0.0], [0.0, 1.0]]),
}
FAR = {
    "anchor": np.zeros((3, 2)),
    "positive": np.array([[50.0, 50.0], [1.0, 0.0], [5.0, 2.0]]),
    "negative": np.array([[1.0, 0.0], [50.0, 50.0], [1.0, 3.0]]),
}
# Each negative is as far from its anchor as from its positive.
HALFWAY = {
    "anchor": np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 3.0]]),
    "positive": np.array([[2.0, 0.0], [1.0, 5.0], [4.0, 3.0]]),
    "negative": np.array([[1.0, 1.0], [2.0, 3.0], [2.0, 4.0]]),
}


def from_the_anchor(case):
    """The gradients of Σ w (margin + ‖a − p‖² − ‖a − n‖²)."""
    anchor, positive, negative = case.inputs.values()
    weights = 2 * upstream((len(anchor),))[:, None]
    return {
        "anchor": weights * (negative - positive),
        "positive": weights * (positive - anchor),
        "negative": weights * (anchor - negative),
    }


EQUAL = dict.fromkeys(("anchor", "positive", "negative"), normal(3, 5, seed=4))
PIXELS, NUMBERS = digits(33)
DIGITS = {"anchor": PIXELS[:11], "positive": PIXELS[11:22], "negative": PIXELS[22:]}
LABELS = np.array([0, 1, 0, 2, 1, 0, 3, 2, 1, 0, 2])
BATCH = {"embeddings": normal(11, 5, seed=5), "labels": LABELS}
# Whole numbers, so that many margins are met exactly, whatever is subtracted first.
GRID = {"embeddings": np.random.default_rng(6).integers(0, 4, (11, 3)) / 1.0, "labels": LABELS}
DUPLICATES = {"embeddings": np.repeat(normal(4, 5, seed=7), [2, 3, 1, 5], axis=0), "labels": LABELS}
# More rows than PyTorch's plain way takes, and than it compares at a time.
# None of their margins is met within the steps of the differences.
MANY = {"embeddings": normal(37, 3, seed=2134), "labels": np.arange(37) * 7 % 17}
MANY_ON_GRID = {
    "embeddings": np.random.default_rng(10).integers(0, 4, (37, 3)) / 1.0,
    "labels": np.arange(37) ** 2 % 7,
}
SINGLETONS = {"embeddings": normal(5, 3, seed=8), "labels": np.arange(5)}
ONE_CLASS = {"embeddings": normal(5, 3, seed=8), "labels": np.zeros(5, int)}


def each(distances, reductions, inputs):
    """A case for every distance and reduction."""
    return tuple(
        Case(f"{distance}, {reduction}", inputs, {"distance": distance, "reduction": reduction})
        for distance in distances
        for reduction in reductions
    )


TRIPLET_CASES = (
    *each(DISTANCES, ("mean", "sum", "none"), TRIPLET),
    Case("digits", DIGITS, {"distance": "sqeuclidean", "margin": 5.0}),
    Case("margin zero", TRIPLET, {"margin": 0.0}),
    *(
        Case(
            f"soft margin, {distance}",
            TRIPLET,
            {"distance": distance, "margin": 0.0, "reduction": "none", "soft_margin": True},
        )
        for distance in DISTANCES
    ),
    *(
        Case(
            f"swap, {distance}",
            TRIPLET,
            {"distance": distance, "margin": 1.0, "reduction": "none", "swap": True},
        )
        for distance in DISTANCES
    ),
    Case("swap, soft margin", TRIPLET, {"margin": 0.0, "soft_margin": True, "swap": True}),
    Case(
        "swap, ties",
        HALFWAY,
        {"distance": "sqeuclidean", "margin": 1.0, "reduction": "none", "swap": True},
        gradients=from_the_anchor,
    ),
    # v from −5000 to 5000: exp(v) overflows, and log(1 + exp(v)) is v, or nothing.
    Case(
        "soft margin, far apart",
        FAR,
        {"distance": "sqeuclidean", "margin": 0.25, "reduction": "none", "soft_margin": True},
    ),
    # v from 20.25 to 22.25, where log(1 + exp(v)) is nearly v.
    Case(
        "soft margin, nearly linear",
        {
            "anchor": np.zeros((3, 2)),
            "positive": np.array([[5.0, 1.0], [5.0, 2.0], [3.0, 4.0]]),
            "negative": np.array([[2.0, 1.0], [1.0, 2.5], [1.0, 2.0]]),
        },
        {"distance": "sqeuclidean", "margin": 0.25, "reduction": "none", "soft_margin": True},
    ),
    Case(
        "soft margin met exactly",
        KINK,
        {"distance": "sqeuclidean", "margin": 1.0, "reduction": "none", "soft_margin": True},
    ),
    Case("batch of one", {name: value[:1] for name, value in TRIPLET.items()}),
    Case(
        "margin met exactly",
        KINK,
        {"distance": "sqeuclidean", "margin": 1.0, "reduction": "none"},
        flat={"anchor": slice(2), "positive": slice(2), "negative": slice(2)},
    ),
    Case(
        "equal vectors",
        EQUAL,
        {"distance": "euclidean"},
        flat={"anchor": ..., "positive": ..., "negative": ...},
    ),
    Case(
        "zero vectors", dict.fromkeys(TRIPLET, np.zeros((2, 3))), flat=dict.fromkeys(TRIPLET, ...)
    ),
    Case(
        "nan",
        TRIPLET | {"negative": TRIPLET["negative"] * np.nan},
        {"reduction": "none"},
        differentiate=False,
    ),
)
BAD_OPTIONS = (
    BadInput({"margin": -0.1}),
    BadInput({"margin": float("inf")}),
    BadInput({"distance": "manhattan"}),
    BadInput({"reduction": "median"}),
    BadInput({"soft_margin": "no"}, TypeError),
)
BAD_ROW_OPTIONS = (*BAD_OPTIONS, BadInput({"swap": 1}, TypeError))

DEFINITION = Definition(
    "triplet_loss",
    operations=(
        Operation(
            "triplet_loss",
            triplet_loss,
            TRIPLET_CASES,
            bad_inputs=(
                *BAD_ROW_OPTIONS,
                BadInput({"anchor": np.ones((5, 7), int)}, TypeError),
                BadInput({"anchor": np.ones(7)}),
                BadInput(
                    {
                        "anchor": np.ones((0, 7)),
                        "positive": np.ones((0, 7)),
                        "negative": np.ones((0, 7)),
                    }
                ),
                BadInput({"positive": TRIPLET["positive"][:4]}),
                BadInput({"negative": TRIPLET["negative"][:, :5]}),
                BadInput({"negative": TRIPLET["negative"].astype("float16")}, TypeError),
            ),
        ),
        Operation("TripletLoss", triplet_loss, TRIPLET_CASES, bad_inputs=BAD_ROW_OPTIONS),
        Operation(
            "all_triplets_loss",
            all_triplets_loss,
            cases=(
                *each(DISTANCES, ("mean", "active", "sum", "none"), BATCH),
                Case(
                    "digits",
                    {"embeddings": PIXELS[:17], "labels": NUMBERS[:17]},
                    {"distance": "euclidean"},
                ),
                Case(
                    "margins met exactly",
                    GRID,
                    {"distance": "sqeuclidean", "margin": 2.0, "reduction": "active"},
                    differentiate=False,
                ),
                Case(
                    "duplicates",
                    DUPLICATES,
                    {"distance": "sqeuclidean", "margin": 0.0, "reduction": "active"},
                    differentiate=False,
                ),
                Case("many rows", MANY, {"distance": "euclidean", "reduction": "active"}),
                Case("many rows, anchors", MANY, {"reduction": "none"}),
                Case(
                    "many rows, margins met exactly",
                    MANY_ON_GRID,
                    {"distance": "sqeuclidean", "margin": 2.0, "reduction": "active"},
                    differentiate=False,
                ),
                *(
                    Case(
                        f"soft margin, {distance}",
                        BATCH,
                        {"distance": distance, "margin": 0.0, "soft_margin": True},
                    )
                    for distance in DISTANCES
                ),
                # Every triplet is active.
                Case(
                    "soft margin, active",
                    BATCH,
                    {"distance": "euclidean", "reduction": "active", "soft_margin": True},
                ),
                Case(
                    "soft margin, many rows",
                    MANY,
                    {"distance": "euclidean", "reduction": "none", "soft_margin": True},
                ),
                Case(
                    "soft margin, no negative",
                    ONE_CLASS,
                    {"soft_margin": True},
                    flat={"embeddings": ...},
                ),
                Case("no positive", SINGLETONS, flat={"embeddings": ...}),
                Case("no negative", ONE_CLASS, {"reduction": "active"}, flat={"embeddings": ...}),
            ),
            bad_inputs=(
                *BAD_OPTIONS,
                BadInput({"embeddings": np.ones((11, 5), int)}, TypeError),
                BadInput({"embeddings": np.ones(11)}),
                BadInput({"embeddings": np.ones((0, 5)), "labels": LABELS[:0]}),
                BadInput({"labels": LABELS / 2}, TypeError),
                BadInput({"labels": LABELS[:10]}),
                BadInput({"labels": LABELS[:, None]}),
            ),
        ),
    ),
    mutants=(
        Mutant(
            "gradient where the margin is met exactly",
            "triplet_loss",
            "margin met exactly",
            {
                "pytorch_impl": (
                    "torch.relu(violation)",
                    "violation.clamp_min(0)",
                ),
                "tf2_impl": (
                    "tf.nn.relu(violation)",
                    "tf.maximum(violation, 0)",
                ),
                "theano_impl": (
                    "T.switch(violation <= 0, T.zeros_like(violation), violation)",
                    "T.nnet.relu(violation)",
                ),
            },
        ),
        Mutant(
            "the gradient of a tie not to the anchor's distance alone",
            "triplet_loss",
            "swap, ties",
            {
                "pytorch_impl": (
                    "torch.where(swapped < far, swapped, far)",
                    "torch.minimum(swapped, far)",
                ),
                "tf2_impl": ("swapped < far", "swapped <= far"),
                "theano_impl": ("T.switch(swapped < far, swapped, far)", "T.minimum(swapped, far)"),
            },
        ),
        Mutant(
            "the distance of the positive from the anchor swapped in",
            "triplet_loss",
            "swap, cosine",
            {
                "pytorch_impl": ("(positive, negative, dist", "(positive, anchor, dist"),
                "tf2_impl": ("(positive, negative, dist", "(positive, anchor, dist"),
                "theano_impl": ("(positive, negative, dist", "(positive, anchor, dist"),
            },
        ),
        Mutant(
            "near and far swapped",
            "triplet_loss",
            "cosine, mean",
            {
                "pytorch_impl": ("margin + near - far", "margin - near + far"),
                "tf2_impl": ("margin + near - far", "margin - near + far"),
                "theano_impl": ("+ near - far", "- near + far"),
            },
        ),
        Mutant(
            "an anchor as its own positive",
            "all_triplets_loss",
            "many rows",
            {
                "pytorch_impl": (
                    "related & others, ~related & others",
                    "related, ~related & others",
                ),
                "tf2_impl": (
                    "related & others, ~related & others",
                    "related, ~related & others",
                ),
                "theano_impl": (
                    "related & others, unrelated & others",
                    "related, unrelated & others",
                ),
            },
            file="support.labels",
        ),
        Mutant(
            "padding as a positive",
            "all_triplets_loss",
            "many rows",
            {
                "pytorch_impl": (
                    "masked_fill(~is_positive, -math.inf)",
                    "masked_fill(positives < 0, -math.inf)",
                )
            },
            file="fast.triplet_loss",
        ),
        Mutant(
            "a soft margin that overflows",
            "triplet_loss",
            "soft margin, far apart",
            {
                "pytorch_impl": ("F.softplus(v, threshold=40)", "v.exp().log1p()"),
                "tf2_impl": ("tf.math.softplus(v)", "tf.math.log1p(tf.exp(v))"),
                "theano_impl": ("T.nnet.softplus(v)", "T.log(T.sqr(T.exp(v / 2)) + 1)"),
            },
            file="support.soft_margin",
        ),
        Mutant(
            "softplus linear too early",
            "triplet_loss",
            "soft margin, nearly linear",
            {"pytorch_impl": (", threshold=40", "")},
            file="support.soft_margin",
        ),
        Mutant(
            "a soft margin over all pairs of rows",
            "all_triplets_loss",
            "soft margin, many rows",
            {
                "pytorch_impl": ("p[:, :, None] & n[:, None, :]", "n[:, None, :]"),
                "tf2_impl": ("p[:, :, None] & n[:, None, :]", "n[:, None, :]"),
                "theano_impl": ("p[:, :, None] & n[:, None, :]", "n[:, None, :]"),
            },
            file="support.soft_margin",
        ),
        Mutant(
            "ties decided by rounding",
            "all_triplets_loss",
            "many rows, margins met exactly",
            {
                "pytorch_impl": ("margin - tolerance", "margin + tolerance"),
                "tf2_impl": ("margin - tolerance", "margin + tolerance"),
                "theano_impl": ("margin - tolerance", "margin + tolerance"),
            },
            file="fast.triplet_loss",
        ),
        Mutant(  # few rows: the other packages sort these too
            "ties decided by rounding among few rows",
            "all_triplets_loss",
            "margins met exactly",
            {"pytorch_impl": ("d + margin - tolerance", "d + margin + tolerance")},
        ),
        Mutant(
            "mean over all instead of active",
            "all_triplets_loss",
            "euclidean, active",
            {
                "pytorch_impl": (
                    'if reduction == "active" else valid',
                    'if reduction == "mean" else valid',
                ),
                "tf2_impl": (
                    'if reduction == "active" else valid',
                    'if reduction == "mean" else valid',
                ),
                "theano_impl": (
                    'if reduction == "active" else valid',
                    'if reduction == "mean" else valid',
                ),
            },
        ),
    ),
)
