"""The description of a file of a model or of an index as a page of text, for a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from numpy_infer.format.listing import LISTED
from numpy_infer.format.tables import harmless, layer_table, shown, table


def page(found: Mapping[str, Any]) -> str:
    """The description as a table, after one line for the whole file."""
    if "index" in found:
        return "\n".join([summary(found), "", *_index_table(found)])
    rows = layer_table(found["layers"])
    return "\n".join([summary(found), "", *rows, *_metadata(found["metadata"])])


def _metadata(values: Mapping[str, Any]) -> list[str]:
    """A line for each of the user's values, cut where it is long."""
    lines = [f"  {name}: {json.dumps(value):.80}" for name, value in values.items()]
    return ["", "metadata", *map(harmless, lines)] if lines else []


def _index_table(found: Mapping[str, Any]) -> list[str]:
    """A line for each array of an index, and its configuration."""
    rows = [["array", "shape", "type"]]
    rows += [[name, shown(one["shape"]), one["dtype"]] for name, one in found["arrays"].items()]
    settings = [f"{key}={json.dumps(value)}" for key, value in found["config"].items()]
    return [*table(rows), *(["", f"config: {harmless(', '.join(settings))}"] if settings else [])]


def summary(found: Mapping[str, Any]) -> str:
    """A line for the whole file: its kind, its version, its size and its checksum."""
    if "index" in found:
        parts = [
            f"{found['index']} of {found['vectors']:,} vectors",
            f"format version {found['version']}",
            f"{found['bytes']:,} bytes",
            f"checksum {found['checksum']}",
        ]
        return harmless(f"{found['file']}: {', '.join(parts)}")
    listed = found["component"] in LISTED
    parts = [
        f"{found['component']} of {len(found['layers'])} layers" if listed else found["component"],
        f"format version {found['version']}",
        f"{found['parameters']:,} parameters of {found['dtype']} in {found['bytes']:,} bytes",
        f"checksum {found['checksum']}",
    ]
    if not found["infers"]:
        parts.append("for a framework: NumPy does not have it")
    return harmless(f"{found['file']}: {', '.join(parts)}")
