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


def class_pairs(labels, reference_labels, same):
    """Whether each row of the reference is a positive of each anchor, and whether a negative.

    Without labels of a reference, nor a comparison by the caller, of the batch itself.
    """
    if same is None:
        others = labels if reference_labels is None else reference_labels
        if labels.ndim == 2:
            same = (labels[:, None] & others).any(axis=2)
        else:
            same = labels[:, None] == others
    return same, ~same


def all_triplets_loss(
    embeddings,
    labels,
    margin=0.3,
    distance="cosine",
    reduction="mean",
    soft_margin=False,
    reference=None,
    reference_labels=None,
    same=None,
):
    positive, negative = class_pairs(labels, reference_labels, same)
    if reference is None:
        reference = embeddings
        others = ~np.eye(len(embeddings), dtype=bool)
        positive, negative = positive & others, negative & others
    distances = pairwise_distances(embeddings, reference, distance)
    valid = positive[:, :, None] & negative[:, None, :]
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
# Row 0 shares a label with row 1 and row 1 with row 2, but row 0 none with row 2; row 5 has none.
SEVERAL = np.random.default_rng(11).random((11, 4)) < 0.35
SEVERAL[:3] = [[1, 0, 0, 1], [1, 1, 0, 0], [0, 1, 1, 0]]
SEVERAL[5] = False
SAME = np.random.default_rng(12).random((11, 11)) < 0.4  # neither symmetric nor transitive
REFERENCE = {
    "embeddings": normal(7, 5, seed=13),
    "labels": np.arange(7) % 4,
    "reference": normal(13, 5, seed=14),
    "reference_labels": np.arange(13) ** 2 % 5,
}
# More anchors than PyTorch's plain way takes, and a larger reference.
MANY_ANCHORS = {
    "embeddings": normal(29, 3, seed=15),
    "labels": np.arange(29) % 6,
    "reference": normal(7, 3, seed=16),
    "reference_labels": np.arange(7) % 3,
}
LARGE_REFERENCE = {
    "embeddings": normal(5, 3, seed=17),
    "labels": np.arange(5) % 4,
    "reference": normal(31, 3, seed=18),
    "reference_labels": np.arange(31) ** 2 % 7,
}
MANY_SEVERAL = {
    "embeddings": normal(26, 3, seed=19),
    "labels": np.random.default_rng(20).random((26, 7)) < 0.15,
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
SEVEN = REFERENCE["reference"][:7]


def bad_class(changes, error=ValueError):
    """Bad input among which there may be arrays that a good case does without."""
    return BadInput(changes, error, inputs=("reference", "reference_labels", "same"))


BAD_CLASSES = (
    bad_class({"labels": None}),
    bad_class({"labels": SEVERAL[:10]}),
    bad_class({"labels": SEVERAL[:, 0]}, TypeError),
    bad_class({"same": SAME}),
    bad_class({"same": SAME * 1.0, "labels": None}, TypeError),
    bad_class({"same": SAME[0], "labels": None}),
    bad_class({"same": SAME[:10], "labels": None}),
    bad_class({"same": SAME[:, :7], "labels": None}),
    bad_class({"reference": np.ones((7, 5), int), "reference_labels": np.arange(7)}, TypeError),
    bad_class({"reference": np.ones(7), "reference_labels": np.arange(7)}),
    bad_class({"reference": np.ones((0, 5)), "reference_labels": np.arange(0)}),
    bad_class({"reference": np.ones((7, 3)), "reference_labels": np.arange(7)}),
    bad_class(
        {"reference": np.ones((7, 5), "float16"), "reference_labels": np.arange(7)}, TypeError
    ),
    bad_class({"reference_labels": np.arange(7)}),
    bad_class({"reference_labels": None, "reference": SEVEN}),
    bad_class({"reference_labels": np.arange(6), "reference": SEVEN}),
    bad_class({"reference_labels": np.arange(7, dtype="int32"), "reference": SEVEN}, TypeError),
    bad_class({"reference_labels": SEVERAL[:7], "reference": SEVEN}, TypeError),
    bad_class(
        {"reference_labels": np.arange(7), "same": SAME[:, :7], "reference": SEVEN}
        | {"labels": None}
    ),
)
DIGITS_CASE = Case(
    "digits", {"embeddings": PIXELS[:17], "labels": NUMBERS[:17]}, {"distance": "euclidean"}
)
NO_TRIPLETS = (
    Case("no positive", SINGLETONS, flat={"embeddings": ...}),
    Case("no negative", ONE_CLASS, {"reduction": "active"}, flat={"embeddings": ...}),
)

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
            "AllTripletsLoss",
            all_triplets_loss,
            cases=(
                *each(("cosine",), ("mean", "active", "sum", "none"), BATCH),
                DIGITS_CASE,
                Case("many rows", MANY, {"distance": "euclidean", "reduction": "active"}),
                Case(
                    "soft margin",
                    BATCH,
                    {"distance": "euclidean", "margin": 0.0, "soft_margin": True},
                ),
                Case("reference", REFERENCE, {"distance": "euclidean", "reduction": "active"}),
                Case(
                    "compared by the caller",
                    {
                        "embeddings": BATCH["embeddings"],
                        "labels": None,
                        "reference": None,
                        "reference_labels": None,
                        "same": SAME,
                    },
                ),
                *NO_TRIPLETS,
            ),
            bad_inputs=BAD_OPTIONS,
        ),
        Operation(
            "all_triplets_loss",
            all_triplets_loss,
            cases=(
                *each(DISTANCES, ("mean", "active", "sum", "none"), BATCH),
                DIGITS_CASE,
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
                *(
                    Case(
                        f"reference, {distance}",
                        REFERENCE,
                        {"distance": distance, "reduction": reduction},
                    )
                    for distance, reduction in zip(
                        DISTANCES, ("mean", "active", "none"), strict=True
                    )
                ),
                Case("reference, many anchors", MANY_ANCHORS, {"distance": "euclidean"}),
                Case("large reference", LARGE_REFERENCE, {"distance": "euclidean"}),
                Case(
                    "reference, soft margin",
                    REFERENCE,
                    {"distance": "euclidean", "margin": 0.0, "soft_margin": True},
                ),
                Case(
                    "large reference without positives",
                    LARGE_REFERENCE | {"reference_labels": np.arange(31) + 7},
                    flat={"embeddings": ..., "reference": ...},
                ),
                Case("several labels", BATCH | {"labels": SEVERAL}, {"reduction": "none"}),
                Case("several labels, many rows", MANY_SEVERAL, {"distance": "euclidean"}),
                Case(
                    "several labels, soft margin",
                    BATCH | {"labels": SEVERAL},
                    {"distance": "sqeuclidean", "soft_margin": True},
                ),
                Case(
                    "several labels, reference",
                    REFERENCE
                    | {"labels": SEVERAL[:7], "reference_labels": SEVERAL[[*range(11), 0, 1]]},
                    {"distance": "euclidean", "reduction": "active"},
                ),
                Case(
                    "compared by the caller",
                    {"embeddings": BATCH["embeddings"], "same": SAME},
                    {"labels": None, "reduction": "none"},
                ),
                Case(
                    "compared by the caller, reference",
                    {
                        "embeddings": BATCH["embeddings"],
                        "reference": REFERENCE["reference"],
                        "same": np.concatenate([SAME, ~SAME[:, 3:5]], axis=1),
                    },
                    {"labels": None, "distance": "euclidean"},
                ),
                *NO_TRIPLETS,
            ),
            bad_inputs=(
                *BAD_OPTIONS,
                BadInput({"embeddings": np.ones((11, 5), int)}, TypeError),
                BadInput({"embeddings": np.ones(11)}),
                BadInput({"embeddings": np.ones((0, 5)), "labels": LABELS[:0]}),
                BadInput({"labels": LABELS / 2}, TypeError),
                BadInput({"labels": LABELS[:10]}),
                BadInput({"labels": LABELS[:, None]}),
                *BAD_CLASSES,
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
                "pytorch_impl": ("positive.diagonal().fill_(False)", "positive.diagonal()"),
                "tf2_impl": ("same & others, ~same & others", "same, ~same & others"),
                "theano_impl": ("same & others, other & others", "same, other & others"),
            },
            file="support.labels",
        ),
        Mutant(
            "an anchor as its own negative",
            "all_triplets_loss",
            "compared by the caller",
            {
                "pytorch_impl": ("negative.diagonal().fill_(False)", "negative.diagonal()"),
                "tf2_impl": ("same & others, ~same & others", "same & others, ~same"),
                "theano_impl": ("same & others, other & others", "same & others, other"),
            },
            file="support.labels",
        ),
        Mutant(
            "two labels to be shared, not one",
            "all_triplets_loss",
            "several labels",
            {
                "pytorch_impl": (
                    "reference_labels.float().T > 0",
                    "reference_labels.float().T > 1",
                ),
                "tf2_impl": ("transpose_b=True) > 0", "transpose_b=True) > 1"),
                "theano_impl": ("reference_labels.T) > 0", "reference_labels.T) > 1"),
            },
            file="support.labels",
        ),
        Mutant(
            "the diagonal of a reference left out",
            "all_triplets_loss",
            "compared by the caller, reference",
            {
                "pytorch_impl": (
                    "return same, ~same",
                    "return same.clone().fill_diagonal_(False), ~same",
                ),
                "tf2_impl": (
                    "return reference, same, ~same",
                    "return reference, tf.linalg.band_part(same, 0, 0) ^ same, ~same",
                ),
                "theano_impl": (
                    "return reference, same, other",
                    "return reference, same & T.eq(T.eye(n, reference.shape[0]), 0), other",
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
            file="support.all_triplets",
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
            file="support.all_triplets",
        ),
    ),
)
