"""Definition of the feedback network: one row after the other, one level after the other."""

from __future__ import annotations

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.components.sequence_encoder import gru_step, gru_weights
from shared_tests.fixtures import digits, normal


def level_losses(labels, **levels):
    losses = []
    for level, log_probabilities in enumerate(levels.values()):
        found = [row[label] for row, label in zip(log_probabilities, labels[:, level], strict=True)]
        losses.append(-sum(found) / len(found))
    return np.array(losses)


def curriculum_loss(losses, step, span):
    total = 0.0
    for level, loss in enumerate(losses):
        total += min(1, max(0, 1 + step / span - level)) * loss
    return np.array(total)


def feedback_network(weights, x, in_features, classes, hidden):
    outputs = {f"output {level}": np.zeros((len(x), count)) for level, count in enumerate(classes)}
    for place, row in enumerate(x):
        projected = row @ weights["projection.weight"] + weights["projection.bias"]
        normalized = (projected - projected.mean()) / np.sqrt(projected.var() + 1e-5)
        features = np.maximum(normalized * weights["norm.scale"] + weights["norm.shift"], 0)
        state = np.zeros(hidden)
        for level in range(len(classes)):
            given = features @ weights["gru.input_weight"] + weights["gru.input_bias"]
            state = gru_step(weights, given, state)
            logits = state @ weights[f"levels.{level}.weight"] + weights[f"levels.{level}.bias"]
            above = logits - logits.max()
            outputs[f"output {level}"][place] = above - np.log(np.exp(above).sum())
    return outputs


def network_weights(in_features, classes, hidden=5, seed=1):
    weights = {
        "projection.weight": normal(in_features, hidden, seed=seed),
        "projection.bias": normal(hidden, seed=seed + 1),
        "norm.scale": normal(hidden, seed=seed + 2) ** 2 + 0.5,
        "norm.shift": normal(hidden, seed=seed + 3) / 3,
        **gru_weights(hidden, hidden, seed=seed + 4),
    }
    for level, count in enumerate(classes):
        weights[f"levels.{level}.weight"] = normal(hidden, count, seed=seed + 10 + 2 * level)
        weights[f"levels.{level}.bias"] = normal(count, seed=seed + 11 + 2 * level)
    return weights


def case(name, x, classes, weights=None, *, differentiate=True, flat=None):
    options = {"in_features": x.shape[1], "classes": classes, "hidden": 5}
    weights = network_weights(x.shape[1], classes) if weights is None else weights
    return Case(name, {"x": x}, options, weights, differentiate, flat or {})


def changed(weights, **changes):
    """The weights with those that are named, dots left out, multiplied."""
    factors = {name.replace("_", ".", 1): factor for name, factor in changes.items()}
    return {name: factors.get(name, 1) * array for name, array in weights.items()}


X = normal(3, 7, seed=30)
WITH_NAN = np.where(np.arange(3)[:, None] == 1, np.nan, X)
PIXELS, DIGITS = digits(11)
THREE = network_weights(7, [2, 3, 5])
BEFORE_RELU = ("x", "projection.weight", "projection.bias", "norm.scale", "norm.shift")
DEAD = changed(THREE, norm_scale=0, norm_shift=0)
CONFIDENT = THREE | {"levels.1.weight": 1000 * THREE["levels.1.weight"]}

LABELS = np.array([[1, 0, 4], [0, 2, 3], [1, 1, 1], [0, 2, 0]])


def log_softmax(x):
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


