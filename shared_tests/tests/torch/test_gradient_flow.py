"""Gradient flow in PyTorch: names, what counts as a layer, plots that can be read, TensorBoard."""

from __future__ import annotations

import sys

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.tensorboard import SummaryWriter

from pytorch_impl.gradient_flow import (
    blocked_layers,
    gradient_flow,
    plot_gradient_flow,
    write_gradient_flow,
)
from pytorch_impl.sequence_encoder import SequenceEncoder
from shared_tests.support.figures import LONG_NAMES, assert_legible


def with_gradients(model: nn.Module) -> nn.Module:
    """Every parameter with a gradient of its own size: 1 for the first, 2 for the second, …"""
    for number, parameter in enumerate(model.parameters(), start=1):
        parameter.grad = torch.full_like(parameter, -number)
    return model


def test_names_and_what_is_a_bias():
    layers = {
        "words": nn.Embedding(5, 4),
        "attention": nn.MultiheadAttention(4, 2, add_bias_kv=True),
        "norm": nn.LayerNorm(4),
        "gru": nn.GRU(4, 3, bidirectional=True),
        "bias_net": nn.Linear(3, 2),  # a layer of that name is no bias
    }
    flow = gradient_flow(with_gradients(nn.ModuleDict(layers)))
    assert list(flow) == [
        "words",
        "attention.in_proj_weight",
        "attention.out_proj",
        "norm",
        "gru.weight_ih_l0",
        "gru.weight_hh_l0",
        "gru.weight_ih_l0_reverse",
        "gru.weight_hh_l0_reverse",
        "bias_net",
    ]
    # 1, 2 and so on; numbers are missing where biases were left out.
    assert list(flow.values()) == [1, 2, 6, 8, 10, 11, 14, 15, 18]


def test_names_of_a_component():
    flow = gradient_flow(SequenceEncoder(11, 5, 7, out_features=3, seed=1))
    assert list(flow) == ["table", "gru.weight_ih_l0", "gru.weight_hh_l0", "projection"]


def test_a_layer_alone_keeps_its_weight():
    assert gradient_flow(with_gradients(nn.Linear(3, 2))) == {"weight": 1}


def test_no_gradient_is_zero_and_frozen_is_left_out():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].requires_grad_(False)
    model[1](torch.ones(1, 2)).sum().backward()
    flow = gradient_flow(model)
    assert list(flow) == ["1", "2"]
    assert flow["1"] == 1
    assert flow["2"] == 0
    assert blocked_layers([flow], steps=1) == ["2"]


def test_several_dtypes():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2).double(), nn.Linear(2, 2).bfloat16())
    assert gradient_flow(with_gradients(model)) == {"0": 1, "1": 3, "2": 5}


class Transfers(TorchDispatchMode):
    """Counts the values that are asked of a tensor one by one."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_no_value_moves_to_the_host_alone():
    model = with_gradients(nn.Sequential(*[nn.Linear(3, 3) for _ in range(5)]))
    with Transfers() as transfers:
        assert gradient_flow(model)["4"] == 9
        assert transfers.count == 0
        float(model[0].weight.grad.mean())
        assert transfers.count == 1


def test_gradients_are_left_alone():
    model = with_gradients(nn.Linear(3, 2))
    kept = model.weight.grad
    assert isinstance(kept, Tensor)
    gradient_flow(model)
    assert model.weight.grad is kept
    assert (kept == -1).all()


@pytest.mark.parametrize("names", LONG_NAMES)
def test_plots_are_legible(names):
    flow = {name: float(place) for place, name in enumerate(names)}
    figure = plot_gradient_flow([flow, {**flow, names[-1]: float("nan")}])
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


def test_tensorboard_reads_what_was_written(tmp_path):
    flows = [{"encoder.0": 0.25, "out": 3.0}, {"encoder.0": 0.0, "out": 1e-9}]
    with SummaryWriter(tmp_path) as writer:
        for step, flow in enumerate(flows, start=5):
            write_gradient_flow(writer, flow, step)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Tags()["scalars"] == ["gradient_flow/encoder.0", "gradient_flow/out"]
    for name in flows[0]:
        found = [(one.step, one.value) for one in events.Scalars(f"gradient_flow/{name}")]
        wanted = [(step, pytest.approx(flow[name], rel=1e-7)) for step, flow in enumerate(flows, 5)]
        assert found == wanted
    with SummaryWriter(tmp_path) as writer, pytest.raises(ValueError, match=r"flow: expected"):
        write_gradient_flow(writer, {}, 7)
