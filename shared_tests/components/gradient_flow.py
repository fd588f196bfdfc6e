"""Definition of the gradient flow: backpropagation by hand through a chain, then |gradient|."""

from __future__ import annotations

import itertools
import textwrap

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.components.chain import arrays, layers
from shared_tests.components.padded_embedding import pad_token_lists
from shared_tests.fixtures import digits, docstring_tokens, normal


def gradient_flow(x, upstream, layers, **weights):
    """The flow of each weight, in the order of the layers, and each one's share of the largest."""
    kinds = [entry["layer"] for entry in layers]
    given, values = x, []
    for place, kind in enumerate(kinds):
        values.append(given)  # what the layer takes
        if kind == "Projection":
            given = given @ weights[f"{place}.weight"] + weights[f"{place}.bias"]
        elif kind == "Embedding":
            given = weights[f"{place}.table"][given]
        elif kind == "Flatten":
            given = given.reshape(len(given), -1)
        elif kind in ("Tanh", "ReLU"):
            given = np.tanh(given) if kind == "Tanh" else np.maximum(given, 0)
    flow, gradient = [], upstream
    for place in reversed(range(len(kinds))):
        taken = values[place]
        if kinds[place] == "Projection":
            flow.insert(0, np.abs(taken.T @ gradient).mean())
            gradient = gradient @ weights[f"{place}.weight"].T
        elif kinds[place] == "Embedding":
            table = np.zeros_like(weights[f"{place}.table"])
            for index in np.ndindex(taken.shape):
                table[taken[index]] += gradient[index]
            table[0] = 0  # padding
            touched = [np.abs(row).mean() for row in table if row.any()]
            flow.insert(0, np.mean(touched) if touched else 0.0)
        elif kinds[place] == "Flatten":
            gradient = gradient.reshape(taken.shape)
        elif kinds[place] == "Tanh":
            gradient = gradient * (1 - np.tanh(taken) ** 2)
        elif kinds[place] == "ReLU":
            gradient = gradient * (taken > 0)
    return {"flow": np.array(flow), "share": np.array(flow) / max(flow)}


def blocked_layers(flows, share=1e-3, steps=5):
    blocked = []
    for layer in range(flows.shape[1]):
        low = [step[layer] == 0 or step[layer] < share * max(step) for step in flows[-steps:]]
        blocked.append(all(low))
    return {"blocked": np.array(blocked)}


def plot_gradient_flow(flow, share=1e-3):
    steps = np.atleast_2d(flow)
    lost = ~np.isfinite(steps)
    shown = np.where(lost, 0, steps)
    ends = [[min(layer), max(layer)] for layer in shown.T] if len(steps) > 1 else []
    blocked = blocked_layers(shown, share, len(steps))["blocked"]
    return {
        "heights": shown[-1],
        "centres": np.arange(1.0 * len(shown[-1])),
        "ticks": np.arange(1.0 * len(shown[-1])),
        "labels": np.arange(len(shown[-1])),
        "ranges": np.array(ends).reshape(-1, 2),
        "blocked": blocked & ~lost.any(axis=0),
        "not finite": lost[-1],
    }


def projections(*widths):
    """Weights of projections at the places 1, 3, …, with an activation between two of them."""
    found = {}
    for number, (n, m) in enumerate(itertools.pairwise(widths)):
        place = 2 * number + 1
        found |= arrays(place, 20 + number, weight=(n, m), bias=(m,))
    return found


def dead(weights, place):
    """With a bias that no relu lets through."""
    return {**weights, f"{place}.bias": weights[f"{place}.bias"] - 1000}


def case(name, x, weights, entries, width, scale=1.0, seed=31):
    upstream = scale * normal(len(x), width, seed=seed)
    return Case(name, {"x": x, "upstream": upstream, **weights}, entries)


