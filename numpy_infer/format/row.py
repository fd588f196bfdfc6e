"""What a row of the table of layers says, and in which words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

# How data can be laid out where a layer needs to know.
CHANNELS = "channels"  # (batch, channels, *space)
FEATURES = "features"  # (batch, ..., features)
# What a layer does to the number of axes of its input.
ANY = "any"  # nothing
SPATIAL = "spatial"  # (batch, channels, *space), one axis of space for each entry of `stride`
SEQUENCE = "sequence"  # (batch, time, features); without `return_sequences` time is dropped
TIMES = "times"  # (batch, time, features), all of which stay
IDS = "ids"  # adds the axis of features
RESHAPED = "reshaped"  # those of the option `shape`, behind the batch
PERMUTED = "permuted"  # nothing, but they come in the order of the option `order`
REDUCED = "reduced"  # at least 3 axes become (batch, features), unless `keepdims`
# What a layer does to the size of each axis of space.
KEPT = "kept"
WINDOWS = "windows"  # one entry for each window over the padded input
UNFOLDED = "unfolded"  # the full output of a transposed convolution, and its ends cut off
EXTENDED = "extended"  # with places added at its ends, or cut off
SCALED = "scaled"  # a multiple
SIZED = "sized"  # that of the option `size`
RESTORED = "restored"  # the size of the second input
LOST = "lost"  # no axis of space is left
CARRIED = "carried"  # its entries are all there, on other axes
# How a layer combines the outputs of several: how many it takes, and what becomes of their axes.
SEVERAL = "several"  # two or more
BROADCAST = "broadcast"  # entry by entry; an axis of size 1 is repeated
JOINED = "joined"  # one behind the other along `axis`
ATTENDED = "attended"  # of a query, a key and a value: the times of the first, as wide as the last
AVERAGED = "averaged"  # of a sequence and a mask: (batch, features)

Names = Mapping[str, Any]
NOTHING: Names = MappingProxyType({})


class Option(NamedTuple):
    """One entry of a layer's `config` or `training`.

    kind: number, share (0 to 1), rate (0 up to, but not including, 1), count, flag, axis,
    direction, time (a place from the front, or from the end below 0), sizes (one count for each
    axis of space), pairs ([before, after] for each), ends (pairs that may be negative), place (a
    count from 0), shape (the sizes behind the batch, one of which may be −1), order (where each
    axis behind the batch comes from, 1 for the first) or mode (how places are
    filled).
    default: that of the layers' constructors, None where the constructors ask for a value. note:
    what the documentation adds. later: whether the option is younger than the files that have
    none: it is left out where it has its default, and every model has one form.
    """

    kind: str
    default: Any = None
    note: str = ""
    later: bool = False


class Widths(NamedTuple):
    """Which axis an array fixes, 1 for channels or −1 for features, and the letters of its sizes.

    taken: the letter of the input's width, None where any input is right. made: the output's.
    times: the option by which `taken` has to be multiplied.
    """

    axis: int
    taken: str | None
    made: str
    times: str = ""


class Row(NamedTuple):
    """One layer.

    file: the module below numpy_infer that has its class; empty where inference skips it.
    options, training: what the file keeps of its arguments, for all uses and for training alone.
    arrays: the shape of each, a letter for each size, `*kernel` for several axes. optional: the
    arrays that may be absent. inputs: how many layers it takes, or `SEVERAL`. combines: how
    those become one. integers: which of its inputs are integers, ids or a mask. takes: how its
    input is laid out, where it matters. gives: how its output is, where that is not how the
    input was. axes, space, widths: its rule for shapes, in the words above. moves: without
    `widths`, from which axis of widths to which one it moves them; None where all stay. note:
    what the documentation adds.
    """

    file: str = ""
    options: Mapping[str, Option] = NOTHING
    training: Mapping[str, Option] = NOTHING
    arrays: Mapping[str, tuple[str, ...]] = NOTHING
    optional: tuple[str, ...] = ()
    inputs: int | str = 1
    combines: str = ""
    integers: tuple[int, ...] = ()
    takes: str | None = None
    gives: str | None = None
    axes: str = ANY
    space: str = KEPT
    widths: Widths | None = None
    moves: tuple[tuple[int, int], ...] | None = None
    note: str = ""


def written(options: Mapping[str, Option], values: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says of these options, given the values of all."""
    return {
        name: values[name]
        for name, one in options.items()
        if not one.later or values[name] != one.default
    }
