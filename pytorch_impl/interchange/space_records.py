"""The records of what changes the size of space: paddings, which crop too, and resampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from pytorch_impl.interchange.record import Record, expect, plain
from pytorch_impl.layers.space import LINEAR, Resize, Upsample

# Beyond it PyTorch's nearest entry, whose place it rounds to float32, may be the one before.
MOST_EXACT = 40
Pairs = Sequence[Sequence[int]]
ZERO_PADS = (nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d)
CONSTANT_PADS = (nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d)
REFLECTION_PADS = (nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d)
REPLICATION_PADS = (nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d)
PADS: dict[str, tuple[type[nn.Module], ...]] = {
    "constant": ZERO_PADS,
    "reflect": REFLECTION_PADS,
    "edge": REPLICATION_PADS,
}


def _read_pad(mode: str) -> Callable[[Any], dict[str, Any]]:
    def read(module: Any) -> dict[str, Any]:
        ends = module.padding  # of the last axis first
        pairs = [[*ends[start : start + 2]] for start in range(0, len(ends), 2)]
        value = float(module.value) if mode == "constant" else 0.0
        return {"padding": pairs[::-1], "mode": mode, "value": value}

    return read


def pad(*, padding: Pairs, mode: str, value: float) -> nn.Module:
    """The module that pads: [before, after] for each axis of space."""
    ends = tuple(end for pair in reversed(padding) for end in pair)
    if value:
        return CONSTANT_PADS[len(padding) - 1](ends, value)
    return PADS[mode][len(padding) - 1](ends)


def _read_upsample(module: Any) -> dict[str, Any]:
    """Of nn.Upsample with whole numbers by which the sizes are multiplied, one for each axis."""
    given = module.scale_factor
    scale = list(given) if isinstance(given, tuple) else []
    fits = all(factor >= 1 and factor == int(factor) for factor in scale)
    expect(module, "mode", module.mode in ("nearest", *LINEAR))
    if module.mode in LINEAR and isinstance(given, float):  # the mode tells the number of axes
        scale, fits = [given] * (LINEAR.index(module.mode) + 1), given == int(given)
    expect(module, "scale_factor", bool(scale) and fits)
    if module.mode == "nearest":
        expect(module, "scale_factor", max(scale) <= MOST_EXACT)
    mode = "nearest" if module.mode == "nearest" else "linear"
    return {
        "scale": [int(factor) for factor in scale],
        "mode": mode,
        "corners": bool(module.align_corners),
    }


def _upsample(*, scale: Sequence[int], mode: str, corners: bool) -> nn.Module:
    if mode == "linear":
        kind = LINEAR[len(scale) - 1]
        return nn.Upsample(scale_factor=tuple(scale), mode=kind, align_corners=corners)
    if max(scale) <= MOST_EXACT:
        return nn.Upsample(scale_factor=tuple(scale))
    return Upsample(scale, mode, corners)


RECORDS = (
    Record(
        "Pad",
        {
            **dict.fromkeys((*ZERO_PADS, *CONSTANT_PADS), _read_pad("constant")),
            **dict.fromkeys(REFLECTION_PADS, _read_pad("reflect")),
            **dict.fromkeys(REPLICATION_PADS, _read_pad("edge")),
        },
        pad,
    ),
    Record(
        "Upsample",
        {
            nn.Upsample: _read_upsample,
            Upsample: lambda module: {
                "scale": module.scale,
                "mode": module.mode,
                "corners": module.corners,
            },
        },
        _upsample,
    ),
    plain("Resize", Resize, size="size", mode="mode", corners="corners"),
)
