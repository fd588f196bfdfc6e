"""Graphs: from the entries of a model file to a `torch.fx.GraphModule`.

Its children have the names of the file, those of the model that was saved; what has none there is
called by its layer and its place, `add_5`. The forward takes the inputs by their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from pytorch_impl.interchange.native import layer
from pytorch_impl.interchange.record import Entry

SHAPES = "inputs"  # of the inputs, in a GraphModule's meta


def build(
    config: Mapping[str, Any], shapes: Sequence[Mapping[str, Sequence[int]]], dtype: str
) -> fx.GraphModule:
    """The graph of a model file, its weights yet to be set.

    config: as in the file, checked. shapes: of the arrays at each place. dtype: float32 or
    float64. Returns a module in training mode. ValueError for what is not in the vocabulary.
    """
    root, graph = nn.Module(), fx.Graph()
    nodes = [graph.placeholder(name) for name in config["inputs"]]
    paths: dict[int, str] = {}
    for place, entry in enumerate(config["layers"][len(nodes) :], start=len(nodes)):
        name = entry["layer"]
        owner = entry.get("shares", place)
        if owner == place:
            described = Entry(name, entry["config"], entry.get("training", {}))
            try:
                module = layer(described, shapes[place], getattr(torch, dtype))
            except (TypeError, ValueError) as error:
                raise ValueError(f"layer {place} ({name}): {error}") from error
            paths[place] = _add(root, entry.get("name") or unnamed(name, place), module)
        given = tuple(nodes[one] for one in entry["previous"])
        nodes.append(graph.call_module(paths[owner], given))
    outputs = {name: nodes[place] for name, place in config["outputs"].items()}
    graph.output(outputs if len(outputs) > 1 else next(iter(outputs.values())))
    made = fx.GraphModule(root, graph, "Graph")
    made.meta[SHAPES] = {name: dict(one) for name, one in config["inputs"].items()}
    return made


def unnamed(layer_name: str, place: int) -> str:
    """What a child is called whose entry has no name."""
    return f"{layer_name.rpartition('.')[2].lower()}_{place}"


def _add(root: nn.Module, path: str, module: nn.Module) -> str:
    """The path at which the module has been put: one that no attribute of modules has."""
    parts = [f"{one}_" if hasattr(fx.GraphModule, one) else one for one in path.split(".")]
    holder = root
    for part in parts[:-1]:
        if part not in holder._modules:
            holder.add_module(part, nn.Module())
        holder = holder.get_submodule(part)
    holder.add_module(parts[-1], module)
    return ".".join(parts)
