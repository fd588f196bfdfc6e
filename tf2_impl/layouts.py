"""How data lies along a chain: channels-last here, channels-first in a model file.

A value is either one that the file has as (batch, channels, *space), "channels", or one that it
has as TensorFlow has it, with the features last, "features". The entries ChannelsFirst and
ChannelsLast stand between the two in the file; here they are nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FEATURES, CHANNELS = "features", "channels"
SAME = -1
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


def check_layouts(layers: Sequence[Mapping[str, Any]]) -> list[str]:
    """How the input of each entry lies, in a file; ValueError where it lies the other way."""
    wants = [takes(one["layer"], one["config"]) for one in layers]
    names = [one["layer"] for one in layers]
    lies = start(zip(names[1:], wants[1:], strict=True))
    found = [lies]
    for place in range(1, len(layers)):
        found.append(lies)
        if wants[place] not in (None, lies):
            raise error("ChannelsFirst" if lies == FEATURES else "ChannelsLast", layers, place)
        lies = after(names[place], layers[place]["config"], lies)
    return found


def ranks(layers: Sequence[Mapping[str, Any]], lies: Sequence[str]) -> list[int | None]:
    """The number of axes of what each entry takes, and last of the output; None where unknown.

    lies: how the input of each entry lies.
    """
    count = len(layers)
    found: list[int | None] = [None] * (count + 1)
    for place in reversed(range(1, count)):
        rank_in, rank_out = _ranks(layers[place], lies[place])
        if rank_out is not None:
            found[place + 1] = rank_out
        found[place] = found[place + 1] if rank_in == SAME else rank_in
    for place in range(1, count):
        if _ranks(layers[place], lies[place])[0] == SAME and found[place + 1] is None:
            found[place + 1] = found[place]
    return found


def implied(layers: Sequence[Mapping[str, Any]], found: Sequence[int | None]) -> set[int]:
    """The places of what saving adds by itself: turns for the sake of the next layer.

    found: the rank of what each entry takes.
    """
    places = set()
    known = False  # without anything before it, a turn itself tells how the input lies
    for place in range(1, len(layers) - 1):
        name, following = layers[place]["layer"], layers[place + 1]["layer"]
        wanted = TAKES.get(following, FEATURES if "." in following else None)
        if following == "Flatten" or (following == "BatchNorm" and found[place + 1] != 2):
            wanted = CHANNELS
        turns = name in ("ChannelsFirst", "ChannelsLast")
        if known and turns and wanted == after(name, {}, ""):
            places.add(place)
        known = known or name in TAKES or "." in name
    return places


def error(missing: str, layers: Sequence[Mapping[str, Any]], place: int) -> ValueError:
    """What is wrong with an entry whose input lies the other way."""
    return ValueError(
        f"layers: expected {missing} before {layers[place]['layer']} at place {place}, got "
        f"{layers[place - 1]['layer']}: here channels are last throughout"
    )


def _ranks(entry: Mapping[str, Any], lies: str) -> tuple[int | None, int | None]:
    """The rank of an entry's input and output, None where it does not tell; SAME for both alike."""
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
        return 2, 3
    if name == "BatchNorm" and lies == FEATURES:
        return 2, 2
    if name == "Flatten" or not config.get("keepdims", True):
        return None, 2
    return (None, None) if "." in name else (SAME, None)
