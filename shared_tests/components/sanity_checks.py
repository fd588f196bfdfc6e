"""Definition of the sanity checks: what they find of a net of two projections.

Backpropagation and the training that overfits are written out. How a network is described and
what its loss is are options of the cases, not of the checks.
"""

from __future__ import annotations

import itertools

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.components.chain import arrays, layers
from shared_tests.fixtures import digits, normal

NAMES = ("1.weight", "1.bias", "3.weight", "3.bias")
REACHES = ("reached", "missing", "zero", "not_finite", "left_out")
WHYS = ("dead", "steps", "cancels", "unused")
MOVES = (1.0, 1.0, 30.0, 30.0, 1000.0, 1000.0)


def check_initial_loss(loss, classes, tolerance=0.1):
    expected = -np.log(1 / classes)
    with np.errstate(invalid="ignore"):
        ok = abs(loss - expected) <= tolerance * expected
    return {"ok": ok, "found": loss, "expected": expected}


def check_overfits(
    x,
    labels,
    layers,
    loss,
    trained=NAMES,
    steps=500,
    share=0.01,
    lr=0.01,
    lower_bound=0.0,
    **weights,
):
    given = np.concatenate([weights[name].ravel() for name in NAMES])
    losses = []
    state = {name: (np.ones(1), np.zeros(1), np.zeros(1)) for name in trained}
    while trained and len(losses) < steps + 1:
        value, gradients = loss_and_gradients(x, labels, layers, loss, weights)
        losses.append(value)
        target = lower_bound + share * (losses[0] - lower_bound)
        if not np.isfinite(value) or value <= target:
            break
        for name in trained:
            if gradients[name] is not None:
                moved = smorms3(weights[name], gradients[name], *state[name], lr)
                weights[name], *state[name] = moved
    if not losses:
        return {"ok": np.array(False), "losses": np.array([]), "target": np.nan, "weights": given}
    lowest = lower_bound - share * (losses[0] - lower_bound)
    ok = lower_bound < losses[0] < np.inf and lowest <= losses[-1] <= target
    return {"ok": np.array(ok), "losses": np.array(losses), "target": target, "weights": given}


def check_gradients_reach(x, labels, layers, loss, trained=NAMES, **weights):
    _, gradients = loss_and_gradients(x, labels, layers, loss, weights)
    kinds = [reach(gradient, name in trained) for name, gradient in gradients.items()]
    ok = bool(trained) and kinds.count("reached") == len(trained)
    zero = [name for name, kind in zip(NAMES, kinds, strict=True) if kind == "zero"]
    whys = why_zero(x, labels, layers, loss, trained, weights, zero)
    ok = ok or (0 < kinds.count("reached") == len(trained) - list(whys.values()).count("cancels"))
    named = {kind: np.array([one == kind for one in kinds]) for kind in REACHES}
    named |= {why: np.array([whys.get(name) == why for name in NAMES]) for why in WHYS}
    return {"ok": np.array(ok), **named}


def why_zero(x, labels, layers, loss, trained, weights, zero):
    """{weight: dead, steps, cancels or unused}, of those whose gradient is exactly zero."""
    if not zero:
        return {}
    random, awake, whys = np.random.default_rng(0), set(), {}
    epsilon = np.finfo(x.dtype).eps

    def moved(name, size):
        own = weights[name]
        step = size * max(1, abs(own).max()) * random.standard_normal(own.shape)
        return (own + step).astype(own.dtype)

    def tried(changes):
        value, gradients = loss_and_gradients(x, labels, layers, loss, {**weights, **changes})
        sizes = {name: 0 if one is None else abs(one).max() for name, one in gradients.items()}
        return value, {name: sizes[name] for name in trained}

    before, _ = tried({})
    for size in MOVES:
        _, sizes = tried({name: moved(name, size) for name in zero})
        awake |= {name for name in zero if sizes[name] > 100 * epsilon * max(sizes.values())}
    for name in zero:
        whys[name] = "dead" if name in awake else "unused"
        for size in MOVES if name not in awake else ():
            value = moved(name, size)
            change = abs(tried({name: value})[0] - before)
            if change > 1000 * epsilon * max(abs(before), abs(value).max()):
                whys[name] = "steps"
                break
            whys[name] = "cancels" if change else whys[name]
    return whys


