"""The batch that several processes share, how its rows are dealt to their ranks, and their start.

A process that has imported a framework, and has computed nothing yet, is forked for each rank:
that takes no time, and importing again would be most of the work.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from typing import Any

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


def in_processes(
    target: Callable[..., None], arguments: Sequence[tuple[Any, ...]], seconds: float
) -> list[int | None]:
    """Fork a process for each tuple of arguments, until all have ended or one has failed.

    It leaves none behind. Returns their exit codes, None for one that was still running.
    """
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=target, args=given) for given in arguments]
    for process in processes:
        process.start()
    end = time.monotonic() + seconds
    codes: list[int | None] = [None]
    try:
        while None in codes and not any(codes) and time.monotonic() < end:
            time.sleep(0.05)
            codes = [process.exitcode for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.join()
    return codes


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
