"""Classes of texts, with NumPy alone: `python -m examples.subtitle_classifier.serve MODEL TEXT...`.

Each text is one argument: "Bulle Ogier, Pascale Ogier", in quotation marks.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

import numpy_infer
from examples.subtitle_classifier.data import encode


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the three most probable classes of each text."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.subtitle_classifier.serve", description=main.__doc__
    )
    parser.add_argument("model", help="a model file of python -m examples.subtitle_classifier")
    parser.add_argument("texts", nargs="+", help="any texts, each in quotation marks")
    options = parser.parse_args(arguments)
    network = numpy_infer.load_model(options.model)[-1]
    settings = numpy_infer.read_metadata(options.model)
    scores = network(encode(options.texts, settings["alphabet"]))  # (texts, classes)
    probabilities = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))
    for text, row in zip(options.texts, probabilities, strict=True):
        best = np.argsort(-row, kind="stable")[:3]
        print(f"{text}: " + ", ".join(f"{settings['classes'][i]} {row[i]:.2f}" for i in best))


if __name__ == "__main__":
    main()