def reach(gradient, trained):
    if not trained:
        return "left_out"
    if gradient is None:
        return "missing"
    if not np.isfinite(gradient).all():
        return "not_finite"
    return "reached" if gradient.any() else "zero"


def check_finite(x, labels, layers, loss, trained=NAMES, **weights):
    value, gradients = loss_and_gradients(x, labels, layers, loss, weights)
    finite = {
        "batch": [np.isfinite(one).all() for one in (x, labels)],
        "weights": [np.isfinite(weights[name]).all() for name in NAMES],
        "loss": [np.isfinite(value)],
        "gradients": [
            name not in trained or gradient is None or np.isfinite(gradient).all()
            for name, gradient in gradients.items()
        ],
    }
    found = {kind: ~np.array(values, bool) for kind, values in finite.items()}
    return {"ok": np.array(not any(one.any() for one in found.values())), **found}


def check_spread(embeddings, labels=None, start=None, share=0.01):
    """Pair by pair, class by class."""
    n, usual = len(embeddings), np.sqrt(2 * (embeddings**2).sum(axis=1).mean())
    if not np.isfinite(embeddings).all():
        return spread_details(False, np.nan, np.nan, [])
    usual = usual if start is None else distance(start)
    spread = distance(embeddings) / usual if usual else 0.0
    centred = embeddings - sum(embeddings) / n
    values = np.linalg.svd(centred, compute_uv=False) ** 2
    rank = values.sum() ** 2 / (values**2).sum() if spread > 1e-7 else 0.0
    point = spread <= share
    two = labels is not None and len(set(labels)) == 2
    line = embeddings.shape[1] > 1 and n > 2 and not two and rank <= 1 + 2 * share
    merged = []
    for a, b in itertools.combinations(sorted(set([] if labels is None else labels)), 2):
        first, second = embeddings[labels == a], embeddings[labels == b]
        tight = all(len(one) == 1 or distance(one) <= share * usual for one in (first, second))
        apart = np.linalg.norm(first.mean(axis=0) - second.mean(axis=0))
        if tight and apart <= share * usual and not point:
            merged.append([a, b])
    return spread_details(not (point or line or merged), spread, rank, merged)


def spread_details(ok, spread, rank, merged):
    found = {"ok": np.array(ok), "spread": np.array(spread), "rank": np.array(rank)}
    return {**found, "merged": np.array(merged, int).reshape(-1, 2)}


def distance(x):
    """The root of the mean squared distance of two rows."""
    pairs = itertools.combinations(x.astype("float64"), 2)
    return np.sqrt(np.mean([((a - b) ** 2).sum() for a, b in pairs]))


def check_loss_moves(losses, margin=None, steps=50, share=0.02):
    last = [float(one) for one in losses[-steps:]]
    found = {"mean": sum(last) / steps, "distance": np.nan, "moved": np.nan}
    if not np.isfinite(losses).all():
        return {"ok": np.array(False), **found}
    found["moved"] = max(losses) - min(losses)
    ok = found["moved"] > 1e-4 * max(abs(losses))
    if margin is not None:
        found["distance"] = sum(abs(one - margin) for one in last) / steps
        ok = ok and found["distance"] > share * margin
    return {"ok": np.array(ok), **found}


def loss_and_gradients(x, labels, layers, loss, weights):
    """The loss, and the gradient of each weight; None where the loss does not depend on it."""
    relu = layers[2]["layer"] == "ReLU"
    with np.errstate(all="ignore"):  # what is not finite is what a case is about
        before = x @ weights["1.weight"] + weights["1.bias"]
        hidden = np.maximum(before, 0) if relu else np.tanh(before)
        output = hidden @ weights["3.weight"] + weights["3.bias"]
        gradients = dict.fromkeys(NAMES)
        if loss == "hidden":  # the last layer is not used
            value = (hidden**2).mean()
            towards_hidden = 2 * hidden / hidden.size
        else:
            value, towards = LOSSES[loss](output, labels)
            gradients["3.weight"], gradients["3.bias"] = hidden.T @ towards, towards.sum(axis=0)
            towards_hidden = towards @ weights["3.weight"].T
        slope = (before > 0) if relu else 1 - hidden**2
        towards = towards_hidden * slope
        gradients["1.weight"], gradients["1.bias"] = x.T @ towards, towards.sum(axis=0)
    return value, gradients


