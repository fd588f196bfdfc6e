"""One record for each layer of model files: the native classes, how to read and build them.

A new layer is one more record here, and its native class in `layers/` where PyTorch has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pytorch_impl.interchange.convolution_records import AFFINE
from pytorch_impl.interchange.convolution_records import RECORDS as CONVOLUTIONS
from pytorch_impl.interchange.record import Record, expect, plain
from pytorch_impl.interchange.space_records import RECORDS as SPACE
from pytorch_impl.layers.activations import (
    HardSigmoid,
    ScaleShift,
    StochasticDepth,
    TopKGating,
)
from pytorch_impl.layers.attention import (
    Attention,
    MaskedAttention,
    MaskedMean,
    PositionEmbedding,
    TimeStep,
)
from pytorch_impl.layers.combinations import (
    Add,
    Average,
    Concatenate,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
)
from pytorch_impl.layers.normalization import Affine, BatchNorm, L2Normalize
from pytorch_impl.layers.recurrent import GRU, LSTM
from pytorch_impl.layers.shape import ChannelsFirst, ChannelsLast, Permute, Reshape, Slice

# Beyond its threshold softplus is x itself: at 20, PyTorch's own, float64 is off by 2e-9.
SOFTPLUS_THRESHOLD = 40
MATRICES = {"input_weight": "weight_ih", "hidden_weight": "weight_hh"}


def _both_ways(**attributes: str) -> dict[str, str]:
    """The attributes of a recurrent module by their canonical names, those of the way back too."""
    return {
        f"{'backward.' * bool(reverse)}{ours}": f"{theirs}_l0{reverse}"
        for reverse in ("", "_reverse")
        for ours, theirs in attributes.items()
    }


AXES = {"dim": (-1, 1)}


def _projection(*, weight: Sequence[int], bias: Any = None) -> nn.Module:
    in_features, out_features = weight
    return nn.Linear(in_features, out_features, bias=bias is not None)


def _read_batch_norm(module: Any) -> dict[str, Any]:
    expect(module, "track_running_stats", module.track_running_stats)
    expect(module, "momentum", module.momentum is not None and 0 <= module.momentum <= 1)
    return {"epsilon": module.eps, "momentum": module.momentum}


def _batch_norm(
    *, scale: Sequence[int], shift: Any, mean: Any, variance: Any, epsilon: float, momentum: float
) -> nn.Module:
    return BatchNorm(*scale, eps=epsilon, momentum=momentum)


def _read_layer_norm(module: Any) -> dict[str, Any]:
    expect(module, "normalized_shape", len(module.normalized_shape) == 1)
    return {"epsilon": module.eps}


def _layer_norm(*, scale: Sequence[int], shift: Any, epsilon: float) -> nn.Module:
    return nn.LayerNorm(scale, eps=epsilon)


def _group_norm(*, scale: Sequence[int], shift: Any, groups: int, epsilon: float) -> nn.Module:
    return nn.GroupNorm(groups, *scale, eps=epsilon)


def _read_instance_norm(module: Any) -> dict[str, Any]:
    expect(module, "track_running_stats", not module.track_running_stats)
    return {"groups": module.num_features, "epsilon": module.eps}


def _read_rms_norm(module: Any) -> dict[str, Any]:
    expect(module, "normalized_shape", len(module.normalized_shape) == 1)
    if module.eps is None:  # the input's, of which a layer without a scale does not know the dtype
        expect(module, "eps", module.weight is not None)
        return {"epsilon": torch.finfo(module.weight.dtype).eps}
    return {"epsilon": module.eps}


def _rms_norm(*, scale: Sequence[int], epsilon: float) -> nn.Module:
    return nn.RMSNorm(scale, eps=epsilon)


def _embedding(*, table: Sequence[int], padding: bool) -> nn.Module:
    vocabulary, dim = table
    return nn.Embedding(vocabulary, dim, padding_idx=0 if padding else None)


def _read_recurrent(module: Any) -> dict[str, Any]:
    return {"direction": module.direction, "return_sequences": module.return_sequences}


def _gru(*, input_bias: Any = None, **options: Any) -> nn.Module:
    return _recurrent(GRU, bias=input_bias is not None, **options)


def _lstm(*, bias: Any = None, **options: Any) -> nn.Module:
    return _recurrent(LSTM, bias=bias is not None, **options)


def _recurrent(
    kind: type[GRU | LSTM],
    *,
    input_weight: Sequence[int],
    hidden_weight: Sequence[int],
    bias: bool,
    direction: str,
    return_sequences: bool,
    **others: Any,
) -> nn.Module:
    return kind(
        input_weight[0],
        hidden_weight[0],
        bias=bias,
        direction=direction,
        return_sequences=return_sequences,
    )


def _read_dropout(module: Any) -> dict[str, Any]:
    expect(module, "p", module.p < 1)
    return {"rate": module.p}


RECORDS = (
    Record(
        "Projection",
        {nn.Linear: lambda module: {}},
        _projection,
        weights=AFFINE,
        transposed=True,
    ),
    *CONVOLUTIONS,
    *SPACE,
    Record(
        "BatchNorm",
        dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, BatchNorm), _read_batch_norm),
        _batch_norm,
        weights={
            "scale": "weight",
            "shift": "bias",
            "mean": "running_mean",
            "variance": "running_var",
        },
    ),
    Record(
        "LayerNorm",
        {nn.LayerNorm: _read_layer_norm},
        _layer_norm,
        weights={"scale": "weight", "shift": "bias"},
    ),
    Record(
        "GroupNorm",
        {
            nn.GroupNorm: lambda module: {"groups": module.num_groups, "epsilon": module.eps},
            **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d), _read_instance_norm),
        },
        _group_norm,
        weights={"scale": "weight", "shift": "bias"},
    ),
    Record("RMSNorm", {nn.RMSNorm: _read_rms_norm}, _rms_norm, weights={"scale": "weight"}),
    Record(
        "Affine",
        {Affine: lambda module: {"fixed": module.fixed}},
        lambda *, scale, shift=None, fixed: Affine(*scale, bias=shift is not None, fixed=fixed),
        weights={"scale": "scale", "shift": "shift"},
    ),
    plain("L2Normalize", L2Normalize, epsilon="epsilon"),
    Record(
        "Embedding",
        {nn.Embedding: lambda module: {"padding": module.padding_idx == 0}},
        _embedding,
        {"padding_idx": (None, 0), "max_norm": (None,), "scale_grad_by_freq": (False,)},
        {"table": "weight"},
    ),
    Record(
        "GRU",
        {GRU: _read_recurrent},
        _gru,
        weights=_both_ways(**MATRICES, input_bias="bias_ih", hidden_bias="bias_hh"),
        transposed=True,
        parts=(nn.GRU,),
    ),
    Record(
        "LSTM",
        {LSTM: _read_recurrent},
        _lstm,
        weights=_both_ways(**MATRICES, bias="bias_ih"),
        added=_both_ways(bias="bias_hh"),
        transposed=True,
    ),
    plain("Attention", Attention, heads="heads", causal="causal"),
    plain("MaskedAttention", MaskedAttention, heads="heads", causal="causal", padding="padding"),
    Record(
        "PositionEmbedding",
        {PositionEmbedding: lambda module: {}},
        lambda *, table: PositionEmbedding(*table),
        weights={"table": "weight"},
    ),
    plain("TimeStep", TimeStep, index="index"),
    plain("MaskedMean", MaskedMean, padding="padding"),
    plain("Flatten", nn.Flatten, {"start_dim": (1,), "end_dim": (-1,)}),
    plain("Reshape", Reshape, shape="shape"),
    plain("Permute", Permute, order="order"),
    plain("Slice", Slice, start="start", stop="stop", axis="axis"),
    plain("ChannelsFirst", ChannelsFirst),
    plain("ChannelsLast", ChannelsLast),
    Record("Dropout", {nn.Dropout: _read_dropout}, lambda *, rate: nn.Dropout(rate)),
    plain("StochasticDepth", StochasticDepth, rate="rate"),
    plain("ReLU", nn.ReLU),
    plain("ReLU6", nn.ReLU6),
    plain("Sigmoid", nn.Sigmoid),
    plain("Tanh", nn.Tanh),
    plain("SiLU", nn.SiLU),
    Record(
        "Softplus",
        {nn.Softplus: lambda module: {}},
        lambda: nn.Softplus(threshold=SOFTPLUS_THRESHOLD),
        {"beta": (1,), "threshold": (20, SOFTPLUS_THRESHOLD)},
    ),
    plain("SELU", nn.SELU),
    Record(
        "HardSigmoid",
        dict.fromkeys((nn.Hardsigmoid, HardSigmoid), lambda module: {}),
        HardSigmoid,
    ),
    plain("HardSwish", nn.Hardswish),
    plain("Mish", nn.Mish),
    plain("LogSigmoid", nn.LogSigmoid),
    plain("Softsign", nn.Softsign),
    plain("Clip", nn.Hardtanh, minimum="min_val", maximum="max_val"),
    Record(
        "PReLU",
        {nn.PReLU: lambda module: {}},
        lambda *, slope: nn.PReLU(*slope),
        weights={"slope": "weight"},
    ),
    plain("LeakyReLU", nn.LeakyReLU, slope="negative_slope"),
    plain("ELU", nn.ELU, alpha="alpha"),
    Record(
        "GELU",
        {nn.GELU: lambda module: {"approximate": module.approximate == "tanh"}},
        lambda *, approximate: nn.GELU("tanh" if approximate else "none"),
    ),
    plain("Softmax", nn.Softmax, AXES, axis="dim"),
    plain("LogSoftmax", nn.LogSoftmax, AXES, axis="dim"),
    plain("ScaleShift", ScaleShift, scale="scale", shift="shift"),
    plain("Add", Add),
    plain("Multiply", Multiply),
    plain("Maximum", Maximum),
    plain("Minimum", Minimum),
    plain("Average", Average),
    plain("Subtract", Subtract),
    plain("Concatenate", Concatenate, axis="axis"),
    plain("TopKGating", TopKGating, k="k"),
)
BY_LAYER = {record.layer: record for record in RECORDS}
BY_CLASS = {kind: record for record in RECORDS for kind in record.natives}
