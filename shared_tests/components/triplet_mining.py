"""Definition of triplet mining: every candidate is looked at by itself."""

from __future__ import annotations

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.components.distances import paired_distances, pairwise_distances
from shared_tests.components.triplet_loss import (
    BAD_CLASSES,
    LARGE_REFERENCE,
    MANY_ANCHORS,
    MANY_SEVERAL,
    REFERENCE,
    SAME,
    SEVERAL,
    bad_class,
    class_pairs,
)
from shared_tests.fixtures import digits, normal

TIE = 1e-9  # what differs by less is equal: only rounding brings about such differences


def indices(rows, *names):
    """The columns of a list of index tuples."""
    return dict(zip(names, np.array(rows, int).reshape(-1, len(names)).T, strict=True))


def searched(embeddings, labels, distance, reference, reference_labels, same):
    """Of each anchor its number, its distances, its positives and its negatives."""
    positive, negative = class_pairs(labels, reference_labels, same)
    pool = embeddings if reference is None else reference
    for a, distances in enumerate(pairwise_distances(embeddings, pool, distance)):
        rows = np.arange(len(pool))
        rows = rows if reference is not None else rows[rows != a]
        yield a, distances, rows[positive[a, rows]], rows[negative[a, rows]]


def nearest(distances, rows):
    """Of these rows the nearest; of equally near ones the first."""
    near = distances[rows]
    return rows[np.argmax(near <= near.min() + TIE)]


def batch_hard_triplets(
    embeddings,
    labels,
    distance="cosine",
    positives="hardest",
    reference=None,
    reference_labels=None,
    same=None,
):
    triplets = []
    sign = -1 if positives == "hardest" else 1
    batch = searched(embeddings, labels, distance, reference, reference_labels, same)
    for a, distances, own, others in batch:
        if len(own) and len(others):
            triplets.append((a, nearest(sign * distances, own), nearest(distances, others)))
    return indices(triplets, "anchors", "positives", "negatives")


def semi_hard_triplets(
    embeddings,
    labels,
    margin=0.3,
    distance="cosine",
    reference=None,
    reference_labels=None,
    same=None,
):
    triplets = []
    batch = searched(embeddings, labels, distance, reference, reference_labels, same)
    for a, distances, positives, negatives in batch:
        for p in positives:
            farther = negatives[distances[negatives] > distances[p] + TIE]
            if len(farther):
                n = nearest(distances, farther)
                if distances[n] < distances[p] + margin - TIE:
                    triplets.append((a, p, n))
    return indices(triplets, "anchors", "positives", "negatives")


def loss_of_found(embeddings, reference, found, margin, distance, reduction):
    """The hinge of each triplet, added to those of its anchor."""
    pool = embeddings if reference is None else reference
    sums = np.zeros(len(embeddings))
    for a, p, n in zip(found["anchors"], found["positives"], found["negatives"], strict=True):
        anchor = embeddings[a : a + 1]
        positive, negative = pool[p : p + 1], pool[n : n + 1]
        (near,) = paired_distances(anchor, positive, distance)
        (far,) = paired_distances(anchor, negative, distance)
        sums[a] += max(0, margin + near - far)
    mean = sums.sum() / max(len(found["anchors"]), 1)
    return {"mean": mean, "sum": sums.sum(), "none": sums}[reduction]


def batch_hard_loss(
    embeddings,
    labels,
    reference=None,
    reference_labels=None,
    same=None,
    margin=0.3,
    distance="cosine",
    reduction="mean",
):
    compared = {"reference": reference, "reference_labels": reference_labels, "same": same}
    found = batch_hard_triplets(embeddings, labels, distance, **compared)
    return loss_of_found(embeddings, reference, found, margin, distance, reduction)


def semi_hard_loss(
    embeddings,
    labels,
    reference=None,
    reference_labels=None,
    same=None,
    margin=0.3,
    distance="cosine",
    reduction="mean",
):
    compared = {"reference": reference, "reference_labels": reference_labels, "same": same}
    found = semi_hard_triplets(embeddings, labels, margin, distance, **compared)
    return loss_of_found(embeddings, reference, found, margin, distance, reduction)


