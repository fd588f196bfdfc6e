"""How data lies along a chain: channels-last here, channels-first in a model file.

A value is either one that the file has as (batch, channels, *space), "channels", or one that it
has as TensorFlow has it, with the features last, "features". The entries ChannelsFirst and
ChannelsLast stand between the two in the file; here they are nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from numpy_infer.format import axes
from numpy_infer.format.axes import GROWN, SAME
from numpy_infer.format.row import CHANNELS, FEATURES

AUTOENCODERS = tuple(f"conv_autoencoder.ConvAutoencoder{rank}d" for rank in (1, 2))
OVER_CHANNELS = (
    "BatchNorm",
    "GroupNorm",
    "PReLU",
    "Affine",
)  # of any number of axes, also of features alone
SPEAKER = "speaker_encoder.SpeakerEncoder"


def takes(name: str, config: Mapping[str, Any]) -> str | None:
    """What an entry takes: features, channels, or None for either."""
    if "." in name:  # a component
        return CHANNELS if name in (SPEAKER, *AUTOENCODERS) else FEATURES
    return axes.takes(name, config)


def after(name: str, config: Mapping[str, Any], before: str) -> str:
    """How the output of an entry lies, given how its input does."""
    if "." in name:
        return FEATURES if name == SPEAKER else before
    return axes.gives(name, config, before)


def start(entries: Iterable[tuple[str, str | None]]) -> str:
    """How the input of a chain lies: as the first entry wants that wants anything.

    entries: of each its name and what it takes. OVER_CHANNELS take either, but before a Flatten
    or the end they are of channels: of features alone, either is right.
    """
    channels = False
    for name, wanted in entries:
        if wanted is not None:
            return wanted
        if name == "Flatten":
            break
        channels |= name in OVER_CHANNELS
    return CHANNELS if channels else FEATURES


def flattens_first(entries: Iterable[tuple[str, str | None]]) -> bool:
    """Whether a Flatten comes before anything that tells how the input lies; as for `start`."""
    for name, wanted in entries:
        if wanted is not None or name in OVER_CHANNELS:
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
        if isinstance(rank_out, int):
            found[place + 1] = rank_out
        found[place] = rank_in if isinstance(rank_in, int) else None
        if rank_in == SAME:
            found[place] = found[place + 1]
    for place in range(1, count):
        if pairs[place][0] == SAME and found[place + 1] is None:
            found[place + 1] = found[place]
    return found


def told_after(layers: Sequence[Mapping[str, Any]]) -> int:
    """The place of the first entry that tells how data lies; that of the last one for none."""
    tells = (takes(one["layer"], {}) is not None for one in layers[1:])
    return next((place for place, one in enumerate(tells, start=1) if one), len(layers) - 1)


def implied(layers: Sequence[Mapping[str, Any]], found: Sequence[int | None]) -> set[int]:
    """The places of what saving adds by itself: turns for the sake of the next layer.

    found: the rank of what each entry takes.
    """
    places = set()
    # Without anything before it, a turn itself tells how the input lies.
    for place in range(told_after(layers) + 1, len(layers) - 1):
        name, following = layers[place]["layer"], layers[place + 1]["layer"]
        wanted = takes(following, {})
        if following == "Flatten" or (following in OVER_CHANNELS and found[place + 1] != 2):
            wanted = CHANNELS
        turns = name in ("ChannelsFirst", "ChannelsLast")
        if turns and wanted == after(name, {}, ""):
            places.add(place)
    return places


def _rank(entry: Mapping[str, Any]) -> tuple[int | str | None, int | str | None]:
    """The rank of an entry's input and output, as `axes.ranks` gives them."""
    name, config = entry["layer"], entry["config"]
    if name in AUTOENCODERS:
        rank = 3 + AUTOENCODERS.index(name)
        return rank, rank
    if name == SPEAKER:
        return 3, 2
    return (None, None) if "." in name else axes.ranks(name, config)
