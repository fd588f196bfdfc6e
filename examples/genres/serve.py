"""Families, branches and languages, with NumPy alone: `python -m examples.genres.serve MODEL TEXT`.

Each text is one argument: "drei kleine worte", in quotation marks.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import numpy_infer
from examples.genres.data import encode
from numpy_infer.model_file import read_arrays


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the most probable class of each text at each level, from coarse to fine."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.genres.serve", description=main.__doc__
    )
    parser.add_argument("model", help="a model file of python -m examples.genres")
    parser.add_argument("texts", nargs="+", help="any texts, each in quotation marks")
    options = parser.parse_args(arguments)
    levels = predict(options.model, options.texts)
    names = numpy_infer.read_metadata(options.model)["classes"]
    for number, text in enumerate(options.texts):
        named = []
        for classes, log_probabilities in zip(names, levels, strict=True):
            best = log_probabilities[number].argmax()
            probability = np.exp(log_probabilities[number, best])
            named.append(f"{classes[best]} {probability:.2f}")
        print(f"{text}: {' > '.join(named)}")


def predict(model: str | Path, texts: Sequence[str]) -> list[np.ndarray]:
    """The log-probabilities of the classes at each level, (texts, classes)."""
    grams = numpy_infer.read_metadata(model)["n_grams"]
    dtype = read_arrays(model)["norm.scale"].dtype  # Theano may have trained in float64
    levels: list[np.ndarray] = numpy_infer.load_model(model)[-1](encode(texts, grams, dtype))
    return levels


if __name__ == "__main__":
    main()
