"""Gradient flow in Theano: names, outputs of a compiled function, plots that can be read."""

from __future__ import annotations

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split
import sys

import numpy as np
import pytest
import theano
import theano.tensor as T

from shared_tests.fixtures import normal
from shared_tests.support.figures import LONG_NAMES, assert_legible
from theano_impl.gradient_flow import blocked_layers, gradient_flow, plot_gradient_flow
from theano_impl.layers.projection import Projection
from theano_impl.sequence_encoder import SequenceEncoder


def flow_of(params):
    """With a gradient of its own size for each: 1 for the first, 2 for the second, …"""
    gradients = [-number * T.ones_like(one) for number, one in enumerate(params, start=1)]
    flow = gradient_flow(gradients, params)
    return dict(zip(flow, map(float, theano.function([], list(flow.values()))()), strict=True))


def named(*names):
    return [theano.shared(np.ones((2, 3)), name=name) for name in names]


def test_names_and_what_is_a_bias():
    params = named(
        "words.table", "norm.scale", "norm.shift", "gru.input_weight", "gru.hidden_weight",
        "gru.input_bias", "gru.hidden_bias", "bias_net.weight", "bias_net.bias", "weight",
    )  # fmt: skip
    assert flow_of(params) == {
        "words.table": 1,
        "norm.scale": 2,
        "gru.input_weight": 4,
        "gru.hidden_weight": 5,
        "bias_net": 8,  # a layer of that name is no bias
        "weight": 10,
    }


def test_names_of_a_component():
    model = SequenceEncoder(T.lmatrix("ids"), 11, 5, 7, out_features=3, seed=1)
    names = ["table", "gru.input_weight", "gru.hidden_weight", "projection"]
    assert list(flow_of(model.params)) == names


def test_names_that_occur_twice_are_numbered():
    assert flow_of(named("weight", "bias", "weight", "other.weight")) == {
        "weight (1)": 1,
        "weight (2)": 3,
        "other": 4,
    }


def test_no_gradient_is_zero():
    flow = gradient_flow([T.ones((2, 3)), None], named("a", "b"))
    found = dict(zip(flow, theano.function([], list(flow.values()))(), strict=True))
    assert found == {"a": 1, "b": 0}
    assert found["b"].dtype == "float64"
    assert blocked_layers([found], steps=1) == ["b"]


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="gradients: expected one for each of 2 params, got 1"):
        gradient_flow([T.ones((2, 3))], named("a", "b"))
    with pytest.raises(ValueError, match="params: expected a name for each, got none at index 1"):
        gradient_flow(2 * [T.ones((2, 3))], named("a", None))


def test_flow_comes_with_a_step_of_training():
    x = T.matrix("x", dtype=theano.config.floatX)
    net = [first := Projection(x, 7, 5, seed=1), Projection(T.tanh(first.output), 5, 3, seed=2)]
    for layer, name in zip(net, ("z", "a"), strict=True):
        layer.weight.name = f"{name}.weight"
    params = [layer.weight for layer in net]
    loss = T.sum(net[-1].output ** 2)
    gradients = T.grad(loss, params)
    flow = gradient_flow(gradients, params)
    updates = [(one, one - 0.01 * g) for one, g in zip(params, gradients, strict=True)]
    train = theano.function([x], {"loss": loss, **flow}, updates=updates)
    dense = theano.function([x], gradients)
    rows = normal(4, 7, seed=3).astype(theano.config.floatX)
    wanted = [abs(one).mean() for one in dense(rows)]
    found = train(rows)
    assert list(found) == ["a", "loss", "z"]  # sorted by Theano: the flow knows the order
    np.testing.assert_allclose([found[name] for name in flow], wanted, rtol=1e-6)
    assert list(flow) == ["z", "a"]
    assert train(rows)["loss"] < found["loss"]


@pytest.mark.parametrize("names", LONG_NAMES)
def test_plots_are_legible(names):
    flow = {name: np.float32(place) for place, name in enumerate(names)}
    figure = plot_gradient_flow([flow, {**flow, names[-1]: np.float32("nan")}])
    assert_legible(figure)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == names
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == ["range over 2 steps", "blocked", "not finite"]
    assert (axes.get_ylabel(), axes.get_title()) == ("mean |gradient|", "gradient flow")


def test_plot_leaves_pyplot_alone(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    plot_gradient_flow({"layer": 1.0}).savefig(tmp_path / "flow.png")
    assert (tmp_path / "flow.png").read_bytes()[:4] == b"\x89PNG"


def test_plot_without_matplotlib_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"fourfold\[plots\]"):
        plot_gradient_flow({"layer": 1.0})
