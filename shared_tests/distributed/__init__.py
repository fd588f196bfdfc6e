"""The batch that several processes share, and how its rows are dealt to their ranks."""

from __future__ import annotations

import numpy as np

from fourfold.agreement import error
from shared_tests.fixtures import digits, normal

N, DIM = 24, 5
PIXELS, LABELS = digits(N)
# An encoder of 64 pixels: tanh, then a projection, without a bias that distances would not see.
WEIGHTS = {
    "first": normal(64, 11, seed=1) / 8,
    "first_bias": normal(11, seed=2),
    "second": normal(11, DIM, seed=3),
}
# Rows of each rank, by the number of ranks.
SPLITS: dict[int, dict[str, tuple[int, ...]]] = {
    1: {"whole": (24,)},
    2: {"even": (12, 12), "uneven": (7, 17), "a rank without rows": (0, 24)},
    4: {"even": (6, 6, 6, 6), "uneven": (3, 11, 2, 8), "a rank without rows": (9, 0, 13, 2)},
}


def own_rows(split: tuple[int, ...], rank: int) -> slice:
    """Where in the batch the rows of a rank are."""
    start = sum(split[:rank])
    return slice(start, start + split[rank])


def key(split: str, loss: str, quantity: str) -> str:
    """The name of an array in a worker's file."""
    return f"{split} | {loss} | {quantity}"


def save(path: str, found: dict[str, np.ndarray]) -> None:
    np.savez(path, **found)  # type: ignore[arg-type]


def wrong(
    ranks: list[dict[str, np.ndarray]], wanted: dict[str, np.ndarray], split: str, loss: str
) -> dict[str, float]:
    """The errors of what does not agree with one process, by rank and name."""
    errors = {
        f"rank {rank}: {quantity}": error(found[key(split, loss, quantity)], array)
        for rank, found in enumerate(ranks)
        for quantity, array in wanted.items()
    }
    return {name: size for name, size in errors.items() if not size <= 1e-12}
