"""Checks of plain values: text, numbers, flags and counts, the same in every package.

Every message names the argument, what it wanted and what it got. NumPy's numbers, and arrays and
tensors without axes, are plain values too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

MOST_AXES = 8  # of a value in a model file
LARGEST = 2**31 - 1  # of sizes: no array reaches it, and every framework can count to it
NUMPY = (np.ndarray, np.generic)  # a tuple: torch.compile does not know a union of them


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """ValueError unless `value` is one of these texts."""
    if not (isinstance(value, str) and value in choices):
        got = f"{value!r:.99}" if isinstance(value, str) else type(value).__name__
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {got}")


def check_number(
    name: str,
    value: float,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    finite: bool = True,
) -> float:
    """`value` as a float. NumPy's numbers and arrays without axes are numbers too, text is not.

    ValueError unless it is greater than `above`, at least `least` and, with `finite`, finite; NaN
    is always an error.
    """
    given = plain(value)
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    try:
        number = float(given)
    except OverflowError:  # a whole number beyond the largest float
        number = math.nan
    allowed = math.isfinite(number) or (math.isinf(number) and not finite)
    if not (allowed and number >= least and (number > above or above == -math.inf)):
        limit = f" of at least {least}" if least > -math.inf else ""
        kind = "a finite number" if finite else "a number"
        wanted = f"a number above {above}" if above > -math.inf else f"{kind}{limit}"
        raise ValueError(f"{name}: expected {wanted}, got {_shown(given)}")
    return number


def check_flag(name: str, value: bool) -> bool:
    """`value` as a bool. Nothing else has a truth value here: the text "no" would be true."""
    given = plain(value)
    if not isinstance(given, bool):
        raise TypeError(f"{name}: expected True or False, got {type(value).__name__}")
    return given


def check_count(name: str, value: int, *, least: int = 1, most: int = LARGEST) -> int:
    """`value` as an int. NumPy's integers and integer arrays without axes are whole numbers too.

    ValueError unless it is in least..most.
    """
    given = plain(value)
    if isinstance(given, bool) or not isinstance(given, int):
        raise TypeError(f"{name}: expected a whole number, got {type(value).__name__}")
    if not least <= given <= most:
        bounded = most < LARGEST or given > most
        limit = f"in {least}..{most}" if bounded else f"of at least {least}"
        raise ValueError(f"{name}: expected a whole number {limit}, got {_shown(given)}")
    return given


def check_row_shape(name: str, values: Sequence[int]) -> list[int]:
    """`values` as a list of at least one int, each at least 1, but for one that may be −1."""
    given = plain(values)
    if not isinstance(given, list | tuple):
        raise TypeError(f"{name}: expected a list, got {type(values).__name__}")
    found = [check_count(name, one, least=-1) for one in given]
    if not 1 <= len(found) < MOST_AXES or 0 in found or found.count(-1) > 1:
        wanted = f"1 to {MOST_AXES - 1} sizes of at least 1, one of which may be −1"
        raise ValueError(f"{name}: expected {wanted}, got {found!r:.99}")
    return found


def check_order(name: str, values: Sequence[int]) -> list[int]:
    """`values` as a list: each of 1..n once."""
    given = plain(values)
    if not isinstance(given, list | tuple):
        raise TypeError(f"{name}: expected a list, got {type(values).__name__}")
    found = [check_count(name, one) for one in given]
    if not 1 <= len(found) < MOST_AXES or sorted(found) != [*range(1, len(found) + 1)]:
        wanted = f"each of 1..n once, n below {MOST_AXES}"
        raise ValueError(f"{name}: expected {wanted}, got {found!r:.99}")
    return found


def check_counts(name: str, values: Sequence[int]) -> list[int]:
    """`values` as a list of at least one int, each at least 1."""
    given = plain(values)
    if not isinstance(given, list | tuple):
        raise TypeError(f"{name}: expected a list, got {type(values).__name__}")
    if not given:
        raise ValueError(f"{name}: expected at least one whole number, got none")
    return [check_count(name, value) for value in given]


def check_space_sizes(name: str, values: Sequence[int]) -> list[int]:
    """`values` as a list of one int, at least 1, for each of 1 to 3 axes of space."""
    found = check_counts(name, values)
    if len(found) > 3:
        raise ValueError(f"{name}: expected 1 to 3 entries, got {len(found)}")
    return found


def check_sampling(mode: str, corners: bool) -> tuple[str, bool]:
    """Both of them: only linear resampling has corners."""
    check_choice("mode", mode, ("nearest", "linear"))
    corners = check_flag("corners", corners)
    if corners and mode == "nearest":
        raise ValueError("corners: expected False with mode nearest, got True")
    return mode, corners


def check_rate(name: str, value: float) -> float:
    """`value` as a share of what is dropped, from 0 up to, but not including, 1."""
    rate = check_number(name, value, least=0)
    if rate >= 1:
        raise ValueError(f"{name}: expected a number below 1, got {rate}")
    return rate


def check_seed(name: str, value: int | None) -> int | None:
    """`value` as an int that every generator takes, or None."""
    return None if value is None else check_count(name, value, least=0, most=2**32 - 1)


def check_sizes(name: str, values: Sequence[int], rank: int) -> list[int]:
    """One size, stride or dilation for each spatial axis, each at least 1."""
    return [check_count(name, value) for value in _list(name, values, rank)]


def check_groups(groups: int, channels: int) -> int:
    """`groups` as an int: into how many equal parts channels are divided."""
    groups = check_count("groups", groups)
    if channels % groups:
        raise ValueError(f"groups: expected a divisor of {channels} channels, got {groups}")
    return groups


def check_padding(
    name: str, pairs: Sequence[Sequence[int]], rank: int, *, extends: bool = False
) -> list[list[int]]:
    """[before, after] for each spatial axis, from 0 up; with `extends`, "after" may be negative."""
    least = -LARGEST if extends else 0
    split = [_list(name, pair, 2) for pair in _list(name, pairs, rank)]
    return [
        [check_count(name, before, least=0), check_count(name, after, least=least)]
        for before, after in split
    ]


def check_ends(name: str, pairs: Sequence[Sequence[int]]) -> list[list[int]]:
    """[before, after] for each of 1 to 3 spatial axes: what is added there, or below 0 cut off."""
    given = plain(pairs)
    if not isinstance(given, list | tuple):
        raise TypeError(f"{name}: expected a list, got {type(pairs).__name__}")
    if not 1 <= len(given) <= 3:
        raise ValueError(f"{name}: expected 1 to 3 entries, got {len(given)}")
    return [
        [check_count(name, end, least=-LARGEST) for end in _list(name, pair, 2)] for pair in given
    ]


def _list(name: str, values: Sequence[Any], length: int) -> Sequence[Any]:
    """`values` as a list of this length."""
    given = plain(values)
    if not isinstance(given, list | tuple):
        raise TypeError(f"{name}: expected a list, got {type(values).__name__}")
    if len(given) != length:
        raise ValueError(f"{name}: expected {length} entries, got {len(given)}")
    return given


def minimum_length(n_convolutions: int, kernel_size: int, pool_size: int) -> int:
    """The shortest axis from which n convolutions with a pool between each two leave length 1.

    A convolution without padding shortens an axis by kernel_size − 1, a pool divides its length.
    """
    length = kernel_size
    for _ in range(n_convolutions - 1):
        length = length * pool_size + kernel_size - 1
    return length


def plain(value: Any) -> Any:
    """The number in an array or tensor without axes, and the lists of numbers in one with axes.

    Anything else is returned as it is. So is a tensor that requires a gradient, because a number
    has none, and a symbolic variable, because it has no value yet.
    """
    if isinstance(value, NUMPY):
        return value.tolist()
    if not hasattr(value, "numpy") or getattr(value, "requires_grad", False):
        return value
    return plain(value.numpy()) if not hasattr(value, "tolist") else value.tolist()


def _shown(number: float) -> str:
    """A number for a message: Python prints no integer of more than 4,300 digits."""
    if isinstance(number, int) and number.bit_length() > 128:
        return f"a number of {number.bit_length()} bits"
    return str(number)
