"""How much an item is liked, and why: `python -m examples.preference_model.serve MODEL TEXT`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

import numpy_infer
from examples.preference_model.data import encode, vocabulary_of
from numpy_infer.neighbor_memory import NeighborMemory

NEIGHBORS = 50  # that vote


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the score of each item, the nearest liked items, and the nearest disliked one."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.preference_model.serve", description=main.__doc__
    )
    parser.add_argument("model", help="a model file of python -m examples.preference_model")
    parser.add_argument("texts", nargs="+", help="words, or parts with semicolons in between")
    options = parser.parse_args(arguments)
    settings = numpy_infer.read_metadata(options.model)
    encoder = numpy_infer.load_model(options.model)[-1]
    queries = encoder(encode(options.texts, vocabulary_of(settings)))
    vectors, liked = settings["vectors"], settings["liked"]
    memory = memory_of(vectors)
    indices, cosines = memory.search(queries, k=len(memory))
    for row, text in enumerate(options.texts):
        score = scores(vectors, liked, queries[row : row + 1])[0]
        print(f"{score:+.2f} {text}")
        for name, kind, most in (("liked", 1, 4), ("not liked", 0, 2)):
            chosen = np.flatnonzero(liked[indices[row]] == kind)[:most]
            near = [f"{settings['names'][indices[row][i]]} {cosines[row][i]:.2f}" for i in chosen]
            print(f"  {name}: {', '.join(near)}")


def scores(
    vectors: np.ndarray, liked: np.ndarray, queries: np.ndarray, k: int = NEIGHBORS
) -> np.ndarray:
    """How much the neighbors are liked: the mean of ±1 weighted by their cosines.

    Args:
        vectors: (items, dim), of the known items.
        liked: (items,) of 1 and 0.
        queries: (batch, dim).
        k: how many of the nearest items vote; all when there are fewer.
    Returns:
        (batch,), from −1 to 1.
    """
    memory = memory_of(vectors)
    indices, cosines = memory.search(queries, k=min(k, len(memory)))
    found: np.ndarray = (cosines * (2 * liked[indices] - 1)).mean(axis=1)
    return found


def memory_of(vectors: np.ndarray) -> NeighborMemory:
    """The known items, to search in."""
    memory = NeighborMemory(vectors.shape[1], dtype=str(vectors.dtype))
    memory.add(vectors)
    return memory


if __name__ == "__main__":
    main()
