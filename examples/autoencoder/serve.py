"""The tree of a sound, with NumPy alone: `python -m examples.autoencoder.serve MODEL FILE.wav`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy_infer
from examples.autoencoder.data import spectra
from numpy_infer.audio import mono, read_wav, resample


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tree over the frames of a sound, a merge in each line, and the root's error."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.autoencoder.serve", description=main.__doc__
    )
    parser.add_argument("model", help="a model file of python -m examples.autoencoder")
    parser.add_argument("sound", help="a WAV file")
    options = parser.parse_args(arguments)
    sound = read_wav(options.sound)
    rate = numpy_infer.read_metadata(options.model)["rate"]
    frames = spectra(resample(mono(sound.samples), sound.rate, rate))
    tree = numpy_infer.load_model(options.model)[-1](frames)
    spans = [(leaf, leaf) for leaf in range(len(frames))]
    for left, right in tree.merges.tolist():
        spans.append((spans[left][0], spans[right][1]))
        print(f"frames {spans[-1][0]} to {spans[-1][1]}: {tree.scores[len(spans) - 1]:.3g}")


if __name__ == "__main__":
    main()
