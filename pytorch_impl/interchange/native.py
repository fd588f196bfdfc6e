"""Between one of PyTorch's layers and its entry in a model file, by the layer's record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from numpy_infer.format.row import written
from numpy_infer.format.vocabulary import LAYERS
from pytorch_impl.interchange.components import component_name, make_component
from pytorch_impl.interchange.record import Entry, UnsupportedError, expect
from pytorch_impl.interchange.records import BY_CLASS, BY_LAYER
from pytorch_impl.layers.convolution import Padded
from pytorch_impl.layers.normalization import BatchNorm


def entry(module: nn.Module) -> Entry:
    """The entry of a layer or a component; UnsupportedError for any other module."""
    component = component_name(module)
    if component is not None:
        return Entry(component, dict(module.config))
    if isinstance(module, Padded):
        own = entry(module.layer)
        return own._replace(config={**own.config, "padding": list(map(list, module.padding))})
    kind = type(module)
    if kind not in BY_CLASS:
        tuples = kind in (nn.GRU, nn.LSTM)
        hint = f" (returns a tuple, layers.{kind.__name__} does not)" if tuples else ""
        raise UnsupportedError(kind.__name__ + hint)
    record = BY_CLASS[kind]
    for option, accepted in record.accepted.items():
        if hasattr(module, option):
            expect(module, option, getattr(module, option) in accepted)
    for name, _ in module.named_parameters(recurse=False):
        known = (*record.weights.values(), *record.added.values())
        expect(module, name, name in known)  # a weight norm has others
    options, row = record.natives[kind](module), LAYERS[record.layer]
    return Entry(record.layer, written(row.options, options), written(row.training, options))


def layer(entry: Entry, shapes: Mapping[str, Sequence[int]], dtype: torch.dtype) -> nn.Module:
    """The module of an entry, whose weights are yet to be set; shapes: of its arrays.

    ValueError or TypeError for what is not in the vocabulary.
    """
    if "." in entry.layer:
        return make_component(entry.layer, entry.config, dtype)
    if entry.layer not in BY_LAYER:
        raise ValueError(f"layer: expected one of {', '.join(BY_LAYER)}, got {entry.layer!r}")
    sizes = {name.replace(".", "_"): tuple(shape) for name, shape in shapes.items()}
    build = BY_LAYER[entry.layer].build
    try:
        with torch.device("meta"):  # spends no time and no random numbers on weights
            module = build(**sizes, **entry.config, **entry.training).to(dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"arrays: expected those of a {entry.layer} with {entry.config}, got {sizes}: {error}"
        ) from error
    module.to_empty(device=torch.get_default_device())
    if isinstance(module, BatchNorm):
        module.reset_running_stats()
    return module