NO_CONFIG: dict[str, object] = {}
PROJECTION, TANH, RELU = (("Projection", NO_CONFIG), ("Tanh", NO_CONFIG), ("ReLU", NO_CONFIG))
DEEP = layers(PROJECTION, RELU, PROJECTION, TANH, PROJECTION)
SMALL = layers(PROJECTION, TANH, PROJECTION)
EMBEDDED = layers(("Embedding", {}, {"padding": True}), ("Flatten", {}), PROJECTION)
WEIGHTS = projections(7, 5, 11, 3)
X = normal(4, 7, seed=30)
# What is wrong with it, each package has another argument for.
WEIGHTLESS = {**dict.fromkeys(WEIGHTS), "upstream": X, **layers(TANH)}
PIXELS = digits(5)[0]
REPEATED = np.array([[2, 9, 2], [2, 0, 4], [9, 10, 2]])
DOCSTRINGS = pad_token_lists([one[:7] for one in docstring_tokens(textwrap, vocabulary_size=53)])


def embedded(vocabulary_size, longest):
    table = arrays(1, 32, table=(vocabulary_size, 5))
    table["1.table"][0] = 0
    return {**table, **arrays(3, 33, weight=(5 * longest, 2), bias=(2,))}


PACKAGES = ("pytorch_impl", "tf2_impl", "theano_impl")
PLAIN = "numpy_infer.gradient_flow"  # what is done with the numbers belongs to no framework
SIZES = np.abs(normal(6, 13, seed=34)) + 0.1  # of six steps, thirteen layers
FADED, EQUAL = SIZES.copy(), SIZES.copy()
FADED[:, 4] = 0
FADED[:, 9] = 1e-7 * SIZES[:, 9]
FADED[3, 11] = FADED[-1, 2] = 0  # in one step alone
LATE = SIZES.copy()
LATE[3:, 7] = 1e-6
LOST = SIZES[:, :5].copy()
LOST[-1, 1], LOST[2, 3], LOST[-1, 4] = np.nan, np.nan, np.inf
LOST[:, 0] = 0

