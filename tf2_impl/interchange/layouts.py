"""How data lies along a chain: channels-last here, channels-first in a model file.

A value is either one that the file has as (batch, channels, *space), "channels", or one that it
has as TensorFlow has it, with the features last, "features". The entries ChannelsFirst and
ChannelsLast stand between the two in the file; here they are nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FEATURES, CHANNELS = "features", "channels"
SAME, GROWN = -1, -2
AUTOENCODERS = tuple(f"conv_autoencoder.ConvAutoencoder{rank}d" for rank in (1, 2))
SPEAKER = "speaker_encoder.SpeakerEncoder"
# What an entry takes, where it takes but one of them; all other components take features.
TAKES = {
    **dict.fromkeys(("Convolution", "TransposedConvolution", "MaxPool", "MaxUnpool"), CHANNELS),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "GlobalMaxPool"), CHANNELS),
    **dict.fromkeys(("Projection", "LayerNorm", "L2Normalize", "GRU"), FEATURES),
    **dict.fromkeys(("Embedding", "TopKGating", "ChannelsFirst"), FEATURES),
    **dict.fromkeys(("ChannelsLast", SPEAKER, *AUTOENCODERS), CHANNELS),
}


def takes(name: str, config: Mapping[str, Any]) -> str | None:
    """What an entry takes: features, channels, or None for either."""
    softmax = name in ("Softmax", "LogSoftmax") and config["axis"] == -1
    return TAKES.get(name, FEATURES if "." in name or softmax else None)


def after(name: str, config: Mapping[str, Any], before: str) -> str:
    """How the output of an entry lies, given how its input does."""
    ends = ("Flatten", "Embedding", "ChannelsLast", SPEAKER)
    if name in ends or not config.get("keepdims", True):
        return FEATURES
    return CHANNELS if name == "ChannelsFirst" else before


def start(entries: Iterable[tuple[str, str | None]]) -> str:
    """How the input of a chain lies: as the first entry wants that wants anything.

    entries: of each its name and what it takes. BatchNorm takes either, but before a Flatten or
    the end it is one of channels: of features alone, either is right.
    """
    normalized = False
    for name, wanted in entries:
        if wanted is not None:
            return wanted
        if name == "Flatten":
            break
        normalized |= name == "BatchNorm"
    return CHANNELS if normalized else FEATURES


def flattens_first(entries: Iterable[tuple[str, str | None]]) -> bool:
    """Whether a Flatten comes before anything that tells how the input lies; as for `start`."""
    for name, wanted in entries:
        if wanted is not None or name == "BatchNorm":
            return False
        if name == "Flatten":
            return True
    return False


def layouts(layers: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str], list[int | None]]:
    """For each entry of a file: how its input comes, how it takes it, and the rank of that.

    Where the first two differ, data has to be turned before the entry: what a file has as
    (batch, channels, *space) is here (batch, *space, channels), and the entry means other axes.
    The ranks, last that of the output, are None where unknown.
    """
    wants = [takes(one["layer"], one["config"]) for one in layers]
    names = [one["layer"] for one in layers]
    comes = [start(zip(names[1:], wants[1:], strict=True))]
    for one, want in zip(layers[:-1], wants, strict=False):
        comes.append(after(one["layer"], one["config"], want or comes[-1]))
    taken = [want or come for want, come in zip(wants, comes, strict=True)]
    return comes, taken, _ranks(layers)


def _ranks(layers: Sequence[Mapping[str, Any]]) -> list[int | None]:
    """The number of axes of what each entry takes, and last of the output; None where unknown."""
    pairs = [_rank(one) for one in layers]
    count = len(pairs)
    found: list[int | None] = [None] * (count + 1)
    for place in reversed(range(1, count)):
        rank_in, rank_out = pairs[place]
        if rank_in == GROWN:
            rank = found[place + 1] or 3
            found[place], found[place + 1] = rank - 1, rank
            continue
        if rank_out is not None:
            found[place + 1] = rank_out
        found[place] = found[place + 1] if rank_in == SAME else rank_in
    for place in range(1, count):
        if pairs[place][0] == SAME and found[place + 1] is None:
            found[place + 1] = found[place]
    return found


def told_after(layers: Sequence[Mapping[str, Any]]) -> int:
    """The place of the first entry that tells how data lies; that of the last one for none."""
    tells = (one["layer"] in TAKES or "." in one["layer"] for one in layers[1:])
    return next((place for place, one in enumerate(tells, start=1) if one), len(layers) - 1)


def implied(layers: Sequence[Mapping[str, Any]], found: Sequence[int | None]) -> set[int]:
    """The places of what saving adds by itself: turns for the sake of the next layer.

    found: the rank of what each entry takes.
    """
    places = set()
    # Without anything before it, a turn itself tells how the input lies.
    for place in range(told_after(layers) + 1, len(layers) - 1):
        name, following = layers[place]["layer"], layers[place + 1]["layer"]
        wanted = TAKES.get(following, FEATURES if "." in following else None)
        if following == "Flatten" or (following == "BatchNorm" and found[place + 1] != 2):
            wanted = CHANNELS
        turns = name in ("ChannelsFirst", "ChannelsLast")
        if turns and wanted == after(name, {}, ""):
            places.add(place)
    return places


def _rank(entry: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """The rank of an entry's input and output, None where it does not tell.

    SAME: the output's is the input's. GROWN: it is one more, and 3 where nothing tells.
    """
    name, config = entry["layer"], entry["config"]
    if "stride" in config:
        rank = len(config["stride"]) + 2
        return rank, rank
    if name in AUTOENCODERS:
        rank = 3 + AUTOENCODERS.index(name)
        return rank, rank
    if name == SPEAKER:
        return 3, 2
    if name == "GRU":
        return 3, 3 if config["return_sequences"] else 2
    if name == "Embedding":
        return GROWN, None
    if name == "Flatten" or not config.get("keepdims", True):
        return None, 2
    return (None, None) if "." in name else (SAME, None)
