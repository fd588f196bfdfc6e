"""Batches of trees, for the definitions of the models of trees: reference, lengths, bad input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fourfold.definition import BadInput

LENGTHS = np.array([5, 1, 3, 2])  # none as long as the array
# (((0 1) 2) (3 4)), none, (0 (1 2)), (0 1), and padding that is no bracket at all
BRACKETS = np.full((4, 5, 2), 99)
BRACKETS[0, :4] = [[0, 4], [0, 1], [3, 4], [0, 2]]
BRACKETS[2, :2] = [[0, 2], [1, 2]]
BRACKETS[3, 0] = [0, 1]

BAD_LENGTHS = (
    BadInput({"lengths": LENGTHS / 1.0}, TypeError),
    BadInput({"lengths": LENGTHS[:3]}),
    BadInput({"lengths": LENGTHS[:, None]}),
    BadInput({"lengths": LENGTHS - 1}),
    BadInput({"lengths": LENGTHS + 2}),
)
BAD_BRACKETS = (
    BadInput({"brackets": BRACKETS / 1.0}, TypeError),
    BadInput({"brackets": BRACKETS[0]}),
    BadInput({"brackets": BRACKETS[:3]}),
    BadInput({"brackets": BRACKETS[:, :4]}),
    BadInput({"brackets": BRACKETS + 1}),
    BadInput({"brackets": BRACKETS[[0, 1, 2, 2]]}),
    BadInput({"brackets": BRACKETS[:, [0, 0, 2, 3, 4]]}),
)


def with_equal_vectors(sequences: np.ndarray) -> np.ndarray:
    """The first vector of each sequence all along it, and padding that nobody may read."""
    real = np.arange(sequences.shape[1])[:, None] < LENGTHS[:, None, None]
    return np.where(real, sequences[:, :1], np.nan)


def trees_of_batch(
    tree_of: Callable[..., Mapping[str, np.ndarray]],
    weights: Mapping[str, np.ndarray],
    vectors: np.ndarray,
    brackets: np.ndarray | None = None,
    lengths: np.ndarray | None = None,
    **options: Any,
) -> dict[str, np.ndarray]:
    """The tree of each sequence by itself, padded as one of all vectors of the array."""
    batch, n, _ = vectors.shape
    found = []
    for place, length in enumerate([n] * batch if lengths is None else lengths.tolist()):
        given = None if brackets is None else brackets[place, : length - 1]
        tree = tree_of(weights, vectors[place, :length], given, **options)
        found.append(padded_tree(tree, n))
    return {name: np.stack([one[name] for one in found]) for name in found[0]}


def padded_tree(tree: Mapping[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
    """The tree of a sequence as one of n leaves: behind its root the root, −1 and hinges of 0."""
    nodes = np.minimum(np.arange(2 * n - 1), len(tree["scores"]) - 1)
    padded = {}
    for name, value in tree.items():
        if name in ("embeddings", "scores"):
            padded[name] = value[nodes]
        else:  # of merges
            padded[name] = np.full_like(
                value, 0 if name == "hinges" else -1, shape=(n - 1, *value.shape[1:])
            )
            padded[name][: len(value)] = value
    return padded
