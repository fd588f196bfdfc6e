"""Chains: between an `nn.Sequential` and the list of layers in a model file.

Nested ones are flattened and `nn.Identity` is left out. Max-unpools stand in a
`layers.UnpoolSequential`.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from numpy_infer.format.row import Row
from numpy_infer.format.vocabulary import LAYERS
from pytorch_impl.interchange.components import component_name
from pytorch_impl.interchange.native import entry, layer
from pytorch_impl.interchange.record import Entry, UnsupportedError, expect
from pytorch_impl.interchange.records import BY_CLASS
from pytorch_impl.interchange.unrecorded import (
    changed_option,
    first_unrecorded,
    unrecorded,
    unwrapped,
)
from pytorch_impl.interchange.weights import Weight, dtype_of, weights
from pytorch_impl.layers.convolution import Padded
from pytorch_impl.layers.pooling import MAX_POOLS, MAX_UNPOOLS
from pytorch_impl.layers.unpool_sequential import UnpoolSequential

EXPANDED = (nn.TransformerEncoder, nn.TransformerEncoderLayer)  # into the entries of a graph
CONTAINERS = (nn.Sequential, UnpoolSequential)
SUPPORTED = ", ".join([one.__name__ for one in (*CONTAINERS, *BY_CLASS, Padded, nn.Identity)])


class Step(NamedTuple):
    """One layer: its entry in a model file, {canonical name: weight}."""

    entry: dict[str, Any]
    weights: dict[str, Weight]


def steps(model: nn.Sequential) -> list[Step]:
    """What a model file says of a chain, layer by layer, the input first.

    ValueError for a layer, or an option of one, that model files do not have, and for layers
    that share a weight.
    """
    if not _is_container(model):
        raise ValueError(f"model: expected an nn.Sequential, got {type(model).__name__}")
    if unrecorded(model):
        raise ValueError(f"model: expected what its layers say, got {unrecorded(model)}")
    found = [Step({"layer": "Input", "previous": [], "config": {}}, {})]
    _add_steps(found, model, "", dtype_of(model))
    if len(found) == 1:
        raise ValueError("model: expected at least one layer, got none")
    _check_own(found)
    return found


def is_plain(model: nn.Sequential) -> bool:
    """Whether a chain has layers and chains alone, and no module with a forward of another kind.

    A layer that PyTorch has and model files do not is a layer too: `steps` refuses it by name.
    """
    for module in map(unwrapped, model._modules.values()):
        if isinstance(module, nn.Sequential):
            if not is_plain(module):
                return False
        elif type(module) in EXPANDED or not (
            type(module).__module__.startswith("torch.nn.")
            or type(module) in BY_CLASS
            or isinstance(module, Padded)
            or component_name(module)
        ):
            return False
    return _is_container(model)


def build(
    layers: Sequence[Mapping[str, Any]], shapes: Mapping[str, Sequence[int]], dtype: str
) -> nn.Sequential:
    """The chain of a model file, its weights yet to be set.

    layers: the file's entries. shapes: of its arrays, {"<place>.<name>": shape}. dtype: float32
    or float64. Returns an `nn.Sequential`, an `UnpoolSequential` when there is an unpool, in
    training mode. ValueError for a graph that is not a chain and for what is not in the vocabulary.
    """
    if len(layers) < 2:
        raise ValueError(f"layers: expected an input and a layer, got {list(layers)}")
    modules: list[nn.Module] = []
    by_place = _by_place(shapes)
    pools: list[int] = []  # the places of those that are yet to be undone
    undone = {one["previous"][-1] + 1 for one in layers if one["layer"] == "MaxUnpool"}
    for place, one in enumerate(layers[1:], start=1):
        name, previous = one["layer"], [place - 1]
        if name == "MaxUnpool" and pools:
            previous.append(pools.pop() - 1)
        if list(one["previous"]) != previous:
            raise ValueError(
                f"layers: expected a chain, where {name} at place {place} takes {previous}, "
                f"got {one['previous']}"
            )
        if name == "MaxUnpool" and one["config"] != layers[previous[-1] + 1]["config"]:
            raise ValueError(
                f"layers: expected the config of its MaxPool at place {place}, got {one['config']}"
            )
        if LAYERS.get(name, Row()).combines:
            raise ValueError(f"layers: expected a chain, got {name} at place {place}, of several")
        own = by_place.get(str(place), {})
        try:
            described = Entry(name, one["config"], one.get("training", {}))
            module = layer(described, own, getattr(torch, dtype))
        except (TypeError, ValueError) as error:
            raise ValueError(f"layer {place} ({name}): {error}") from error
        if name == "MaxPool" and place in undone:
            _unpadded(module).return_indices = True
            pools.append(place)
        modules.append(module)
    return (UnpoolSequential if undone else nn.Sequential)(*modules)


def _by_place(shapes: Mapping[str, Sequence[int]]) -> dict[str, dict[str, Sequence[int]]]:
    """The shapes of a chain's arrays, {place: {name: shape}}."""
    found: dict[str, dict[str, Sequence[int]]] = {}
    for path, shape in shapes.items():
        place, _, name = path.partition(".")
        found.setdefault(place, {})[name] = shape
    return found