def triplet_statistics(
    embeddings, anchors, positives, negatives, margin=0.3, distance="cosine", reference=None
):
    pool = embeddings if reference is None else reference
    near = paired_distances(embeddings[anchors], pool[positives], distance)
    far = paired_distances(embeddings[anchors], pool[negatives], distance)
    violation = margin + near - far
    numbers = {
        "violating": violation > TIE,
        "positive_distance": near,
        "negative_distance": far,
        "hinge": np.maximum(violation, 0),
    }
    means = {name: one.sum() / len(one) if len(one) else np.nan for name, one in numbers.items()}
    return {"count": np.array(len(anchors)), **means}


def margin_violators(
    anchor, positive, pool, margin=0.3, distance="cosine", limit=None, block_size=4096
):
    violators = []
    near = paired_distances(anchor, positive, distance)
    for a, distances in enumerate(pairwise_distances(anchor, pool, distance)):
        left = [j for j in range(len(pool)) if margin + near[a] - distances[j] > TIE]
        chosen = []
        while left and (limit is None or len(chosen) < limit):
            chosen.append(nearest(distances, left))
            left.remove(chosen[-1])
        violators += [(a, j) for j in sorted(chosen)]
    return indices(violators, "anchors", "candidates")


DISTANCES = ("cosine", "sqeuclidean", "euclidean")
LABELS = np.array([0, 1, 0, 2, 1, 0, 3, 2, 1, 0, 2])
BATCH = {"embeddings": normal(11, 5, seed=1), "labels": LABELS}
PIXELS, NUMBERS = digits(61)
DIGITS = {"embeddings": PIXELS[:37], "labels": NUMBERS[:37]}


def whole_numbers(*shape, seed):
    """Vectors with many equal distances."""
    return np.random.default_rng(seed).integers(0, 4, shape) / 1.0


GRID = {"embeddings": whole_numbers(11, 3, seed=2), "labels": LABELS}
WIDE_GRID = {"embeddings": whole_numbers(23, 3, seed=2), "labels": np.arange(23) % 5}
# More rows than PyTorch's plain way takes.
MANY_ON_GRID = {"embeddings": whole_numbers(31, 3, seed=14), "labels": np.arange(31) ** 2 % 7}
# Equal vectors in different places, whose distances a matrix product may round differently.
DUPLICATES = {"embeddings": normal(3, 5, seed=3)[np.arange(17) % 3], "labels": np.arange(17) % 4}
# From the first row by 3 to its positive and by 5 to a negative; by 0.2 and 0.4 in cosine.
FIVE = np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0], [0.0, 6.0], [0.0, -6.0]])
ANGLES = np.array([[1.0, 0.0], [4.0, 3.0], [3.0, 4.0], [0.0, 1.0], [-3.0, 4.0], [3.0, -4.0]])
# One feature; the first row has its positives at 1 and 2, its negatives at 1, 2, 2 and 7.
LINE = {
    "embeddings": np.array([0.0, 2.0, -1.0, -2.0, 1.0, 2.0, 7.0])[:, None],
    "labels": np.array([0, 1, 0, 0, 1, 2, 2]),
}
SINGLETONS = {"embeddings": normal(5, 3, seed=4), "labels": np.arange(5)}
ONE_CLASS = {"embeddings": normal(5, 3, seed=4), "labels": np.zeros(5, int)}
ALONE = {"embeddings": normal(1, 3, seed=4), "labels": np.array([7])}
ZERO_VECTORS = {"embeddings": np.zeros((11, 3)), "labels": LABELS}
# Few features, for every entry is moved for a difference of the reference, and no two distances tie.
FEW_DIGITS = {"embeddings": PIXELS[:23] @ normal(64, 5, seed=15) / 8, "labels": NUMBERS[:23]}
APART = {"embeddings": BATCH["embeddings"] + 1.5 * LABELS[:, None], "labels": LABELS}

