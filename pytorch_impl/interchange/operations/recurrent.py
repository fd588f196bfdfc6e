"""`nn.GRU` and `nn.LSTM` of a forward: an entry for each layer, one more where last states are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from pytorch_impl.interchange.graph_entries import GraphEntries
from pytorch_impl.interchange.graph_values import Symbol, Value
from pytorch_impl.interchange.record import Entry, UnsupportedError, expect
from pytorch_impl.interchange.weights import Weight


@dataclass(frozen=True)
class States(Symbol):
    """The last states of all layers and directions, (layers · directions, batch, hidden).

    given: what each layer takes.
    """

    module: nn.GRU | nn.LSTM
    path: str
    given: tuple[Value, ...]


@dataclass(frozen=True)
class Memory(Symbol):
    """The last memories of an LSTM, which no file has."""


@dataclass(frozen=True)
class Half(Symbol):
    """The last state of one direction of two. joined: of both, forward first."""

    joined: Value
    backward: bool


def recurrent(
    graph: GraphEntries,
    module: Any,
    path: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """The output, and the last states, of layers one on the other."""
    name = type(module).__name__
    if len(args) != 1 or kwargs or not isinstance(args[0], Value):
        raise UnsupportedError(f"{name} of more than a tensor, as a state to begin with,")
    expect(module, "batch_first", module.batch_first)
    expect(module, "proj_size", not module.proj_size)
    given, x = [], args[0]
    for number in range(module.num_layers):
        if number and module.dropout:
            x = graph.append(nn.Dropout(module.dropout), [x])
        given.append(x)
        x = _entry(graph, module, path, number, x, sequences=True)
    states = States(module, path, tuple(given))
    return x, (states, Memory()) if isinstance(module, nn.LSTM) else states


def states_item(graph: GraphEntries, states: States, key: Any) -> Any:
    """The last state of one layer and direction, (batch, hidden); None for other keys."""
    directions = 1 + states.module.bidirectional
    count = directions * states.module.num_layers
    if type(key) is not int or not -count <= key < count:
        return None
    number, backward = divmod(key % count, directions)
    given = states.given[number]
    made = _entry(graph, states.module, states.path, number, given, sequences=False)
    return Half(made, bool(backward)) if directions == 2 else made


def joined(halves: Sequence[Any], dim: int) -> Value | None:
    """Both directions of one layer, one behind the other; None for anything else."""
    if len(halves) != 2 or dim not in (1, -1):
        return None
    first, second = halves
    if not (isinstance(first, Half) and isinstance(second, Half)):
        return None
    same = first.joined.place == second.joined.place
    return first.joined if same and (first.backward, second.backward) == (False, True) else None


def _entry(
    graph: GraphEntries, module: Any, path: str, number: int, x: Value, *, sequences: bool
) -> Value:
    """One layer, whose last state has an entry once, however often it is read."""
    direction = "both" if module.bidirectional else "forward"
    config = {"direction": direction, "return_sequences": sequences}
    own = {}
    for reverse in ("", "_reverse")[: 1 + module.bidirectional]:
        prefix = "backward." if reverse else ""
        parts = {
            kind: getattr(module, f"{kind}_l{number}{reverse}", None)
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        given = {key: one.detach() for key, one in parts.items() if one is not None}
        own[f"{prefix}input_weight"] = Weight(given["weight_ih"].t())
        own[f"{prefix}hidden_weight"] = Weight(given["weight_hh"].t())
        if "bias_ih" not in given:
            continue
        if isinstance(module, nn.LSTM):
            own[f"{prefix}bias"] = Weight(given["bias_ih"], added=given["bias_hh"])
        else:
            own[f"{prefix}input_bias"] = Weight(given["bias_ih"])
            own[f"{prefix}hidden_bias"] = Weight(given["bias_hh"])
    several = module.num_layers > 1
    called = f"{path}.layers.{number}" if several else path
    described = Entry(type(module).__name__, config)
    for place, entry in enumerate(graph.entries):
        same = entry["layer"] == described.layer and entry["config"] == config
        if not sequences and same and entry["previous"] == [x.place]:
            owner = entry.get("shares", place)
            if graph.is_owned(owner, own):
                return Value(place)
    return graph.append_entry(described, own, [x], called)
