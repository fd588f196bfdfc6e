"""The program: load words, train, save one file, measure what NumPy serves from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

import numpy_infer
from examples.stems import data
from examples.stems.data import Split, Words
from examples.support.options import Options, Report
from examples.support.plots import curves, gradient_flow
from examples.support.results import Quality
from numpy_infer.evaluation import recall_at_k

Histories = dict[str, list[dict[str, float]]]  # of each training, by its name
Flows = list[Mapping[str, float]]

DIRECTIONS = {"left to right": False, "right to left": True}


def run(options: Options, report: Report) -> Quality:
    """Bring words of one stem close together, and find the nearest words of unseen stems.

    An encoder reads each word from right to left and is trained with cosine triplets. The words are
    the most frequent German and then English ones, with the stems of the Snowball stemmer. The
    model file is that of the last training: English, right to left.
    """
    quality: dict[str, Mapping[str, float]] = {}
    count = 2000 if options.quick else 20000
    languages = ["en"] if options.quick or options.data or options.start else ["de", "en"]
    for language in languages:
        split = data.load(options.data, language=language, count=count, seed=options.seed)
        print(f"{split.source}: {len(split.training.words)} words to train on")
        found, histories, flows = learn(split, options, report)
        quality |= {f"{split.source}: {name}": row for name, row in found.items()}
    if options.plots:
        curves(options.output / "training.png", histories)
        gradient_flow(options.output / "gradient_flow.png", flows)
    return quality


def learn(split: Split, options: Options, report: Report) -> tuple[Quality, Histories, Flows]:
    """Train an encoder of each direction and measure what NumPy serves, beside trigrams."""
    alphabet, directions = data.alphabet_of(split.training.words), DIRECTIONS
    if options.start:  # that encoder reads right to left, and knows this alphabet
        alphabet = numpy_infer.read_metadata(options.start)["alphabet"]
        directions = {"right to left": True}
    quality = {"trigram bag": {"recall@1": recall(data.trigram_bags(split.unseen.words), split)}}
    histories = {}
    for name, reverse in directions.items():
        trained = options.training("stems").train(
            split,
            alphabet,
            reverse=reverse,
            start=options.start,
            seed=options.seed,
            epochs=2 if options.quick else 10,
            report=report,
        )
        trained.save(options.model_file, metadata=metadata(split, alphabet))
        vectors = embed(options.model_file, split.unseen)
        quality[name] = {"recall@1": recall(vectors, split), "epochs": len(trained.history)}
        histories[name] = trained.history
    return quality, histories, trained.flows


def metadata(split: Split, alphabet: list[str]) -> dict[str, object]:
    """What serving needs beside the encoder."""
    parts = (split.training, split.validation, split.unseen)
    return {"alphabet": alphabet, "words": [word for part in parts for word in part.words]}


def embed(model_file: Path, words: Words) -> np.ndarray:
    """The vectors of words, (words, dim), computed with NumPy from the model file."""
    alphabet = numpy_infer.read_metadata(model_file)["alphabet"]
    vectors: np.ndarray = numpy_infer.load_model(model_file)[-1](data.encode(words.words, alphabet))
    return vectors


def recall(vectors: np.ndarray, split: Split) -> float:
    """The share of unseen words whose nearest other unseen word has the same stem."""
    return recall_at_k(vectors, split.unseen.stems, 1)