BATCH_CASES = (
    *(Case(distance, BATCH, {"distance": distance}) for distance in DISTANCES),
    *(Case(f"digits, {distance}", DIGITS, {"distance": distance}) for distance in DISTANCES),
    *(Case(f"ties, {distance}", GRID, {"distance": distance}) for distance in DISTANCES),
    *(
        Case(f"duplicates, {distance}", DUPLICATES, {"distance": distance})
        for distance in DISTANCES
    ),
    Case("line", LINE, {"distance": "euclidean"}),
    # No floating dtype holds all of them.
    Case("large labels", BATCH | {"labels": LABELS + 2**53}),
    Case(
        "common offset",
        {"embeddings": GRID["embeddings"] + 1000.0, "labels": LABELS},
        {"distance": "sqeuclidean"},
    ),
    Case("no positive", SINGLETONS),
    Case("no negative", ONE_CLASS),
    Case("batch of one", ALONE),
    Case("zero vectors", ZERO_VECTORS),
    Case(
        "zero vectors, euclidean",
        ZERO_VECTORS,
        {"distance": "euclidean"},
    ),
)
# With ties: a matrix product rounds equal distances from a reference differently.
REFERENCE_GRID = {
    "embeddings": whole_numbers(5, 3, seed=15),
    "labels": np.arange(5) % 3,
    "reference": whole_numbers(31, 3, seed=16),
    "reference_labels": np.arange(31) ** 2 % 7 % 4,
}
CLASS_CASES = (
    *(Case(f"reference, {distance}", REFERENCE, {"distance": distance}) for distance in DISTANCES),
    Case("reference, many anchors", MANY_ANCHORS, {"distance": "euclidean"}),
    Case("large reference", LARGE_REFERENCE, {"distance": "euclidean"}),
    Case("large reference, ties", REFERENCE_GRID, {"distance": "euclidean"}),
    # All rows are negatives of all anchors, or none is.
    Case("reference without positives", LARGE_REFERENCE | {"labels": np.arange(5) + 7}),
    Case(
        "reference of one class",
        LARGE_REFERENCE | {"labels": np.zeros(5, int), "reference_labels": np.zeros(31, int)},
    ),
    Case("several labels", BATCH | {"labels": SEVERAL}, {"distance": "euclidean"}),
    Case("several labels, many rows", MANY_SEVERAL, {"distance": "euclidean"}),
    Case(
        "several labels, reference",
        REFERENCE | {"labels": SEVERAL[:7], "reference_labels": SEVERAL[[*range(11), 0, 1]]},
    ),
    Case(
        "compared by the caller",
        {"embeddings": BATCH["embeddings"], "same": SAME},
        {"labels": None, "distance": "euclidean"},
    ),
    Case(
        "compared by the caller, reference",
        {
            "embeddings": BATCH["embeddings"],
            "reference": REFERENCE["reference"],
            "same": np.concatenate([SAME, ~SAME[:, 3:5]], axis=1),
        },
        {"labels": None},
    ),
)
BAD_BATCHES = (
    BadInput({"distance": "manhattan"}),
    BadInput({"embeddings": np.ones((11, 5), int)}, TypeError),
    BadInput({"embeddings": np.ones(11)}),
    BadInput({"embeddings": np.ones((0, 5)), "labels": LABELS[:0]}),
    BadInput({"embeddings": np.where(np.arange(55).reshape(11, 5) == 9, np.nan, 1.0)}),
    BadInput({"embeddings": np.where(np.arange(55).reshape(11, 5) == 9, np.inf, 1.0)}),
    BadInput({"embeddings": 1e200 * normal(11, 5, seed=1), "distance": "sqeuclidean"}),
    BadInput({"labels": LABELS / 2}, TypeError),
    BadInput({"labels": LABELS[:10]}),
    BadInput({"labels": LABELS[:, None]}),
    *BAD_CLASSES,
    bad_class({"reference": np.full((7, 5), np.nan), "reference_labels": np.arange(7)}),
)
LOSS_CASES = (
    *(Case(f"cosine, {name}", BATCH, {"reduction": name}) for name in ("mean", "sum", "none")),
    Case("sqeuclidean", BATCH, {"distance": "sqeuclidean", "margin": 2.0, "reduction": "none"}),
    Case("digits", FEW_DIGITS, {"distance": "euclidean", "margin": 1.0}),
    Case("margin zero", BATCH, {"margin": 0.0}),
    # Some anchors meet the margin.
    Case("classes apart", APART, {"distance": "euclidean", "reduction": "none"}),
    Case("no positive", SINGLETONS, flat={"embeddings": ...}),
    Case("no negative", ONE_CLASS, {"reduction": "none"}, flat={"embeddings": ...}),
    Case("zero vectors", ZERO_VECTORS, flat={"embeddings": ...}),
    *(
        Case(f"reference, {distance}", REFERENCE, {"distance": distance, "reduction": reduction})
        for distance, reduction in (("cosine", "mean"), ("euclidean", "none"))
    ),
    Case(
        "compared by the caller",
        {
            "embeddings": BATCH["embeddings"],
            "labels": None,
            "reference": None,
            "reference_labels": None,
            "same": SAME,
        },
        {"distance": "sqeuclidean"},
    ),
    # Rows that tie: which of them is taken jumps with the next step.
    Case("ties", GRID, {"distance": "sqeuclidean", "margin": 2.0}, differentiate=False),
)
BAD_MARGINS = (BadInput({"margin": -0.1}), BadInput({"margin": float("nan")}))

