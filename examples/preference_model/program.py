"""The program: find topics, train within them, save one file, measure what NumPy serves from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import numpy_infer
from examples.preference_model import data
from examples.preference_model.data import Split
from examples.preference_model.serve import NEIGHBORS, scores
from examples.support.options import Options, Report
from examples.support.results import Quality
from numpy_infer.evaluation import recall_at_k, roc_curve
from numpy_infer.text import Vocabulary

TOPICS = 12


def run(options: Options, report: Report) -> Quality:
    """Tell by the neighbors of an item whether it will be liked, and which of them say so.

    Liked items are of many kinds. An encoder is trained to tell liked from disliked items within
    each topic, and need not bring items of different topics together. The topics are those of a
    non-negative matrix factorization; the items are movies, and the critics say what is liked.
    """
    split = data.load(options.data, count=600 if options.quick else None, seed=options.seed)
    print(f"{split.source}: {len(split.training.texts)} items to train on")
    vocabulary = Vocabulary.count(map(data.words_of, split.training.texts), buckets=1)
    if options.start:  # the parts of the items are those of that file
        vocabulary = data.vocabulary_of(numpy_infer.read_metadata(options.start))
    bags, topics, table = bags_topics_and_table(split, vocabulary, options.seed)
    quality = dict(baselines(split, bags, topics, table))
    everything = np.zeros_like(topics[0])
    trainings = {"triplets of all items": everything, "triplets within topics": topics[0]}
    if options.start:
        del trainings["triplets of all items"]
    histories = {}
    for name, groups in trainings.items():  # the file of the last one is kept
        trained = options.training("preference_model").train(
            split,
            vocabulary,
            groups,
            table,
            start=options.start,
            seed=options.seed,
            epochs=2 if options.quick else 20,
            report=report,
        )
        trained.save(options.model_file, metadata={})  # its vectors become part of the file
        references, unseen = embed(options.model_file, split, vocabulary)
        trained.save(options.model_file, metadata=metadata(split, vocabulary, references))
        quality[name] = measure(references, unseen, split, topics)
        histories[name] = trained.history
    if options.plots:
        from examples.support.plots import curves, gradient_flow

        curves(options.output / "training.png", histories)
        gradient_flow(options.output / "gradient_flow.png", trained.flows)
    return quality


def metadata(split: Split, vocabulary: Vocabulary, vectors: np.ndarray) -> dict[str, object]:
    """What serving needs beside the encoder: the vectors of the known items above all."""
    return {
        "words": vocabulary.words,
        "counts": vocabulary.counts,
        "names": split.training.names,
        "liked": split.training.liked,
        "vectors": vectors,
    }


def embed(model_file: Path, split: Split, vocabulary: Vocabulary) -> list[np.ndarray]:
    """The vectors of known and unseen items, (items, dim), computed with NumPy from the file."""
    encoder = numpy_infer.load_model(model_file)[-1]
    parts = (split.training, split.unseen)
    return [encoder(data.encode(part.texts, vocabulary)) for part in parts]


def measure(
    references: np.ndarray, unseen: np.ndarray, split: Split, topics: tuple[np.ndarray, np.ndarray]
) -> dict[str, float]:
    """The AUC of the neighbors' votes, and how often the nearest item is of the same topic."""
    auc = roc_curve(scores(references, split.training.liked, unseen), split.unseen.liked > 0).auc
    same = recall_at_k(unseen, topics[1], 1, references=references, reference_labels=topics[0])
    return {"AUC": auc, "nearest of its topic": same}


def bags_topics_and_table(
    split: Split, vocabulary: Vocabulary, seed: int
) -> tuple[list[Any], tuple[np.ndarray, np.ndarray], np.ndarray]:
    """What is known of the items before anything is learned of what is liked.

    Returns:
        bags: of known and unseen items, sparse (items, words), tf-idf.
        topics: of known and unseen items, (items,).
        table: (vocabulary, dim), the start of the training: the words' singular vectors.
    """
    from sklearn.decomposition import NMF, TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    ids = {word: number for number, word in enumerate(vocabulary.words)}
    vectorizer = TfidfVectorizer(analyzer=data.words_of, vocabulary=ids, dtype=np.float32)
    known = vectorizer.fit_transform(split.training.texts)
    bags = [known, vectorizer.transform(split.unseen.texts)]
    factors = NMF(TOPICS, init="nndsvda", max_iter=400, random_state=seed).fit(known)
    first, second = (factors.transform(one).argmax(axis=1) for one in bags)
    svd = TruncatedSVD(data.DIM, random_state=seed).fit(known)
    rows = svd.components_.T * vectorizer.idf_[:, None]  # (words, dim)
    table = np.zeros((len(vocabulary), data.DIM), np.float32)
    table[1 : 1 + len(rows)] = 0.1 * rows / rows.std()  # of the size of a random start
    return bags, (first, second), table


def baselines(
    split: Split, bags: list[Any], topics: tuple[np.ndarray, np.ndarray], table: np.ndarray
) -> Quality:
    """A linear classifier of the bags, and the votes of neighbors: of the bags, of the start."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import NearestNeighbors

    known, unseen = bags
    liked, wanted = split.training.liked, split.unseen.liked > 0
    linear = LogisticRegression(max_iter=1000).fit(known, liked)  # C = 1 is best on validation data
    nearest = NearestNeighbors(n_neighbors=min(NEIGHBORS, len(liked)), metric="cosine").fit(known)
    distances, indices = nearest.kneighbors(unseen)
    votes = ((1 - distances) * (2 * liked[indices] - 1)).mean(axis=1)
    same = float((topics[0][indices[:, 0]] == topics[1]).mean())
    words = table[1 : 1 + known.shape[1]]
    before = measure((known > 0) @ words, (unseen > 0) @ words, split, topics)
    return {
        "logistic regression, tf-idf": {
            "AUC": roc_curve(linear.decision_function(unseen).astype(np.float64), wanted).auc
        },
        "neighbors, tf-idf": {"AUC": roc_curve(votes, wanted).auc, "nearest of its topic": same},
        "neighbors, singular vectors": before,
    }
