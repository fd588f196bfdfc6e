"""The layers of a model as the lines of a table, for a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def layer_table(layers: Sequence[Mapping[str, Any]]) -> list[str]:
    """A head and a line for each layer; layers: as `describe` has them."""
    rows = [["place", "layer", "from", "name", "config", "arrays", "output", "parameters"]]
    for layer in layers:
        output = layer.get("output", "")
        config = layer["config"] | layer["training"]
        arrays = ", ".join(f"{name} {shown(shape)}" for name, shape in layer["arrays"].items())
        cells = [
            str(layer["place"]),
            layer["layer"],
            ", ".join(map(str, layer["previous"])),
            layer.get("name", ""),
            ", ".join(f"{key}={json.dumps(value)}" for key, value in config.items()),
            f"those of {layer['shares']}" if "shares" in layer else arrays,
            output if isinstance(output, str) else shown(output),
            f"{layer['parameters']:,}" if layer["parameters"] else "",
        ]
        rows.append([harmless(cell) for cell in cells])
    return table(rows)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table without its empty columns; the first row is the head."""
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in zip(*columns, strict=True)
    ]


def harmless(text: str) -> str:
    """Text without what would steer the terminal: such characters as Python writes them."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def shown(shape: Sequence[int | None]) -> str:
    """A shape as text, n where it is not known: (n, 3, 32, 32)."""
    sizes = ["n" if size is None else str(size) for size in shape]
    return f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"
