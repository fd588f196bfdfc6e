"""The nearest titles, and why: `python -m examples.title_search.serve MODEL TITLE...`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

import numpy_infer
from examples.title_search.data import encode, vocabulary_of
from numpy_infer.neighbor_memory import NeighborMemory
from numpy_infer.text import tokenize_title


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the five nearest titles of each title with their cosines, and what each word adds.

    The cosine of two titles is the sum of what the words of the first one add to it. A word that
    adds much pulls the title there; one below zero pushes it away.
    """
    parser = argparse.ArgumentParser(
        prog="python -m examples.title_search.serve", description=main.__doc__
    )
    parser.add_argument("model", help="a model file of python -m examples.title_search")
    parser.add_argument("titles", nargs="+", help="any titles, known or not")
    options = parser.parse_args(arguments)
    encoder: Any = numpy_infer.load_model(options.model)[-1]
    settings = numpy_infer.read_metadata(options.model)
    vocabulary, known = vocabulary_of(settings), settings["titles"]
    vectors = encoder(encode(known, vocabulary))
    memory = NeighborMemory(vectors.shape[1], dtype=str(vectors.dtype))
    memory.add(vectors)
    queries = encoder(encode(options.titles, vocabulary))
    for title, indices, cosines in zip(options.titles, *memory.search(queries, k=6), strict=True):
        print(title)
        words = tokenize_title(title)
        near = [pair for pair in zip(indices, cosines, strict=True) if known[pair[0]] != title]
        for i, cosine in near[:5]:
            category = settings["categories"][settings["labels"][i]]
            added = contributions(encoder.table[vocabulary.ids(words)], vectors[i])
            why = ", ".join(f"{words[w]} {added[w]:+.2f}" for w in np.argsort(-added)[:5])
            print(f"  {cosine:.2f} {known[i]} ({category}): {why}")


def contributions(rows: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """What each word of a title adds to its cosine with another title; their sum is the cosine.

        cos(Σ_w row_w, v) = Σ_w row_w · v / ‖Σ_w row_w‖

    Args:
        rows: (words, dim), of the table.
        vector: (dim,), of the other title, of length 1.
    Returns:
        (words,).
    """
    norm = np.linalg.norm(rows.sum(axis=0))
    added: np.ndarray = rows @ vector / np.maximum(norm, 1e-12)
    return added


if __name__ == "__main__":
    main()