def _add_steps(found: list[Step], model: nn.Module, path: str, dtype: torch.dtype) -> None:
    pools: list[tuple[int, nn.Module]] = []  # those that are yet to be undone, and their places
    for key, module in model._modules.items():  # children() leaves out what comes a second time
        assert module is not None
        module = unwrapped(module)
        name, place = f"{path}{key}", len(found)
        contained = _is_container(module)
        left_out = contained or isinstance(module, nn.Identity)
        try:
            described, previous = None if left_out else entry(module), [place - 1]
            hidden = unrecorded(module) if contained else first_unrecorded(module)
            if hidden is None and component_name(module):
                hidden = changed_option(module)
            if hidden:
                raise UnsupportedError(hidden)
            own = _unpadded(module)
            if isinstance(own, MAX_POOLS) and own.return_indices:
                expect(own, "return_indices", isinstance(model, UnpoolSequential))
                pools.append((place, module))
            elif isinstance(own, MAX_UNPOOLS):
                previous.append(_undo(pools, module) - 1)
        except UnsupportedError as error:
            raise ValueError(
                f"model: expected layers that model files have, got {error} at place {place} "
                f"({name}); they have {SUPPORTED} and components"
            ) from None
        if contained:
            _add_steps(found, module, f"{name}.", dtype)
        elif described is not None:
            found.append(Step(_as_dict(described, previous), weights(module, dtype)))


def _undo(pools: list[tuple[int, nn.Module]], module: nn.Module) -> int:
    """The place of the pool that an unpool undoes; it is taken off the list."""
    name = type(_unpadded(module)).__name__
    if not pools:
        raise UnsupportedError(f"{name} without a pool before it in an UnpoolSequential")
    place, pool = pools.pop()
    config = entry(module).config
    if config != entry(pool).config or isinstance(module, Padded) != isinstance(pool, Padded):
        raise UnsupportedError(f"{name} with other options than the pool that it undoes")
    if any(map(operator.lt, config["stride"], config["size"])):
        raise UnsupportedError(f"{name} with a stride below its kernel_size")
    return place


def _as_dict(described: Entry, previous: list[int]) -> dict[str, Any]:
    found = {"layer": described.layer, "previous": previous, "config": described.config}
    return {**found, "training": dict(described.training)} if described.training else found


def _is_container(module: nn.Module) -> bool:
    return type(module).forward in [one.forward for one in CONTAINERS]


def _unpadded(module: nn.Module) -> Any:
    return module.layer if isinstance(module, Padded) else module


def _check_own(found: list[Step]) -> None:
    """ValueError for memory that is not there, or belongs to two weights: files would have two."""
    owners: dict[int, str] = {}
    for place, step in enumerate(found):
        for name, weight in step.weights.items():
            if weight.view.is_meta:
                raise ValueError(f"model: expected values, got {place}.{name} on the meta device")
            owner = owners.setdefault(weight.view.data_ptr(), f"{place}.{name}")
            if weight.view.numel() and owner != f"{place}.{name}":
                raise ValueError(
                    f"model: expected weights of its own in each layer, got {place}.{name} "
                    f"that is {owner} too"
                )