DEFINITION = Definition(
    "gradient_flow",
    operations=(
        Operation(
            "gradient_flow",
            gradient_flow,
            cases=(
                case("chain", X, WEIGHTS, DEEP, 3),
                case("one layer", X, projections(7, 3), layers(PROJECTION), 3),
                case("dead relu", X, dead(WEIGHTS, 1), DEEP, 3),
                case("huge", X, WEIGHTS, DEEP, 3, scale=1e30),
                case("tiny", X, WEIGHTS, DEEP, 3, scale=1e-30).vanishes("value:flow"),
                case("embedding", REPEATED, embedded(11, 3), EMBEDDED, 2),
                case("padding alone", np.zeros((2, 3), int), embedded(11, 3), EMBEDDED, 2),
                case("large table", REPEATED, embedded(10_007, 3), EMBEDDED, 2),
                case("digits", PIXELS, projections(64, 11, 3), SMALL, 3),
                case("docstrings", DOCSTRINGS, embedded(53, 7), EMBEDDED, 2),
            ),
            bad_inputs=(BadInput({"(model|variables|params)": None, **WEIGHTLESS}),),
            differentiable=False,
        ),
        Operation(
            "plot_gradient_flow",
            plot_gradient_flow,
            cases=(
                Case("one step", {"flow": SIZES[0]}),
                Case("several steps", {"flow": SIZES}),
                Case("one layer", {"flow": SIZES[0, :1]}),
                Case("blocked", {"flow": FADED[-1]}),
                Case("blocked in every step", {"flow": FADED}),
                Case("larger share", {"flow": SIZES[0]}, {"share": 0.5}),
                Case("nothing flows", {"flow": np.zeros((2, 3))}),
                Case("not finite", {"flow": LOST}),
            ),
            bad_inputs=(
                BadInput({"flow": {}}),
                BadInput({"flow": []}),
                BadInput({"flow": [{"a": 1.0}, {"a": 1.0, "b": 2.0}]}),
                BadInput({"flow": [1.0, 2.0]}, TypeError),
                BadInput({"flow": None}, TypeError),
                BadInput({"share": -0.1}),
                BadInput({"share": 1.0}),
                BadInput({"share": float("nan")}),
            ),
            differentiable=False,
        ),
        Operation(
            "blocked_layers",
            blocked_layers,
            cases=(
                Case("none", {"flows": SIZES}),
                Case("blocked", {"flows": FADED}),
                Case("of late", {"flows": LATE}, {"steps": 3}),
                Case("not for so long", {"flows": LATE}, {"steps": 4}),
                Case("one step", {"flows": FADED[-1:]}, {"steps": 1}),
                Case("larger share", {"flows": SIZES}, {"share": 0.6, "steps": 2}),
                Case("exactly zero alone", {"flows": FADED}, {"share": 0.0}),
                Case("nothing flows", {"flows": np.zeros((5, 3))}),
                Case("tiny", {"flows": 1e-30 * FADED}),
                Case("NaN long ago", {"flows": LOST[:5]}, {"steps": 2}),
            ),
            bad_inputs=(
                BadInput({"flows": []}),
                BadInput({"flows": [{}]}),
                BadInput({"flows": {"a": 1.0}}, TypeError),
                BadInput({"flows": 5 * [{"a": 1.0}] + [{"b": 1.0}]}),
                BadInput({"flows": LOST}),
                BadInput({"steps": 0}),
                BadInput({"steps": 7}),
                BadInput({"steps": 2.0}, TypeError),
                BadInput({"share": -0.1}),
                BadInput({"share": 1.0}),
            ),
            differentiable=False,
        ),
    ),
    mutants=(
        Mutant(
            "sum for mean",
            "gradient_flow",
            "chain",
            {
                "pytorch_impl": (".abs().mean()", ".abs().sum()"),
                "tf2_impl": ("return tf.reduce_mean", "return tf.reduce_sum"),
                "theano_impl": ("return T.mean", "return T.sum"),
            },
        ),
        Mutant(
            "signs cancel",
            "gradient_flow",
            "digits",
            {
                "pytorch_impl": (".abs().mean()", ".mean().abs()"),
                "tf2_impl": (
                    "tf.reduce_mean(tf.abs(gradient))",
                    "tf.abs(tf.reduce_mean(gradient))",
                ),
                "theano_impl": ("T.mean(abs(gradient))", "abs(T.mean(gradient))"),
            },
        ),
        Mutant(
            "biases stay",
            "gradient_flow",
            "one layer",
            dict.fromkeys(PACKAGES, ('"bias" in name', '"offset" in name')),
            file="numpy_infer.support.layer_names",
        ),
        Mutant(
            "sizes before the sum over an id's rows",
            "gradient_flow",
            "embedding",
            {
                "pytorch_impl": ("gradient.coalesce().values()", "gradient._values()"),
                "tf2_impl": ("sum_rows(rows).values", "rows.values"),
            },
        ),
        Mutant(
            "mean over the whole table",
            "gradient_flow",
            "docstrings",
            {
                "pytorch_impl": ("(sizes != 0).sum().clamp(min=1)", "len(parameter)"),
                "tf2_impl": ("tf.maximum(touched, 1)", "variable.shape[0]"),
                "theano_impl": ("T.maximum(touched, 1)", "param.shape[0]"),
            },
        ),
        Mutant(
            "a table without a gradient is no number",
            "gradient_flow",
            "padding alone",
            {
                "pytorch_impl": (".sum().clamp(min=1)", ".sum()"),
                "tf2_impl": ("tf.maximum(touched, 1)", "touched"),
                "theano_impl": ("T.maximum(touched, 1)", "touched"),
            },
        ),
        Mutant(
            "any step blocks",
            "blocked_layers",
            "blocked",
            dict.fromkeys(PACKAGES, ("(values == 0)).all(axis=0)", "(values == 0)).any(axis=0)")),
            file=PLAIN,
        ),
        Mutant(
            "the last step alone",
            "blocked_layers",
            "not for so long",
            dict.fromkeys(PACKAGES, ("last = values[-steps:]", "last = values[-1:]")),
            file=PLAIN,
        ),
        Mutant(
            "the first step's bars",
            "plot_gradient_flow",
            "several steps",
            dict.fromkeys(
                PACKAGES, ("axes.bar(positions, shown[-1]", "axes.bar(positions, shown[0]")
            ),
            file=PLAIN,
        ),
        Mutant(
            "a fixed bound",
            "plot_gradient_flow",
            "larger share",
            dict.fromkeys(PACKAGES, ("values < share * largest", "values < 1e-3")),
            file=PLAIN,
        ),
    ),
)