LEVELS = {
    f"level {level}": log_softmax(normal(4, count, seed=40 + level))
    for level, count in enumerate([2, 3, 5])
}
RULED_OUT = LEVELS | {"level 1": np.where(np.arange(3) == 2, -np.inf, LEVELS["level 1"])}
# Odd or even, then small, middle or large.
TAXONOMY = np.stack([DIGITS % 2, DIGITS // 4], axis=1)
FROM_PIXELS = {
    "level 0": log_softmax(3 * PIXELS[:, [26, 35]]),
    "level 1": log_softmax(3 * PIXELS[:, [20, 42, 50]]),
}
LOSSES = {"losses": normal(5, seed=50) ** 2}


DEFINITION = Definition(
    "feedback_network",
    operations=(
        Operation(
            "level_losses",
            level_losses,
            cases=(
                Case("three levels", {"labels": LABELS, **LEVELS}),
                Case("one level", {"labels": LABELS[:, :1], "level 0": LEVELS["level 0"]}),
                Case(
                    "one class at a level",
                    {
                        "labels": np.array([[0, 1], [0, 0], [0, 1], [0, 1]]),
                        "level 0": np.zeros((4, 1)),
                        "level 1": LEVELS["level 0"],
                    },
                ),
                Case(
                    "a batch of one",
                    {"labels": LABELS[:1], **{k: v[:1] for k, v in LEVELS.items()}},
                ),
                Case("narrow labels", {"labels": LABELS.astype("int8"), **LEVELS}),
                Case("digits", {"labels": TAXONOMY, **FROM_PIXELS}),
                Case("a label ruled out", {"labels": LABELS, **RULED_OUT}, differentiate=False),
                Case(
                    "nan",
                    {"labels": LABELS, **LEVELS, "level 2": np.full((4, 5), np.nan)},
                    differentiate=False,
                ),
            ),
            bad_inputs=(
                BadInput({"labels": LABELS / 1.0}, TypeError),
                BadInput({"labels": LABELS[0]}),
                BadInput({"labels": LABELS[:, :2]}),
                BadInput({"labels": LABELS[:0]}),
                BadInput({"labels": LABELS + 1}),
                BadInput({"labels": LABELS - 1}),
                BadInput({"level 1": LABELS}, TypeError),
                BadInput({"level 1": LEVELS["level 1"].astype("float32")}, TypeError),
                BadInput({"level 1": LEVELS["level 1"][0]}),
                BadInput({"level 1": LEVELS["level 1"][:3]}),
            ),
        ),
        Operation(
            "curriculum_loss",
            curriculum_loss,
            cases=(
                Case("the first level alone", LOSSES, {"step": 0, "span": 7}),
                Case("the second joins", LOSSES, {"step": 3, "span": 7}),
                Case("the second is there", LOSSES, {"step": 7, "span": 7}),
                Case("the fourth joins", LOSSES, {"step": 2.25, "span": 1.0}),
                Case("all levels", LOSSES, {"step": 1000, "span": 7}),
                Case(
                    "nan",
                    {"losses": np.full(5, np.nan)},
                    {"step": 3, "span": 7},
                    differentiate=False,
                ),
            ),
            bad_inputs=(
                BadInput({"losses": np.ones(5, int)}, TypeError),
                BadInput({"losses": np.ones((5, 1))}),
                BadInput({"step": -1}),
                BadInput({"step": float("nan")}),
                BadInput({"span": 0}),
                BadInput({"span": float("inf")}),
            ),
        ),
        Operation(
            "FeedbackNetwork",
            feedback_network,
            cases=(
                case("three levels", X, [2, 3, 5]).vanishes("gradient:gru.hidden_weight"),
                case("one level", X, [3]),
                case("one class at a level", X, [1, 5]),
                case("a batch of one", X[:1], [5, 2]).vanishes("gradient:gru.hidden_weight"),
                case("empty batch", X[:0], [5, 2]),
                case("confident", X, [2, 3, 5], CONFIDENT),
                case("relu at zero", X, [2, 3, 5], DEAD, flat=dict.fromkeys(BEFORE_RELU, ...)),
                case(
                    "nothing to normalize",
                    X,
                    [2, 3, 5],
                    changed(THREE, projection_weight=0, projection_bias=0),
                    differentiate=False,
                ),
                case("digits", PIXELS[:3], [2, 3]).vanishes("gradient:gru.hidden_weight"),
                case("nan", WITH_NAN, [2, 3], differentiate=False),
            ),
            bad_inputs=(
                BadInput({"x": np.ones((3, 7), int)}, TypeError),
                BadInput({"x": X.astype("float32")}, TypeError),
                BadInput({"x": X[0]}),
                BadInput({"x": X[:, :5]}),
                BadInput({"in_features": 0}, numpy=False),
                BadInput({"in_features": 2.0}, TypeError, numpy=False),
                BadInput({"classes": []}, numpy=False),
                BadInput({"classes": 3}, TypeError, numpy=False),
                BadInput({"classes": [2, 0, 5]}, numpy=False),
                BadInput({"classes": [2, 3.0, 5]}, TypeError, numpy=False),
                BadInput({"hidden": 0}, numpy=False),
                BadInput({"hidden": 2.0}, TypeError, numpy=False),
            ),
            kind="model",
            numpy=True,
        ),
    ),
    mutants=(
        Mutant(
            "sum for mean",
            "level_losses",
            "three levels",
            {
                "pytorch_impl": (
                    "F.nll_loss(log_p, labels[:, level])",
                    'F.nll_loss(log_p, labels[:, level], reduction="sum")',
                ),
                "tf2_impl": ("-tf.reduce_mean(", "-tf.reduce_sum("),
                "theano_impl": ("-T.mean(", "-T.sum("),
            },
        ),
        Mutant(
            "each level joins one span late",
            "curriculum_loss",
            "the second joins",
            {
                "pytorch_impl": ("(1 + step / span - levels)", "(step / span - levels)"),
                "tf2_impl": ("1 + step / span -", "step / span -"),
                "theano_impl": ("1 + step / np", "step / np"),
            },
        ),
        Mutant(
            "levels count more than once",
            "curriculum_loss",
            "all levels",
            {
                "pytorch_impl": (".clamp(0, 1)", ".clamp(0)"),
                "tf2_impl": (", 0, 1)\n", ", 0, losses.dtype.max)\n"),
                "theano_impl": (", 0, 1)\n", ", 0, 1000)\n"),
            },
        ),
        Mutant(
            "gates in another order",
            "FeedbackNetwork",
            "three levels",
            {
                "pytorch_impl": (
                    "next_state(x_gates,",
                    "next_state(torch.cat([x_gates.chunk(3, 1)[i] for i in (1, 0, 2)], 1),",
                ),
                "tf2_impl": (
                    "next_state(x_gates,",
                    "next_state(tf.concat([tf.split(x_gates, 3, 1)[i] for i in (1, 0, 2)], 1),",
                ),
                "theano_impl": (
                    "next_state(x_gates,",
                    "next_state(T.concatenate([x_gates[:, hidden * i : hidden * (i + 1)]"
                    " for i in (1, 0, 2)], axis=1),",
                ),
                "numpy_infer": (
                    "next_state(x_gates,",
                    "next_state(np.concatenate([np.split(x_gates, 3, 1)[i]"
                    " for i in (1, 0, 2)], 1),",
                ),
            },
        ),
        Mutant(
            "reset before the product's bias",
            "FeedbackNetwork",
            "three levels",
            {
                "pytorch_impl": (
                    "next_state(x_gates, hidden_gates(self.gru, h),",
                    "next_state(x_gates + (late := F.pad(self.gru.bias_hh_l0[-5:], (10, 0))),"
                    " hidden_gates(self.gru, h) - late,",
                ),
                "tf2_impl": (
                    "next_state(x_gates, hidden_gates(self.gru, h),",
                    "next_state(x_gates + (late := tf.pad(self.gru.cell.bias[1, -5:], [[10, 0]])),"
                    " hidden_gates(self.gru, h) - late,",
                ),
                "numpy_infer": (
                    "next_state(x_gates, h_gates,",
                    "next_state(x_gates + (late := np.pad(self.hidden_bias[-5:], (10, 0))),"
                    " h_gates - late,",
                ),
            },
        ),
        Mutant(
            "every level from the state zero",
            "FeedbackNetwork",
            "three levels",
            {
                "pytorch_impl": ("hidden_gates(self.gru, h)", "hidden_gates(self.gru, h := 0 * h)"),
                "tf2_impl": ("hidden_gates(self.gru, h)", "hidden_gates(self.gru, h := 0 * h)"),
                "theano_impl": (
                    "next_state(x_gates, h_gates, h)",
                    "next_state(x_gates, gru['hidden_bias'].dimshuffle('x', 0), 0 * h)",
                ),
                "numpy_infer": (
                    "next_state(x_gates, h_gates, h)",
                    "next_state(x_gates, self.hidden_bias[None], 0 * h)",
                ),
            },
        ),
        Mutant(
            "gradient of relu at zero",
            "FeedbackNetwork",
            "relu at zero",
            {
                "pytorch_impl": (".relu()", ".clamp_min(0)"),
                "tf2_impl": (
                    "tf.nn.relu(layer_norm(self.norm, self.projection(x)))",
                    "tf.maximum(layer_norm(self.norm, self.projection(x)), 0)",
                ),
                "theano_impl": (
                    'ReLU(self.add_layer("norm", norm).output).output',
                    'T.nnet.relu(self.add_layer("norm", norm).output)',
                ),
            },
        ),
        Mutant(
            "epsilon of Keras",
            "FeedbackNetwork",
            "three levels",
            {
                "pytorch_impl": ("nn.LayerNorm(hidden)", "nn.LayerNorm(hidden, eps=1e-3)"),
                "tf2_impl": ("epsilon=1e-5, ", ""),
                "theano_impl": (
                    '"projection", projection).output, hidden)',
                    '"projection", projection).output, hidden, epsilon=1e-3)',
                ),
                "numpy_infer": (
                    "norm_scale, norm_shift)\n",
                    "norm_scale, norm_shift, epsilon=1e-3)\n",
                ),
            },
        ),
        Mutant(
            "probabilities without their logarithm",
            "FeedbackNetwork",
            "one level",
            {
                "pytorch_impl": ("F.log_softmax", "F.softmax"),
                "tf2_impl": ("tf.nn.log_softmax", "tf.nn.softmax"),
                "theano_impl": ("LogSoftmax(logits).output", "T.exp(LogSoftmax(logits).output)"),
                "numpy_infer": (
                    "self.log_softmax.forward(level.forward(h))",
                    "np.exp(self.log_softmax.forward(level.forward(h)))",
                ),
            },
        ),
    ),
)
