"""Gradient flow in TensorFlow: paths, graphs, plots that can be read, TensorBoard."""

from __future__ import annotations

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from shared_tests.support.figures import LONG_NAMES, assert_legible
from tf2_impl.gradient_flow import (
    blocked_layers,
    gradient_flow,
    plot_gradient_flow,
    write_gradient_flow,
)
from tf2_impl.sequence_encoder import SequenceEncoder


def numbered(variables):
    """A gradient of its own size for each: 1 for the first, 2 for the second, …"""
    return [tf.fill(one.shape, tf.cast(-n, one.dtype)) for n, one in enumerate(variables, start=1)]


def flow_of(variables):
    return {name: float(one) for name, one in gradient_flow(numbered(variables), variables).items()}


def test_names_and_what_is_a_bias():
    model = keras.Sequential(
        [
            keras.layers.Embedding(5, 4, name="words"),
            keras.layers.LayerNormalization(name="norm"),
            keras.layers.Bidirectional(keras.layers.GRU(3, name="gru"), name="both"),
            keras.layers.Dense(2, name="bias_net"),  # a layer of that name is no bias
        ],
        name="model",
    )
    model.build((None, 7))
    flow = flow_of(model.trainable_variables)
    assert list(flow) == [
        "model/words/embeddings",
        "model/norm/gamma",
        "model/both/forward_gru/gru_cell",
        "model/both/forward_gru/gru_cell/recurrent_kernel",
        "model/both/backward_gru/gru_cell",
        "model/both/backward_gru/gru_cell/recurrent_kernel",
        "model/bias_net",
    ]
    # 1, 2 and so on; numbers are missing where biases were left out.
    assert list(flow.values()) == [1, 2, 4, 5, 7, 8, 10]


def test_names_of_a_component():
    model = SequenceEncoder(11, 5, 7, out_features=3, seed=1, name="reader")
    table, *gru, projection = flow_of(model.trainable_variables)
    assert table == "reader/table"
    assert len(gru) == 2
    assert projection == model.projection.name  # a layer made in a constructor has no path


def test_paths_that_occur_twice_are_numbered():
    layers = [keras.layers.Dense(2, name="same") for _ in range(3)]
    for layer in layers:
        layer.build((None, 2))
    variables = [one for layer in layers for one in layer.trainable_variables]
    assert flow_of(variables) == {"same (1)": 1, "same (2)": 3, "same (3)": 5}


def test_variables_of_tensorflow():
    variables = [tf.Variable(tf.ones((2, 3)), name="table"), tf.Variable(tf.ones(3), name="bias")]
    assert flow_of(variables) == {"table": 1}


def test_no_gradient_is_zero():
    variables = keras.Variable(np.ones((2, 3)), name="a"), keras.Variable(np.ones(2), name="b")
    flow = gradient_flow([tf.ones((2, 3)), None], variables)
    assert {name: float(one) for name, one in flow.items()} == {"a": 1, "b": 0}
    assert blocked_layers([flow], steps=1) == ["b"]


def test_another_number_of_gradients_is_an_error():
    variables = [keras.Variable(np.ones(2), name="a")]
    with pytest.raises(ValueError, match="gradients: expected one for each of 1 variables, got 0"):
        gradient_flow([], variables)


def test_a_graph_gives_what_eager_gives():
    words, head = keras.layers.Embedding(11, 5), keras.layers.Dense(2)
    words.build((None,))
    head.build((None, 5))
    variables = [*words.trainable_variables, *head.trainable_variables]

    def step(ids: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(head(words(ids)) ** 2)
        gradients = tape.gradient(loss, variables)
        assert isinstance(gradients[0], tf.IndexedSlices)
        return gradient_flow(gradients, variables)

    graph = tf.function(step, input_signature=[tf.TensorSpec([None, None], tf.int64)])
    ids = tf.constant([[2, 9, 2], [2, 0, 4]], tf.int64)
    eager, found = step(ids), graph(ids)
    assert list(found) == list(eager)
    np.testing.assert_allclose(list(found.values()), list(eager.values()), rtol=1e-6)
    assert min(map(float, eager.values())) > 0


@pytest.mark.parametrize("names", LONG_NAMES)
def test_plots_are_legible(names):
    flow = {name: tf.constant(float(place)) for place, name in enumerate(names)}
    figure = plot_gradient_flow([flow, {**flow, names[-1]: tf.constant(float("nan"))}])
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


@pytest.mark.parametrize("in_graph", [False, True])
def test_tensorboard_reads_what_was_written(tmp_path, in_graph):
    flows = [{"encoder/0": 0.25, "out": 3.0}, {"encoder/0": 0.0, "out": 1e-9}]
    writer = tf.summary.create_file_writer(str(tmp_path))

    def write(flow: dict[str, tf.Tensor], step: tf.Tensor) -> None:
        write_gradient_flow(writer, flow, step)

    if in_graph:
        write = tf.function(write)
    for step, flow in enumerate(flows, start=5):
        write({name: tf.constant(one) for name, one in flow.items()}, tf.constant(step, tf.int64))
    writer.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert sorted(events.Tags()["tensors"]) == ["gradient_flow/encoder/0", "gradient_flow/out"]
    for name in flows[0]:
        rows = events.Tensors(f"gradient_flow/{name}")
        found = [(one.step, float(tf.make_ndarray(one.tensor_proto))) for one in rows]
        wanted = [(step, pytest.approx(flow[name], rel=1e-7)) for step, flow in enumerate(flows, 5)]
        assert found == wanted


def test_a_flow_without_layers_is_not_written(tmp_path):
    writer = tf.summary.create_file_writer(str(tmp_path))
    with pytest.raises(ValueError, match=r"flow: expected"):
        write_gradient_flow(writer, {}, 7)
