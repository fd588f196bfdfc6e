"""Definition of the sanity checks: what they find of a net of two projections.

Backpropagation and the training that overfits are written out. How a network is described and
what its loss is are options of the cases, not of the checks.
"""

from __future__ import annotations

import numpy as np

from shared_tests.components.chain import arrays, layers
from shared_tests.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.fixtures import digits, normal

NAMES = ("1.weight", "1.bias", "3.weight", "3.bias")
REACHES = ("reached", "missing", "zero", "not_finite", "left_out")


def check_initial_loss(loss, classes, tolerance=0.1):
    expected = -np.log(1 / classes)
    with np.errstate(invalid="ignore"):
        ok = abs(loss - expected) <= tolerance * expected
    return {"ok": ok, "found": loss, "expected": expected}


def check_overfits(
    x, labels, layers, loss, trained=NAMES, steps=500, share=0.01, lr=0.01, **weights
):
    given = np.concatenate([weights[name].ravel() for name in NAMES])
    losses = []
    state = {name: (np.ones(1), np.zeros(1), np.zeros(1)) for name in trained}
    while trained and len(losses) < steps + 1:
        value, gradients = loss_and_gradients(x, labels, layers, loss, weights)
        losses.append(value)
        if not np.isfinite(value) or value <= share * losses[0]:
            break
        for name in trained:
            if gradients[name] is not None:
                moved = smorms3(weights[name], gradients[name], *state[name], lr)
                weights[name], *state[name] = moved
    target = share * losses[0] if losses else np.nan
    ok = bool(losses) and 0 < losses[0] < np.inf and losses[-1] <= target
    return {"ok": np.array(ok), "losses": np.array(losses), "target": target, "weights": given}


def check_gradients_reach(x, labels, layers, loss, trained=NAMES, **weights):
    _, gradients = loss_and_gradients(x, labels, layers, loss, weights)
    kinds = [reach(gradient, name in trained) for name, gradient in gradients.items()]
    ok = bool(trained) and kinds.count("reached") == len(trained)
    named = {kind: np.array([one == kind for one in kinds]) for kind in REACHES}
    return {"ok": np.array(ok), **named}


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


LOSSES = {"cross entropy": cross_entropy, "root": root}


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
DIGITS = {"x": PIXELS, "labels": CLASSES, **weights(64, 7, 10, scale=0.2)}
TANH, RELU = net("Tanh"), net("ReLU")
HEAD = ("3.weight", "3.bias")


def with_entry(inputs, name, place, value):
    """The inputs with another entry at one place of an array."""
    array = inputs[name].copy()
    array[place] = value
    return {**inputs, name: array}


UNTRAINED, _ = loss_and_gradients(PIXELS, CLASSES, **TANH, weights=weights(64, 7, 10, scale=0.1))


def initial(name, loss, classes, **options):
    return Case(name, {"loss": np.array(loss)}, {"classes": classes, **options})


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
                training("digits", DIGITS, {**TANH, "lr": 0.02}),
            ),
            bad_inputs=(
                *EMPTY_BATCHES,
                BadInput({"steps": 0}),
                BadInput({"share": 0.0}),
                BadInput({"share": 1.0}),
                BadInput({"lr": -0.1}),
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
    ),
    mutants=(
        Mutant(
            "bits instead of nats",
            "check_initial_loss",
            "equal chances",
            same("math.log(classes)", "math.log2(classes)"),
        ),
        Mutant(
            "tolerance not relative",
            "check_initial_loss",
            "off by less than a share",
            same("tolerance * expected", "tolerance"),
        ),
        Mutant(
            "too low is not seen",
            "check_initial_loss",
            "too low",
            same("abs(found - expected)", "(found - expected)"),
        ),
        Mutant(
            "trains until the loss itself is the share",
            "check_overfits",
            "tanh",
            same("or losses[-1] <= share * losses[0]:", "or losses[-1] <= share:"),
        ),
        Mutant(
            "the loss after the last step is not looked at",
            "check_overfits",
            "too few steps",
            same("range(steps + 1)", "range(steps)"),
        ),
        Mutant(
            "NaN does not end the training",
            "check_overfits",
            "NaN on the way",
            same("if not math.isfinite(losses[-1]) or", "if"),
        ),
        Mutant(
            "a loss of zero counts as learnt",
            "check_overfits",
            "a loss of zero",
            same("0 < losses[0] < math.inf", "losses[0] < math.inf"),
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
        ),
        Mutant(
            "no gradient counts as zeros",
            "check_gradients_reach",
            "last layer not used",
            same('return "missing"', 'return "zero"'),
        ),
        Mutant(
            "NaN counts as a gradient",
            "check_gradients_reach",
            "a loss of NaN",
            same('return "not_finite"', 'return "reached"'),
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
        ),
    ),
)
