"""What a record says: how one layer of model files and PyTorch's layers become each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor, nn

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Record(NamedTuple):
    """One layer of `numpy_infer.format.vocabulary`.

    layer: its name there. natives: each class of PyTorch that is this layer, with the function
    that reads the layer's options, those for training too, off such a module. build: from the
    shapes of the arrays (`backward.` as `backward_`) and all options, as keywords, to a module.
    accepted: the values of native options with which a module is this layer, asked where a class
    has the option. weights: {canonical name: attribute}. transposed: whether matrices are kept as
    (out, in). added: the attributes of arrays that PyTorch adds to those of `weights`: the file has
    the sum, and what is loaded has zeros in them. parts: classes with these weights that stand in
    components, but not in a chain.
    """

    layer: str
    natives: Mapping[type[nn.Module], Callable[[Any], dict[str, Any]]]
    build: Callable[..., nn.Module]
    accepted: Mapping[str, tuple[Any, ...]] = NOTHING
    weights: Mapping[str, str] = NOTHING
    transposed: bool = False
    added: Mapping[str, str] = NOTHING
    parts: tuple[type[nn.Module], ...] = ()


class Entry(NamedTuple):
    """What a model file says of a layer, but for its place and its weights."""

    layer: str
    config: dict[str, Any]
    training: Mapping[str, Any] = NOTHING


class UnsupportedError(ValueError):
    """A layer, or an option of one, that is not in the vocabulary: the message is its name."""


def plain(
    layer: str,
    kind: type[nn.Module],
    accepted: Mapping[str, tuple[Any, ...]] = NOTHING,
    **options: str,
) -> Record:
    """The record of a layer without arrays whose options are attributes of the native class.

    options: {option of the layer: the native argument and attribute}.
    """

    def read(module: nn.Module) -> dict[str, Any]:
        return {key: getattr(module, native) for key, native in options.items()}

    def build(**config: Any) -> nn.Module:
        if config.keys() != options.keys():
            raise ValueError(f"config: expected {list(options)}, got {list(config)}")
        return kind(**{native: config[key] for key, native in options.items()})

    return Record(layer, {kind: read}, build, accepted)


def expect(module: nn.Module, option: str, accepted: bool) -> None:
    """UnsupportedError unless this option of a module is accepted."""
    if not accepted:
        value = getattr(module, option)
        shown = type(value).__name__ if isinstance(value, Tensor) else repr(value)
        raise UnsupportedError(f"{type(module).__name__}({option}={shown})")


def of_rank(kinds: Sequence[Callable[..., nn.Module]], *options: Sequence) -> Callable:
    """The 1-d or the 2-d class, by the length that all options have."""
    ranks = set(map(len, options))
    if len(ranks) > 1 or not ranks <= {1, 2}:
        raise ValueError(f"options: expected all for 1 axis or all for 2, got {options}")
    return kinds[ranks.pop() - 1]


def for_each_axis(module: Any, option: str) -> list[int]:
    """An option of a convolution or pool as one number for each spatial axis."""
    value = getattr(module, option)
    rank = 1 if type(module).__name__.endswith("1d") else 2
    return [value] * rank if isinstance(value, int) else list(value)
