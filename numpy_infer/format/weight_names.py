"""What the names of weights say: what an array is, and how much two arrays have in common."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

KERNELS = {"weight", "kernel", "w", "embedding", "embeddings", "table"}
ROLES = {
    "gamma": "scale",
    "beta": "bias",
    "shift": "bias",
    "b": "bias",
    "running": "moving",
    "var": "variance",
}


@lru_cache(2**16)
def last(name: str) -> str:
    """The last part of a name."""
    return re.split(r"[./: ]", name)[-1]


@lru_cache(2**16)
def words(name: str) -> tuple[str, ...]:
    """The words of a name in lower case: `encoder.layers.0.self_attn` has five."""
    return tuple(one.lower() for one in re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", name))


@lru_cache(2**16)
def role(name: str, axes: int) -> frozenset[str]:
    """What the last part of a name says that an array of so many axes is."""
    found = {ROLES.get(word, word) for word in words(last(name))}
    if found & KERNELS:
        found = (found - KERNELS) | {"kernel" if axes > 1 else "scale"}
    return frozenset(found)


@lru_cache(2**16)
def path(name: str) -> frozenset[str]:
    """The words of a name but the last."""
    return frozenset(words(name)[:-1])


def likeness(a: str, b: str, axes: int, i: int, many_a: int, j: int, many_b: int) -> float:
    """How much speaks for a pair: the role, the words of the path, and the order."""
    roles, every = role(a, axes) & role(b, axes), role(a, axes) | role(b, axes)
    path_a, path_b = path(a), path(b)
    shared = path_a & path_b
    if all(map(str.isdigit, shared)):
        shared = frozenset()  # a number alone: one framework counts from 0, the other from 1
    order = abs((i + 0.5) / many_a - (j + 0.5) / many_b)
    alike = 2 * bool(roles) + len(roles) / max(len(every), 1)  # "mean" is no "variance"
    return alike + 2 * len(shared) / max(min(len(path_a), len(path_b)), 1) - order


def conventional(
    original: str, target: str, options: Sequence[str], canonical: tuple[bool, bool]
) -> str:
    """The layout that the names speak for, of several that fit.

    A `weight` becomes a `kernel` turned; arrays of like names stay as they are. canonical: whether
    the originals' and the target's matrices are (in, out) though they are called `weight`.
    """
    names = last(original), last(target)
    inner_first = [name == "kernel" or known for name, known in zip(names, canonical, strict=True)]
    if {*names} <= {"weight", "kernel"} and inner_first[0] != inner_first[1]:
        return next((one for one in options if one != "same"), options[0])
    return options[0]
