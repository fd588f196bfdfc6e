"""The records of what changes the size of space: paddings, which crop where they are negative."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from pytorch_impl.interchange.record import Record

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
)