def cross_entropy(output, labels):
    """The mean of −log softmax at the labels, and its gradient."""
    shifted = output - output.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    one_hot = np.eye(output.shape[1])[labels]
    return -(logs * one_hot).sum(axis=1).mean(), (np.exp(logs) - one_hot) / len(labels)


def root(output, labels):
    """1 + √mean: it has no value below a mean of 0, and no slope at 0."""
    value = np.sqrt(output.mean())
    return 1 + value, np.full_like(output, 1 / output.size) / (2 * value)


def smoothed(output, labels):
    """The cross-entropy of labels of which a tenth goes to all classes alike."""
    classes = output.shape[1]
    shifted = output - output.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    target = 0.9 * np.eye(classes)[labels] + 0.1 / classes
    return -(logs * target).sum(axis=1).mean(), (np.exp(logs) - target) / len(labels)


def ranking(output, labels):
    """mean max(0, 1 − sᵢ + sᵢ₊₁) of the scores of neighbouring rows: their bias cancels."""
    inside = 1 - output[:-1] + output[1:]
    slope = (inside > 0) / inside.size
    gradient = np.zeros_like(output)
    gradient[:-1] -= slope
    gradient[1:] += slope
    return np.maximum(inside, 0).mean(), gradient


def choice(output, labels):
    """The share of outputs above 0, as a step so steep that no slope is left."""
    inside = (output > 0) & (output < 1e-9)
    return np.clip(1e9 * output, 0, 1).mean(), 1e9 * inside / output.size


def masked(output, labels):
    """A loss that a mask hides: whatever the weights are, it is 1."""
    return 1 + 0 * output.mean(), np.zeros_like(output)


LOSSES = {
    "cross entropy": cross_entropy,
    "root": root,
    "smoothed": smoothed,
    "ranking": ranking,
    "choice": choice,
    "masked": masked,
}


def smorms3(parameter, x, memory, gradient, square, lr):
    r = 1 / (1 + memory)
    gradient = (1 - r) * gradient + r * x
    square = (1 - r) * square + r * x**2
    ratio = gradient**2 / (square + 1e-16)
    memory = 1 + memory * (1 - ratio)
    return (
        parameter - np.minimum(lr, ratio) * x / (np.sqrt(square) + 1e-16),
        memory,
        gradient,
        square,
    )


def net(activation, loss="cross entropy"):
    chain = layers(("Projection", {}), (activation, {}), ("Projection", {}))
    return {**chain, "loss": loss}


def weights(n, hidden, classes, scale=1.0):
    found = {
        **arrays(1, 31, weight=(n, hidden), bias=(hidden,)),
        **arrays(3, 32, weight=(hidden, classes), bias=(classes,)),
    }
    return {name: scale * array for name, array in found.items()}


BATCH = {"x": normal(5, 3, seed=1), "labels": np.array([0, 1, 1, 0, 1]), **weights(3, 7, 2)}
ONE_CLASS = {**BATCH, "labels": np.zeros(5, int), **weights(3, 7, 1)}
CONTRADICTION = {**BATCH, "x": np.tile(BATCH["x"][:1], (5, 1))}
DEAD = {**BATCH, "1.bias": BATCH["1.bias"] - 100}
POSITIVE = {**BATCH, "3.bias": np.array([1.5, 2.5])}
NEGATIVE = {**BATCH, "3.bias": np.array([-9.5, -8.5])}
ZERO = {**BATCH, "3.weight": np.zeros((7, 2)), "3.bias": np.zeros(2)}
PIXELS, CLASSES = digits(11)
# What is decided from plain numbers belongs to no framework.
LOSSES_OF_TRAINING = "numpy_infer.sanity_checks"
VERDICTS, REACH, SPREAD = (
    f"numpy_infer.support.{name}"
    for name in ("sanity_verdicts", "gradient_reach", "embedding_spread")
)
DIGITS = {"x": PIXELS, "labels": CLASSES, **weights(64, 7, 10, scale=0.2)}
TANH, RELU = net("Tanh"), net("ReLU")
HEAD = ("3.weight", "3.bias")


