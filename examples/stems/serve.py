"""The nearest words, with NumPy alone: `python -m examples.stems.serve MODEL WORD...`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy_infer
from examples.stems.data import encode
from numpy_infer.neighbor_memory import NeighborMemory


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the five nearest words of each word, with their cosines."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.stems.serve", description=main.__doc__
    )
    parser.add_argument("model", help="a model file of python -m examples.stems")
    parser.add_argument("words", nargs="+", help="any words, known or not")
    options = parser.parse_args(arguments)
    encoder = numpy_infer.load_model(options.model)[-1]
    settings = numpy_infer.read_metadata(options.model)
    known = settings["words"]
    vectors = encoder(encode(known, settings["alphabet"]))
    memory = NeighborMemory(vectors.shape[1], dtype=str(vectors.dtype))
    memory.add(vectors)
    queries = encoder(encode(options.words, settings["alphabet"]))
    for word, indices, cosines in zip(options.words, *memory.search(queries, k=6), strict=True):
        near = [(known[i], cosine) for i, cosine in zip(indices, cosines, strict=True)]
        shown = [f"{other} {cosine:.2f}" for other, cosine in near if other != word][:5]
        print(f"{word}: {', '.join(shown)}")


if __name__ == "__main__":
    main()
