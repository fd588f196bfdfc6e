"""The program: train with several settings, save the best, measure what NumPy serves from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import numpy_infer
from examples.support.options import Options, Report
from examples.support.results import Quality
from examples.title_search import data
from examples.title_search.data import Split, Titles
from numpy_infer.evaluation import mean_average_precision, recall_at_k
from numpy_infer.text import Vocabulary, tokenize_title

# Buckets for the words that occur once or never; and whether rare words take longer steps.
SETTINGS = {
    f"{buckets} buckets, {name}": (buckets, scaled)
    for buckets in (1, 64, 1024, 8192)
    for name, scaled in (("plain", False), ("scaled", True))
}


def run(options: Options, report: Report) -> Quality:
    """Bring titles of one category close together, and find the neighbors of unseen titles.

    A title is the sum of its words' vectors, and is trained to be near the mean of other titles of
    its category. The titles are those of the reference pages of SciPy and scikit-learn, and the
    categories are the chapters. The setting with the best precision on held-out titles is kept.
    """
    split = data.load(options.data, count=200 if options.quick else None, seed=options.seed)
    print(f"{split.source}: {len(split.training.titles)} titles to train on")
    quality = {
        f"bag of words, {name}": measure(references, unseen, split.unseen, split)
        for name, (references, unseen) in bags_of_words(split).items()
    }
    settings = dict(list(SETTINGS.items())[-2:]) if options.quick else SETTINGS
    if options.start:  # the words and the setting are those of that file
        settings = {"continued": (0, numpy_infer.read_metadata(options.start)["scaled"])}
    best, histories = -1.0, {}
    for name, (buckets, scaled) in settings.items():
        if options.start:
            vocabulary = data.vocabulary_of(numpy_infer.read_metadata(options.start))
        else:
            tokens = [tokenize_title(title) for title in split.training.titles]
            vocabulary = Vocabulary.count(tokens, buckets=buckets)
        trained = options.training("title_search").train(
            split,
            vocabulary,
            scaled=scaled,
            start=options.start,
            seed=options.seed,
            epochs=3 if options.quick else 20,
            report=report,
        )
        candidate = options.output / "candidate.safetensors"
        trained.save(candidate, metadata=metadata(split, vocabulary, scaled))
        references, held_out, unseen = embed(candidate, split)
        found = measure(references, held_out, split.validation, split)
        quality[name] = {"validation MAP": found["MAP"]}
        quality[name] |= measure(references, unseen, split.unseen, split)
        quality[name] |= {"epochs": len(trained.history)}
        histories[name] = trained.history
        if found["MAP"] > best:
            best, flows = found["MAP"], trained.flows
            candidate.replace(options.model_file)
    (options.output / "candidate.safetensors").unlink(missing_ok=True)
    if options.plots:
        from examples.support.plots import curves, gradient_flow

        ends = list(histories)[:2] + list(histories)[-2:]  # eight lines cannot be told apart
        curves(options.output / "training.png", {name: histories[name] for name in ends})
        gradient_flow(options.output / "gradient_flow.png", flows)
    return quality


def metadata(split: Split, vocabulary: Vocabulary, scaled: bool) -> dict[str, object]:
    """What serving and going on need beside the encoder."""
    parts = (split.training, split.validation, split.unseen)
    return {
        "words": vocabulary.words,
        "buckets": vocabulary.buckets,
        "counts": vocabulary.counts,
        "scaled": scaled,
        "titles": [title for part in parts for title in part.titles],
        "labels": np.concatenate([part.labels for part in parts]),
        "categories": split.categories,
    }


def embed(model_file: Path, split: Split) -> list[np.ndarray]:
    """The vectors of the three parts, each (titles, dim), computed with NumPy from a model file."""
    encoder = numpy_infer.load_model(model_file)[-1]
    vocabulary = data.vocabulary_of(numpy_infer.read_metadata(model_file))
    parts = (split.training, split.validation, split.unseen)
    return [encoder(data.encode(part.titles, vocabulary)) for part in parts]


def measure(
    references: np.ndarray, vectors: np.ndarray, part: Titles, split: Split
) -> dict[str, float]:
    """How well the training's titles are ranked around other titles, by their categories."""
    known = split.training.labels
    recall = recall_at_k(vectors, part.labels, 1, references=references, reference_labels=known)
    precision = mean_average_precision(
        vectors, part.labels, references=references, reference_labels=known
    )
    return {"recall@1": recall, "MAP": precision}


def bags_of_words(split: Split) -> dict[str, list[np.ndarray]]:
    """The baselines: the training's and the unseen titles as bags of words, (titles, words)."""
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

    bags = {}
    for name, kind in (("counts", CountVectorizer), ("tf-idf", TfidfVectorizer)):
        vectorizer = kind(analyzer=tokenize_title, dtype=np.float32).fit(split.training.titles)
        parts = (split.training, split.unseen)
        bags[name] = [vectorizer.transform(part.titles).toarray() for part in parts]
    return bags