def with_entry(inputs, name, place, value):
    """The inputs with another entry at one place of an array."""
    array = inputs[name].copy()
    array[place] = value
    return {**inputs, name: array}


RANKED = {**ONE_CLASS, **weights(3, 7, 1)}
ENTROPY = -(0.95 * np.log(0.95) + 0.05 * np.log(0.05))  # of labels smoothed by 0.1, of two classes

# Embeddings of eleven rows of four classes, the second of which is one row.
LABELS = np.array([3, 0, 0, 5, 3, 3, 0, 5, 1, 5, 0])
CENTRES = 3 * normal(6, 5, seed=41)
CLUSTERS = CENTRES[LABELS] + 0.3 * normal(11, 5, seed=42)
TIGHT = CENTRES[LABELS] + 1e-3 * normal(11, 5, seed=43)
MERGED = CENTRES[np.where(LABELS == 5, 0, LABELS)] + 1e-3 * normal(11, 5, seed=44)
POINT = CENTRES[:1] + 1e-4 * normal(11, 5, seed=45)
LINE = normal(11, 1, seed=46) * CENTRES[:1] + 1e-3 * normal(11, 5, seed=47)
OFFSET = 1000 + normal(11, 5, seed=48)
HALVES = {"embeddings": CENTRES[LABELS % 2], "labels": LABELS % 2}
FALLING = 1.5 * np.exp(-np.arange(80) / 20) + 0.02 * normal(80, seed=49)
SAT = 0.2 + 0.002 * normal(80, seed=50)  # at a margin of 0.2
SAT[:20] = FALLING[:20]

UNTRAINED, _ = loss_and_gradients(PIXELS, CLASSES, **TANH, weights=weights(64, 7, 10, scale=0.1))


def initial(name, loss, classes, **options):
    return Case(name, {"loss": np.array(loss)}, {"classes": classes, **options})


def spread_case(name, embeddings, labels=None, start=None, **options):
    """The spread of what is in one point, or far away, is little beside the tolerance."""
    given = {"embeddings": embeddings, "labels": labels, "start": start}
    case = Case(name, {key: one for key, one in given.items() if one is not None}, options)
    small = name in ("one point", "far from the origin", "shrunk since the start")
    return case.vanishes("value:spread") if small else case


def losses_case(name, losses, **options):
    case = Case(name, {"losses": losses}, options)
    near = name in ("stays at its margin", "a smaller share")  # as it is what they are about
    return case.vanishes("value:distance") if near else case


def same(old, new):
    """An edit that is the same in all packages."""
    return dict.fromkeys(("pytorch_impl", "tf2_impl", "theano_impl"), (old, new))


EMPTY_BATCHES = (
    BadInput({"batch": ()}),
    BadInput({"batch": (np.zeros((0, 3)), np.zeros(0, int))}),
    BadInput({"batch": np.zeros((2, 3))}, TypeError),
)


def training(name, inputs, options):
    """The target is a share of the first loss: little beside the tolerance of a model."""
    return Case(name, inputs, options).vanishes("value:target")


