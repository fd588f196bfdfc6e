"""The layers of a Keras model in the order in which data goes through them."""

from __future__ import annotations

from inspect import signature
from typing import Any, NamedTuple

import keras

from tf2_impl.interchange.open_chain import OpenModel
from tf2_impl.layers.pooling import MaxUnpool


class Call(NamedTuple):
    """A layer where it stands in a chain.

    shape: of what it takes, None when unknown. unpooled: which tensor of the chain a max-unpool
    takes besides, counted from 0, the chain's input. training: whether it was called so for good.
    """

    layer: Any
    shape: tuple[int | None, ...] | None = None
    unpooled: int | None = None
    training: bool = False


def is_chain(model: keras.Layer) -> bool:
    """Whether it is a `keras.Sequential` or a functional `keras.Model`."""
    sequential = isinstance(model, keras.Sequential) and type(model).call is keras.Sequential.call
    return sequential or type(model).__name__ == "Functional" or type(model) is OpenModel


def calls(model: keras.Model) -> list[Call]:
    """The layers of a chain, nested ones in their places, inputs left out.

    ValueError for a model with branches.
    """
    found: list[Call] = []
    # Each tensor of the graph with the number of layers before it.
    numbers: dict[int, int] = {}
    for layer, tensors, training in _graph(model):
        if tensors:
            numbers[id(tensors[0])] = len(found)
        unpooled = numbers.get(id(tensors[1])) if len(tensors) > 1 else None
        if is_chain(layer):
            first = len(found)
            found += [
                one if one.unpooled is None else one._replace(unpooled=first + one.unpooled)
                for one in calls(layer)
            ]
        else:
            shape = tuple(tensors[0].shape) if tensors else None
            found.append(Call(layer, shape, unpooled, training))
    return found


def _graph(model: keras.Model) -> list[tuple[Any, list[Any], bool]]:
    """Each layer with the tensors that it takes; with none where sizes have not been given yet."""
    if isinstance(model, keras.Sequential) and not hasattr(model, "inputs"):
        return [(layer, [], False) for layer in model.layers]
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"model: expected one input and one output, got {len(model.inputs)} "
            f"and {len(model.outputs)} in {model.name}"
        )
    found: list[tuple[Any, list[Any], bool]] = []
    tensor = model.outputs[0]
    while tensor is not model.inputs[0]:
        # Keras says nowhere else where a tensor comes from.
        layer, node, _ = tensor._keras_history
        made = layer._inbound_nodes[node]
        given = made.arguments.kwargs
        tensors = [one for one in made.input_tensors if one is not given.get("mask")]
        if len(tensors) != 1 and not (isinstance(layer, MaxUnpool) and len(tensors) == 2):
            raise ValueError(
                f"model: expected layers of one input, got {type(layer).__name__} of "
                f"{len(tensors)} ({layer.name})"
            )
        found.append((layer, tensors, is_training(made)))
        tensor = tensors[0]
    return found[::-1]


def is_training(node: Any) -> bool:
    """Whether a layer was called as when training for good.

    What Keras calls so by default, such as `Resizing`, computes the same when it infers.
    """
    given = node.arguments.kwargs.get("training") is True
    usual = signature(node.operation.call).parameters.get("training")
    return given and (usual is None or usual.default is not True)
