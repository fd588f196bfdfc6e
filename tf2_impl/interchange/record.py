"""What a record says: how one layer of model files and Keras's layers become each other."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import keras

from tf2_impl.interchange.weight import Weight

NOTHING: Mapping[Any, Any] = MappingProxyType({})
Options = dict[str, Any]
Ints = Sequence[int]
Pairs = Sequence[Sequence[int]]
Layers = list[keras.Layer]
Read = Callable[[Any, Any], Options]
ZERO_PADDINGS = (keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D)


class Record(NamedTuple):
    """One layer of `numpy_infer.format.vocabulary`.

    layer: its name there. natives: each class of Keras that is this layer, with the function of
    such a layer and the shape of its input, None when unknown, that reads its options, those for
    training too. build: from a dtype, the shapes of the arrays (`backward.` as `backward_`), what
    `placed` names and all options, as keywords, to the layers, built. accepted: the values of
    native options with which a class is this layer, asked where it has the option. weights: of
    each class with weights, in components too, the function that finds them. placed: what `build`
    needs to know of where the entry stands: rank, channels, told or counted. functions: each
    activation function that is this layer, with the options that it has in a dtype. masked: the
    classes that leave out the steps of a mask, which model files do not have. in_order: whether the
    order of the features matters to a layer, and its arrays cannot be put in another.
    """

    layer: str
    natives: Mapping[type[keras.Layer], Read]
    build: Callable[..., Layers]
    accepted: Mapping[str, Container[Any]] = NOTHING
    weights: Mapping[type[keras.Layer], Callable[[Any], dict[str, Weight]]] = NOTHING
    placed: tuple[str, ...] = ()
    functions: Mapping[Any, Callable[[str], Options]] = NOTHING
    masked: tuple[type[keras.Layer], ...] = ()
    in_order: bool = False


class Entry(NamedTuple):
    """What a model file says of a layer, but for its place and its weights."""

    layer: str
    config: dict[str, Any]
    training: Mapping[str, Any] = NOTHING


class UnsupportedError(ValueError):
    """A layer, or an option of one, that is not in the vocabulary: the message is its name."""


def activation(layer: str, name: str) -> Record:
    """The record of an activation without options that Keras has as a function of this name."""
    function = getattr(keras.activations, name)
    return Record(
        layer,
        {},
        lambda dtype: [keras.layers.Activation(name, dtype=dtype)],
        functions={function: no_options},
    )


def no_options(*where: Any) -> Options:
    """What is read off a layer without options."""
    return {}


def attributes(**kinds: Callable[[Any], Any]) -> Read:
    """Reads options that are attributes of a layer, each made of its kind."""
    return lambda layer, shape: {name: kind(getattr(layer, name)) for name, kind in kinds.items()}


def plain(kind: Callable[..., keras.Layer], *arguments: Any) -> Callable[..., Layers]:
    """Builds a layer whose arguments have the names of the options."""
    return lambda dtype, **config: [kind(*arguments, **config, dtype=dtype)]


def expect(layer: keras.Layer, option: str, accepted: bool) -> None:
    """UnsupportedError unless this option of a layer is accepted."""
    if not accepted:
        value = getattr(layer, option)
        shown = getattr(value, "__name__", None) or repr(value)
        raise UnsupportedError(f"{type(layer).__name__}({option}={shown})")


def built(layer: keras.Layer, *shape: int | None) -> keras.Layer:
    """The layer, with variables for rows of this shape."""
    layer.build((None, *shape))
    return layer


def of_rank(kinds: Sequence[Any], rank: int) -> Any:
    """The class for 1 or 2 spatial axes."""
    if rank not in (1, 2):
        raise ValueError(f"expected 1 or 2 spatial axes, got {rank}")
    return kinds[rank - 1]


def zeros(pairs: Pairs, dtype: str) -> Layers:
    """The layer that adds zeros, where there are any to add."""
    if not any(map(any, pairs)):
        return []
    padding = tuple(map(tuple, pairs)) if len(pairs) == 2 else tuple(pairs[0])
    return [of_rank(ZERO_PADDINGS, len(pairs))(padding, dtype=dtype)]


def same_padding(
    kernel: Ints, dilation: Ints, stride: Ints, sizes: Sequence[Any]
) -> list[list[int]] | None:
    """What padding="same" adds: the larger part of an odd number comes last.

    sizes: of the input's spatial axes. None where it depends on one that is None.
    """
    found = []
    for n, width, step, size in zip(kernel, dilation, stride, sizes, strict=True):
        overlap = width * (n - 1)
        if step > 1 and overlap > 0:
            if size is None:
                return None
            overlap = max((-(-size // step) - 1) * step + overlap + 1 - size, 0)
        found.append([overlap // 2, overlap - overlap // 2])
    return found


def read_padding(layer: Any, kernel: Ints, dilation: Ints, shape: Any) -> Any:
    """The padding of a convolution or a pool, as pairs."""
    if layer.padding == "valid":
        return [[0, 0] for _ in kernel]
    if layer.padding == "causal":
        return [[dilation[0] * (kernel[0] - 1), 0]]
    space = [None] * len(layer.strides) if shape is None else shape[1:-1]
    pairs = same_padding(kernel, dilation, layer.strides, space)
    if pairs is None:
        raise UnsupportedError(
            f"{type(layer).__name__}(padding='same', strides={layer.strides}) of unknown sizes, "
            "which a keras.Input tells,"
        )
    return pairs