DEFINITION = Definition(
    "sanity_checks",
    operations=(
        Operation(
            "check_initial_loss",
            check_initial_loss,
            cases=(
                initial("equal chances", 2.31, 10),
                initial("too high", 4.75, 10),
                initial("too low", 0.25, 10),
                initial("off by less than a share", 2.1, 10),
                initial("off by more than a share", 0.9, 2),
                initial("another tolerance", 2.31, 10, tolerance=0.001),
                initial("one class", 0.0, 1),
                initial("one sigmoid", 0.7, 1),
                initial("NaN", np.nan, 3),
                initial("infinite", np.inf, 3),
                initial("digits", UNTRAINED, 10),
            ),
            bad_inputs=(
                BadInput({"loss": np.ones(3)}),
                BadInput({"loss": "2.3"}, TypeError),
                BadInput({"classes": 0}),
                BadInput({"classes": 2.5}, TypeError),
                BadInput({"tolerance": -0.1}),
            ),
            differentiable=False,
        ),
        Operation(
            "check_overfits",
            check_overfits,
            cases=(
                training("tanh", BATCH, {**TANH, "steps": 200}),
                training("relu", BATCH, {**RELU, "lr": 0.03, "share": 0.05}),
                training("too few steps", BATCH, {**TANH, "steps": 5}),
                training("two labels for one input", CONTRADICTION, {**TANH, "steps": 40}),
                training("dead relu", DEAD, {**RELU, "steps": 20}),
                training("last layer alone", BATCH, {**TANH, "trained": HEAD, "steps": 20}),
                Case("nothing to train", BATCH, {**TANH, "trained": ()}),
                training(
                    "nothing reached", BATCH, {**net("Tanh", "hidden"), "trained": HEAD, "steps": 3}
                ),
                Case("a loss of zero", ONE_CLASS, TANH),
                Case("a loss of NaN", with_entry(BATCH, "x", (2, 1), np.nan), TANH),
                training("NaN on the way", POSITIVE, net("Tanh", "root")),
                Case("smoothed labels", BATCH, {**net("Tanh", "smoothed"), "lower_bound": ENTROPY}),
                training(
                    "smoothed labels, bound unknown",
                    BATCH,
                    {**net("Tanh", "smoothed"), "steps": 60},
                ),
                Case(
                    "below its lower bound",
                    BATCH,
                    {**TANH, "lower_bound": 0.3, "lr": 0.3},
                ),
                Case("a lower bound above it", BATCH, {**TANH, "lower_bound": 5.0}),
                training("digits", DIGITS, {**TANH, "lr": 0.02}),
            ),
            bad_inputs=(
                *EMPTY_BATCHES,
                BadInput({"steps": 0}),
                BadInput({"share": 0.0}),
                BadInput({"share": 1.0}),
                BadInput({"lr": -0.1}),
                BadInput({"lower_bound": float("-inf")}),
            ),
            kind="model",
            differentiable=False,
        ),
        Operation(
            "check_gradients_reach",
            check_gradients_reach,
            cases=(
                Case("all", BATCH, TANH),
                Case("last layer not used", BATCH, net("Tanh", "hidden")),
                Case("dead relu", DEAD, RELU),
                Case("last layer alone", BATCH, {**TANH, "trained": HEAD}),
                Case("nothing to train", BATCH, {**TANH, "trained": ()}),
                Case("nothing reached", BATCH, {**net("Tanh", "hidden"), "trained": HEAD}),
                Case("one class", ONE_CLASS, TANH),
                Case("a bias that cancels", RANKED, net("Tanh", "ranking")),
                Case("a choice", BATCH, net("Tanh", "choice")),
                Case("a mask over all", BATCH, net("ReLU", "masked")),
                Case("a loss of NaN", with_entry(BATCH, "x", (2, 1), np.nan), TANH),
                Case("digits", DIGITS, RELU),
            ),
            bad_inputs=EMPTY_BATCHES,
            differentiable=False,
        ),
        Operation(
            "check_finite",
            check_finite,
            cases=(
                Case("all", BATCH, TANH),
                Case("NaN in the batch", with_entry(BATCH, "x", (2, 1), np.nan), TANH),
                Case("infinite weight", with_entry(BATCH, "1.bias", 4, np.inf), TANH),
                Case("NaN in a weight", with_entry(BATCH, "3.weight", (6, 1), np.nan), TANH),
                Case("root below 0", NEGATIVE, net("Tanh", "root")),
                Case("root at 0", ZERO, net("Tanh", "root")),
                Case("last layer alone", ZERO, {**net("Tanh", "root"), "trained": HEAD}),
                Case("last layer not used", BATCH, net("Tanh", "hidden")),
                Case("nothing to train", BATCH, {**TANH, "trained": ()}),
                Case("digits", DIGITS, RELU),
            ),
            bad_inputs=EMPTY_BATCHES,
            differentiable=False,
        ),
        Operation(
            "check_spread",
            check_spread,
            cases=(
                spread_case("apart", CLUSTERS, LABELS),
                spread_case("without labels", CLUSTERS),
                spread_case("one point", POINT, LABELS),
                spread_case("exactly one point", np.tile(CENTRES[:1], (7, 1))),
                spread_case("all zeros", np.zeros((7, 5))),
                spread_case("a line", LINE, LABELS),
                spread_case("a line without labels", LINE),
                spread_case("a line of two classes", LINE, LABELS % 2),
                spread_case("one feature", LINE[:, :1], LABELS),
                spread_case("tight classes", TIGHT, LABELS),
                spread_case("merged classes", MERGED, LABELS),
                spread_case("another share", CLUSTERS, LABELS, share=0.4),
                spread_case("far from the origin", OFFSET, LABELS),
                spread_case("far from the origin, as at the start", OFFSET, start=OFFSET[::-1] + 1),
                spread_case("shrunk since the start", POINT, LABELS, start=CLUSTERS),
                spread_case("more features than rows", normal(3, 17, seed=51)),
                spread_case("two rows", normal(2, 5, seed=52)),
                spread_case("huge", 1e30 * CLUSTERS, LABELS),
                spread_case("tiny", 1e-30 * CLUSTERS, LABELS),
                spread_case("NaN", np.where(LABELS[:, None] == 1, np.nan, CLUSTERS), LABELS),
                spread_case("digits", PIXELS[:, 9:54], CLASSES),
            ),
            bad_inputs=(
                BadInput({"embeddings": CLUSTERS[:, 0]}),
                BadInput({"embeddings": CLUSTERS[:1]}),
                BadInput({"embeddings": np.ones((11, 5), int)}, TypeError),
                BadInput({"labels": LABELS[:10]}),
                BadInput({"labels": LABELS + 0.5}, TypeError),
                BadInput({"start": CLUSTERS[:, :4]}),
                BadInput({"start": np.full((11, 5), np.nan)}),
                BadInput({"share": 0.0}),
            ),
            differentiable=False,
        ),
        Operation(
            "check_loss_moves",
            check_loss_moves,
            cases=(
                losses_case("falls", FALLING, margin=0.2),
                losses_case("without a margin", FALLING),
                losses_case("stays at its margin", SAT, margin=0.2),
                losses_case("another margin", SAT, margin=0.3),
                losses_case("not for so long", SAT, margin=0.2, steps=70),
                losses_case("a smaller share", SAT, margin=0.2, share=0.001),
                losses_case("does not move", np.full(60, 0.7), margin=0.2),
                losses_case("zero", np.zeros(60)),
                losses_case("negative", -FALLING),
                losses_case("NaN", np.where(np.arange(80) == 41, np.nan, FALLING), margin=0.2),
                losses_case("digits", UNTRAINED + 0.1 * PIXELS[0], steps=20),
            ),
            bad_inputs=(
                BadInput({"losses": "0.2"}, TypeError),
                BadInput({"losses": ["0.2"] * 60}, TypeError),
                BadInput({"losses": np.ones((60, 1))}, TypeError),
                BadInput({"margin": 0.0}),
                BadInput({"margin": float("nan")}),
                BadInput({"steps": 1}),
                BadInput({"steps": 81}),
                BadInput({"share": -0.1}),
            ),
            differentiable=False,
        ),
    ),
    mutants=(
        Mutant(
            "bits instead of nats",
            "check_initial_loss",
            "equal chances",
            same("math.log(classes)", "math.log2(classes)"),
            file=VERDICTS,
        ),
        Mutant(
            "tolerance not relative",
            "check_initial_loss",
            "off by less than a share",
            same("tolerance * expected", "tolerance"),
            file=VERDICTS,
        ),
        Mutant(
            "too low is not seen",
            "check_initial_loss",
            "too low",
            same("abs(found - expected)", "(found - expected)"),
            file=VERDICTS,
        ),
        Mutant(
            "trains until the loss itself is the share",
            "check_overfits",
            "tanh",
            same("or losses[-1] <= target:", "or losses[-1] <= share:"),
            file=VERDICTS,
        ),
        Mutant(
            "the loss after the last step is not looked at",
            "check_overfits",
            "too few steps",
            same("range(steps + 1)", "range(steps)"),
            file=VERDICTS,
        ),
        Mutant(
            "NaN does not end the training",
            "check_overfits",
            "NaN on the way",
            same("if not math.isfinite(losses[-1]) or", "if"),
            file=VERDICTS,
        ),
        Mutant(
            "a loss of zero counts as learnt",
            "check_overfits",
            "a loss of zero",
            same("0 < size < math.inf", "size < math.inf"),
            file=VERDICTS,
        ),
        Mutant(
            "the lower bound is not taken off",
            "check_overfits",
            "smoothed labels",
            same(
                "target = lower_bound + share * (losses[0] - lower_bound)",
                "target = share * losses[0]",
            ),
            file=VERDICTS,
        ),
        Mutant(
            "a loss below its lower bound is learnt",
            "check_overfits",
            "below its lower bound",
            same("-share * size <= losses[-1] - lower_bound", "losses[-1] - lower_bound"),
            file=VERDICTS,
        ),
        Mutant(
            "what cancels is a fault",
            "check_gradients_reach",
            "a bias that cancels",
            same('len(names) - len(details["cancels"])', "len(names)"),
            file=REACH,
        ),
        Mutant(
            "no steps",
            "check_gradients_reach",
            "dead relu",
            same(
                "for size, _ in MOVES:\n        loss, found",
                "for size, _ in ():\n        loss, found",
            ),
            file=REACH,
        ),
        Mutant(
            "rounding counts as a step",
            "check_gradients_reach",
            "a bias that cancels",
            same("change > 1000 * epsilon * reach", "change > 0"),
            file=REACH,
        ),
        Mutant(
            "not centred",
            "check_spread",
            "far from the origin",
            same("centred = x - x.mean(axis=0)", "centred = x"),
            file=SPREAD,
        ),
        Mutant(
            "the start is forgotten",
            "check_spread",
            "shrunk since the start",
            same("if start is None:  # rows", "if True:  # rows"),
            file=SPREAD,
        ),
        Mutant(
            "two classes need more than a line",
            "check_spread",
            "a line of two classes",
            same(" and classes != 2", ""),
            file=SPREAD,
        ),
        Mutant(
            "every tight class is merged",
            "check_spread",
            "tight classes",
            same("np.flatnonzero(distances <= radius)", "np.flatnonzero(distances > radius)"),
            file=SPREAD,
        ),
        Mutant(
            "the first steps are judged",
            "check_loss_moves",
            "stays at its margin",
            same("values[-steps:]", "values[:steps]"),
            file=LOSSES_OF_TRAINING,
        ),
        Mutant(
            "the mean is at the margin",
            "check_loss_moves",
            "falls",
            same("np.abs(last - margin).mean()", "abs(last.mean() - margin)"),
            file=LOSSES_OF_TRAINING,
        ),
        Mutant(
            "weights stay trained",
            "check_overfits",
            "too few steps",
            {
                "pytorch_impl": ("tensor.copy_(value)", "tensor.copy_(tensor)"),
                "tf2_impl": ("variable.assign(value)", "variable.assign(variable)"),
                "theano_impl": (
                    "variable.set_value(value)",
                    "variable.set_value(variable.get_value())",
                ),
            },
            file="support.trial_runs",
        ),
        Mutant(
            "the optimizer's own rate",
            "check_overfits",
            "tanh",
            {
                "pytorch_impl": ("SMORMS3(parameters, lr=lr)", "SMORMS3(parameters)"),
                "tf2_impl": ("SMORMS3(lr)", "SMORMS3()"),
                "theano_impl": ("SMORMS3(list(reached), lr=lr)", "SMORMS3(list(reached))"),
            },
        ),
        Mutant(
            "zeros count as a gradient",
            "check_gradients_reach",
            "dead relu",
            same('else "zero"', 'else "reached"'),
            file=REACH,
        ),
        Mutant(
            "no gradient counts as zeros",
            "check_gradients_reach",
            "last layer not used",
            same('return "missing"', 'return "zero"'),
            file=REACH,
        ),
        Mutant(
            "NaN counts as a gradient",
            "check_gradients_reach",
            "a loss of NaN",
            same('return "not_finite"', 'return "reached"'),
            file=REACH,
        ),
        Mutant(
            "infinity is not seen",
            "check_finite",
            "infinite weight",
            {
                "pytorch_impl": ("_entries(x).isfinite().all()", "not _entries(x).isnan().any()"),
                "tf2_impl": ("tf.math.is_finite(x)", "~tf.math.is_nan(x)"),
                "theano_impl": ("np.isfinite(entries)", "~np.isnan(entries)"),
            },
            file="support.trial_runs",
        ),
    ),
)