SEARCH = {name: normal(5, 7, seed=seed) for seed, name in ((5, "anchor"), (6, "positive"))}
SEARCH["pool"] = normal(23, 7, seed=7)
PIXEL_SEARCH = {"anchor": PIXELS[:5], "positive": PIXELS[10:15], "pool": PIXELS[20:]}
GRID_SEARCH = {
    "anchor": whole_numbers(5, 3, seed=8),
    "positive": whole_numbers(5, 3, seed=9),
    "pool": whole_numbers(31, 3, seed=10),
}
DUPLICATE_SEARCH = {
    "anchor": normal(3, 5, seed=11),
    "positive": normal(3, 5, seed=12),
    "pool": normal(3, 5, seed=13)[np.arange(29) * 7 % 3],
}
FAR_BLOCK = {**SEARCH, "pool": SEARCH["pool"] + 30 * (np.arange(23) // 4 == 1)[:, None]}
VIOLATOR_CASES = (
    *(Case(distance, SEARCH, {"distance": distance}) for distance in DISTANCES),
    *(
        Case(f"{distance}, blocks of {size}", SEARCH, {"distance": distance, "block_size": size})
        for distance, size in (("cosine", 7), ("sqeuclidean", 23), ("euclidean", 1))
    ),
    *(
        Case(f"limit {limit}, blocks of {size}", SEARCH, {"limit": limit, "block_size": size})
        for limit, size in ((1, 5), (3, 5), (3, 4096), (22, 5), (100, 4096))
    ),
    *(
        Case(
            f"digits, {distance}",
            PIXEL_SEARCH,
            {"distance": distance, "margin": 0.2, "limit": 3, "block_size": 16},
        )
        for distance in DISTANCES
    ),
    *(
        Case(
            f"ties, {distance}, blocks of {size}",
            GRID_SEARCH,
            {"distance": distance, "margin": 1.0, "limit": 4, "block_size": size},
        )
        for distance in DISTANCES
        for size in (3, 31)
    ),
    *(
        Case(
            f"duplicates, {distance}",
            DUPLICATE_SEARCH,
            {"distance": distance, "margin": 0.9, "limit": 11, "block_size": 4},
        )
        for distance in DISTANCES
    ),
    Case("margins met exactly", GRID_SEARCH, {"distance": "sqeuclidean", "margin": 2.0}),
    Case(
        "margin met exactly, euclidean",
        {"anchor": FIVE[:1], "positive": FIVE[1:2], "pool": np.concatenate([FIVE, FIVE[::-1]])},
        {"distance": "euclidean", "margin": 2.0, "block_size": 3},
    ),
    Case(
        "margin met exactly, cosine",
        {
            "anchor": ANGLES[:1],
            "positive": ANGLES[1:2],
            "pool": np.concatenate([3 * ANGLES, ANGLES]),
        },
        {"margin": 0.2, "block_size": 5},
    ),
    Case("block far away", FAR_BLOCK, {"distance": "sqeuclidean", "margin": 2.0, "block_size": 4}),
    Case("margin zero", SEARCH, {"margin": 0.0, "distance": "euclidean"}),
    Case("all violate", SEARCH, {"margin": 100.0, "block_size": 6}),
    Case("none violates", {**SEARCH, "positive": SEARCH["anchor"]}, {"margin": 0.0}),
    Case(
        "none violates, limit",
        {**SEARCH, "positive": SEARCH["anchor"]},
        {"margin": 0.0, "limit": 2},
    ),
    Case(
        "equal vectors",
        dict.fromkeys(SEARCH, np.ones((3, 2))),
        {"distance": "euclidean", "limit": 2},
    ),
    Case(
        "one pair, one candidate",
        {name: value[:1] for name, value in SEARCH.items()},
        {"margin": 2.0},
    ),
)
WITH_NAN = np.where(np.arange(35).reshape(5, 7) == 9, np.nan, 1.0)

ROWS = ("anchors", "positives", "negatives")
FOUND = {
    "embeddings": BATCH["embeddings"],
    "anchors": np.array([2, 0, 10, 7, 2]),
    "positives": np.array([5, 10, 3, 4, 9]),
    "negatives": np.array([1, 6, 0, 8, 1]),
}
# The second one meets the margin exactly, the others do not.
TRIPLETS_OF_ONE = {
    "anchors": np.zeros(3, int),
    "positives": np.array([2, 1, 3]),
    "negatives": np.array([1, 2, 3]),
}

DEFINITION = Definition(
    "triplet_mining",
    operations=(
        Operation(
            "batch_hard_triplets",
            batch_hard_triplets,
            cases=(
                *BATCH_CASES,
                *CLASS_CASES,
                *(
                    Case(f"easiest, {name}", batch, {"distance": distance, "positives": "easiest"})
                    for name, batch, distance in (
                        ("cosine", BATCH, "cosine"),
                        ("ties", GRID, "sqeuclidean"),
                        ("duplicates", DUPLICATES, "euclidean"),
                        ("digits", DIGITS, "euclidean"),
                        ("reference", REFERENCE_GRID, "sqeuclidean"),
                    )
                ),
            ),
            bad_inputs=(*BAD_BATCHES, BadInput({"positives": "easy"})),
            differentiable=False,
        ),
        Operation(
            "semi_hard_triplets",
            semi_hard_triplets,
            cases=(
                *BATCH_CASES,
                *CLASS_CASES,
                Case("margin zero", BATCH, {"margin": 0.0}),
                Case("wide margin", BATCH, {"margin": 2.0}),
                Case("wide grid", WIDE_GRID, {"distance": "euclidean", "margin": 1.5}),
                Case("many ties", MANY_ON_GRID, {"distance": "euclidean", "margin": 1.5}),
                Case("line, wide margin", LINE, {"distance": "euclidean", "margin": 1.5}),
                Case("margins met exactly", GRID, {"distance": "sqeuclidean", "margin": 2.0}),
                Case(
                    "margins met exactly, euclidean",
                    {"embeddings": FIVE, "labels": np.array([0, 0, 1, 1, 2])},
                    {"distance": "euclidean", "margin": 2.0},
                ),
                Case(
                    "margins met exactly, cosine",
                    {"embeddings": ANGLES, "labels": np.array([0, 0, 1, 1, 2, 1])},
                    {"margin": 0.2},
                ),
            ),
            bad_inputs=(*BAD_MARGINS, *BAD_BATCHES),
            differentiable=False,
        ),
        *(
            Operation(
                name,
                reference,
                LOSS_CASES,
                bad_inputs=(
                    *BAD_MARGINS,
                    BadInput({"distance": "manhattan"}),
                    BadInput({"reduction": "active"}),
                ),
            )
            for name, reference in (
                ("BatchHardTripletLoss", batch_hard_loss),
                ("SemiHardTripletLoss", semi_hard_loss),
            )
        ),
        Operation(
            "triplet_statistics",
            triplet_statistics,
            cases=(
                *(Case(distance, FOUND, {"distance": distance}) for distance in DISTANCES),
                Case("margin zero", FOUND, {"margin": 0.0}),
                Case(
                    "margin met exactly",
                    TRIPLETS_OF_ONE | {"embeddings": ANGLES},
                    {"margin": 0.2},
                ),
                Case(
                    "margin met exactly, euclidean",
                    TRIPLETS_OF_ONE | {"embeddings": FIVE},
                    {"distance": "euclidean", "margin": 2.0},
                ),
                Case("reference", FOUND | {"reference": normal(13, 5, seed=18)}),
                Case("no triplets", FOUND | dict.fromkeys(ROWS, np.arange(0))),
            ),
            bad_inputs=(
                *BAD_MARGINS,
                BadInput({"distance": "manhattan"}),
                BadInput({"embeddings": np.ones((11, 5), int)}, TypeError),
                BadInput({"embeddings": np.ones(11)}),
                BadInput({"anchors": FOUND["anchors"] / 2}, TypeError),
                BadInput({"anchors": FOUND["anchors"][:, None]}),
                BadInput({"anchors": FOUND["anchors"] + 1}),
                BadInput({"positives": FOUND["positives"][:4]}),
                BadInput({"negatives": FOUND["negatives"] - 1}),
                bad_class({"reference": np.ones((11, 3))}),
                bad_class({"reference": np.ones((0, 5))}),
                bad_class({"reference": np.ones((11, 5), "float16")}, TypeError),
            ),
            differentiable=False,
        ),
        Operation(
            "margin_violators",
            margin_violators,
            VIOLATOR_CASES,
            bad_inputs=(
                *BAD_MARGINS,
                BadInput({"distance": "manhattan"}),
                BadInput({"limit": 0}),
                BadInput({"limit": 2.5}, TypeError),
                BadInput({"block_size": 0}),
                BadInput({"block_size": 2.5}, TypeError),
                BadInput({"anchor": np.ones((5, 7), int)}, TypeError),
                BadInput({"anchor": np.ones(7)}),
                BadInput({"anchor": np.ones((0, 7)), "positive": np.ones((0, 7))}),
                BadInput({"anchor": WITH_NAN}),
                BadInput({"positive": SEARCH["positive"][:4]}),
                BadInput({"positive": SEARCH["positive"].astype("float16")}, TypeError),
                BadInput({"positive": WITH_NAN}),
                BadInput({"pool": np.ones((23, 7), int)}, TypeError),
                BadInput({"pool": np.ones(7)}),
                BadInput({"pool": np.ones((0, 7))}),
                BadInput({"pool": SEARCH["pool"][:, :5]}),
                BadInput({"pool": SEARCH["pool"].astype("float16")}, TypeError),
                BadInput({"pool": WITH_NAN}),
            ),
            differentiable=False,
        ),
    ),
    mutants=(
        Mutant(
            "the nearest positive instead of the farthest",
            "batch_hard_triplets",
            "cosine",
            {
                "tf2_impl": ("-distances if", "distances if"),
                "theano_impl": ("-distances if", "distances if"),
            },
            file="support.triplet_search",
        ),
        Mutant(
            "the nearest positive instead of the farthest, without masks",
            "batch_hard_triplets",
            "cosine",
            {"pytorch_impl": ('.neg_() if positives == "hardest"', ' if positives == "hardest"')},
            file="fast.triplet_mining",
        ),
        Mutant(
            "an anchor as its own positive, without masks",
            "batch_hard_triplets",
            "easiest, cosine",
            {
                "pytorch_impl": (
                    "excluded.neg_()\n        if classes.of_batch",
                    "excluded.neg_()\n        if False",
                )
            },
            file="fast.triplet_mining",
        ),
        Mutant(
            "an anchor as its own negative, without masks",
            "batch_hard_triplets",
            "compared by the caller",
            {
                "pytorch_impl": (
                    "for the others\n        if classes.of_batch",
                    "for the others\n        if False",
                )
            },
            file="fast.triplet_mining",
        ),
        Mutant(
            "the last of the nearest, without masks",
            "batch_hard_triplets",
            "easiest, ties",
            {"pytorch_impl": ("torch.add(columns, buffer", "torch.add(-columns, buffer")},
            file="fast.triplet_mining",
        ),
        Mutant(
            "labels rounded to the embeddings' dtype",
            "batch_hard_triplets",
            "large labels",
            {"pytorch_impl": ("    if exact:", "    if True:")},
            file="fast.triplet_mining",
        ),
        Mutant(
            "the loss of other rows than those of the reference",
            "SemiHardTripletLoss",
            "reference, cosine",
            {
                "pytorch_impl": (
                    "pairwise_distances(embeddings, classes.reference",
                    "pairwise_distances(embeddings, classes.reference.flip(0)",
                ),
                "tf2_impl": (
                    "pairwise_distances(embeddings, reference, dist",
                    "pairwise_distances(embeddings, tf.roll(reference, 1, 0), dist",
                ),
                "theano_impl": (
                    "pairwise_distances(embeddings, reference, dist",
                    "pairwise_distances(embeddings, reference[::-1], dist",
                ),
            },
            file="support.mined_losses",
        ),
        Mutant(
            "mean over all rows, with those that have no triplet",
            "BatchHardTripletLoss",
            "cosine, mean",
            {
                "pytorch_impl": ("total / found.sum().clamp_min(1)", "total / len(found)"),
                "tf2_impl": ("tf.math.count_nonzero(found)", "tf.shape(found)[0]"),
                "theano_impl": ("T.maximum(T.sum(found), 1)", "found.shape[0]"),
            },
            file="support.mined_losses",
        ),
        Mutant(
            "without the hinge",
            "BatchHardTripletLoss",
            "classes apart",
            {
                "pytorch_impl": ("found & (violation.detach() > tolerance)", "found"),
                "tf2_impl": ("found & (tf.stop_gradient(violation) > tolerance)", "found"),
                "theano_impl": ("found & (disconnected_grad(violation) > tolerance)", "found"),
            },
            file="support.mined_losses",
        ),
        Mutant(
            "near and far swapped in the loss of what was found",
            "SemiHardTripletLoss",
            "cosine, mean",
            {
                "pytorch_impl": (
                    "margin + distances - distances.gather(1, nearest)",
                    "margin - distances + distances.gather(1, nearest)",
                ),
                "tf2_impl": (
                    "margin + distances - tf.gather(distances, nearest, batch_dims=1)",
                    "margin - distances + tf.gather(distances, nearest, batch_dims=1)",
                ),
                "theano_impl": (
                    "typed_margin + distances - distances[rows, nearest]",
                    "typed_margin - distances + distances[rows, nearest]",
                ),
            },
            file="support.mined_losses",
        ),
        Mutant(
            "an anchor as its own positive",
            "batch_hard_triplets",
            "cosine",
            {
                "tf2_impl": ("distances, positive, negative\n", "distances, ~negative, negative\n"),
                "theano_impl": (
                    "distances, positive, negative\n",
                    "distances, T.eq(negative, 0), negative\n",
                ),
            },
            file="support.triplet_search",
        ),
        Mutant(
            "the last of the nearest positives",
            "batch_hard_triplets",
            "easiest, ties",
            {
                "tf2_impl": (
                    "else distances\n",
                    "else distances - 2 * tolerance * tf.range(11.0, dtype=distances.dtype)\n",
                ),
                "theano_impl": (
                    "else distances\n",
                    "else distances - 2 * tolerance * T.arange(distances.shape[1])\n",
                ),
            },
            file="support.triplet_search",
        ),
        Mutant(
            "equal negatives from the back",
            "semi_hard_triplets",
            "many ties",
            {
                "pytorch_impl": (
                    "ranks * m + torch.arange(m, device=ranks.device)",
                    "ranks * m + m - 1 - torch.arange(m)",
                ),
                "tf2_impl": ("ranks * m + tf.range(m)", "ranks * m + m - 1 - tf.range(m)"),
                "theano_impl": ("ranks * m + T.arange(m)", "ranks * m + m - 1 - T.arange(m)"),
            },
            file="fast.triplet_mining",
        ),
        Mutant(
            "as near as the positive is farther",
            "semi_hard_triplets",
            "many ties",
            {
                "pytorch_impl": ("(keys, (ranks + 1) * m)", "(keys, ranks * m)"),
                "tf2_impl": ("(keys, (ranks + 1) * m)", "(keys, ranks * m)"),
                "theano_impl": ("(ranks + 1) * m", "ranks * m"),
            },
            file="fast.triplet_mining",
        ),
        Mutant(  # few rows: the other packages sort these too
            "as near as the positive is farther, among few rows",
            "semi_hard_triplets",
            "ties, sqeuclidean",
            {"pytorch_impl": ("candidates > (d + tolerance)", "candidates > (d - tolerance)")},
            file="support.triplet_search",
        ),
        Mutant(
            "a margin met exactly is violated",
            "semi_hard_triplets",
            "margins met exactly, euclidean",
            {
                "pytorch_impl": (
                    "margin_reach(distances - tolerance, margin, distance) - tolerance",
                    "margin_reach(distances + tolerance, margin, distance) + tolerance",
                ),
                "tf2_impl": (
                    "margin_reach(distances - tolerance, margin, distance) - tolerance",
                    "margin_reach(distances + tolerance, margin, distance) + tolerance",
                ),
                "theano_impl": (
                    "margin_reach(distances - tolerance, margin, distance) - tolerance",
                    "margin_reach(distances + tolerance, margin, distance) + tolerance",
                ),
            },
            file="support.triplet_search",
        ),
        Mutant(
            "a margin met exactly counts as violated",
            "triplet_statistics",
            "margin met exactly",
            {
                "pytorch_impl": ("violation > tolerance", "violation > -tolerance"),
                "tf2_impl": ("tf.cast(violation > tolerance", "tf.cast(violation > -tolerance"),
                "theano_impl": ("T.cast(violation > tolerance", "T.cast(violation > -tolerance"),
            },
            file="support.triplet_statistics",
        ),
        Mutant(
            "a margin added to squares",
            "margin_violators",
            "euclidean",
            {
                "pytorch_impl": (
                    "(near.clamp_min(0).sqrt() + margin).square()",
                    "near + margin",
                ),
                "tf2_impl": ("tf.square(tf.sqrt(tf.maximum(near, 0)) + margin)", "near + margin"),
                "theano_impl": ("(T.sqrt(T.maximum(near, 0)) + step) ** 2", "near + step"),
            },
            file="support.triplet_search",
        ),
        Mutant(
            "indices within the block",
            "margin_violators",
            "cosine, blocks of 7",
            {
                "pytorch_impl": ("columns + start", "columns"),
                "tf2_impl": ("tf.where(kept) + tf.stack([zero, start])", "tf.where(kept)"),
                "theano_impl": ("start + columns", "columns"),
            },
            file="fast.triplet_mining",
        ),
        Mutant(  # Theano's result has room for no more: there it is an IndexError
            "the quota of each block",
            "margin_violators",
            "ties, sqeuclidean, blocks of 3",
            {
                "pytorch_impl": ("n_ties + tied.cumsum(1)", "tied.cumsum(1)"),
                "tf2_impl": ("n_ties + tf.cumsum", "tf.cumsum"),
            },
            file="fast.triplet_mining",
        ),
        Mutant(
            "one less of those that tie at the limit",
            "margin_violators",
            "duplicates, cosine",
            {
                "pytorch_impl": ("rank <= quota", "rank < quota"),
                "tf2_impl": ("rank <= quota", "rank < quota"),
                "theano_impl": ("rank <= quota", "rank < quota"),
            },
            file="fast.triplet_mining",
        ),
        Mutant(  # Theano reads every pool in blocks
            "one less of those that tie at the limit, in one block",
            "margin_violators",
            "ties, sqeuclidean, blocks of 31",
            {
                "pytorch_impl": ("<= limit - nearer", "< limit - nearer"),
                "tf2_impl": ("axis=1) <= quota", "axis=1) < quota"),
            },
            file="support.margin_violators",
        ),
    ),
)
