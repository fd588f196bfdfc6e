"""The program: load texts, train, save one file, measure what NumPy serves from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import numpy_infer
from examples.subtitle_classifier import data
from examples.subtitle_classifier.data import Split, Texts
from examples.support.options import Options, Report
from numpy_infer.evaluation import Confusion, confusion
from numpy_infer.model_file import read_arrays

HIDDEN = 96


def run(options: Options, report: Report) -> dict[str, dict[str, float]]:
    """Classify short texts by their characters: what a line about a film says.

    A recurrent network reads each text character by character, and its last state is projected to
    the scores of the classes: a title, a person, a cast, genres, countries or languages.
    """
    limit = 150 if options.quick else 5000
    split = data.load(options.data, limit=limit, seed=options.seed)
    print(f"{split.source}: {len(split.training.texts)} to train on, classes {len(split.classes)}")
    alphabet = data.alphabet_of(split.training.texts)
    if options.start:  # that classifier knows these characters and classes
        settings = numpy_infer.read_metadata(options.start)
        alphabet = settings["alphabet"]
        if settings["classes"] != split.classes:
            raise ValueError(f"{options.start}: its classes are {settings['classes']}")
    quality = n_grams(split)
    framework = options.training("subtitle_classifier")
    trained = framework.train(
        split,
        alphabet,
        hidden=HIDDEN,
        start=options.start,
        seed=options.seed,
        epochs=3 if options.quick else 8,
        report=report,
    )
    trained.save(options.model_file, metadata={"alphabet": alphabet, "classes": split.classes})
    scores = classify(options.model_file, split.unseen.texts)
    found = confusion(split.unseen.labels, scores.argmax(axis=1))
    quality["recurrent network"] = measures(scores, split.unseen)
    weights = sum(array.size for array in read_arrays(options.model_file).values())
    quality["recurrent network"] |= {"weights": weights, "epochs": len(trained.history)}
    show_confusion(found, split.classes)
    show_times(options, framework.predict, trained.model, split.unseen.texts, alphabet)
    if options.plots:
        from examples.subtitle_classifier.plots import plot_confusion
        from examples.support.plots import curves, gradient_flow

        curves(options.output / "training.png", {"recurrent network": trained.history})
        gradient_flow(options.output / "gradient_flow.png", trained.flows)
        plot_confusion(options.output / "confusion.png", found, split.classes)
    return quality


def n_grams(split: Split) -> dict[str, dict[str, float]]:
    """What the baselines reach: linear classifiers of the tf-idf of 1 to 4 characters in a row.

    Their smoothing and regularization are chosen on the validation part.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import MultinomialNB

    grams = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(1, 4), lowercase=False, sublinear_tf=True
    )
    training = grams.fit_transform(split.training.texts)
    validation, unseen = (grams.transform(part.texts) for part in (split.validation, split.unseen))
    families = {
        "n-grams, naive Bayes": [MultinomialNB(alpha=alpha) for alpha in (0.01, 0.1, 1.0)],
        "n-grams, logistic regression": [
            LogisticRegression(C=c, max_iter=300) for c in (10.0, 100.0)
        ],
    }
    quality = {}
    for name, models in families.items():
        for model in models:
            model.fit(training, split.training.labels)
        best = max(models, key=lambda model: model.score(validation, split.validation.labels))
        print(f"{name}: {best}")
        quality[name] = measures(best.predict_log_proba(unseen), split.unseen)
        quality[name] |= {"weights": len(split.classes) * (training.shape[1] + 1)}
    return quality


def classify(model_file: Path, texts: list[str]) -> np.ndarray:
    """The scores of the classes, (texts, classes), computed with NumPy from the model file."""
    alphabet = numpy_infer.read_metadata(model_file)["alphabet"]
    scores: np.ndarray = numpy_infer.load_model(model_file)[-1](data.encode(texts, alphabet))
    return scores


def measures(scores: np.ndarray, texts: Texts) -> dict[str, float]:
    """Accuracy, mean recall of the classes and cross entropy of scores before the softmax."""
    found = confusion(texts.labels, scores.argmax(axis=1))
    total = np.logaddexp.reduce(scores.astype(float), axis=1)
    right = scores[np.arange(len(scores)), texts.labels]
    return {
        "accuracy": found.accuracy,
        "mean recall": float(np.nanmean(found.recall)),
        "cross entropy": float(np.mean(total - right)),
    }


def show_confusion(found: Confusion, classes: list[str]) -> None:
    """Print of each class how many of its texts are found, and what most others are taken for."""
    for row, number in zip(found.counts, found.classes, strict=True):
        if row.sum():
            name, recall = classes[number], row[found.classes == number].sum() / row.sum()
            mistakes = np.where(found.classes == number, 0, row)
            other = classes[found.classes[mistakes.argmax()]]
            taken = f", most often taken for {other}" if mistakes.any() else ""
            print(f"{name}: {recall:.2f} of {row.sum()}{taken}")


def show_times(
    options: Options,
    predict: Callable[..., np.ndarray],
    model: object,
    texts: list[str],
    alphabet: list[str],
) -> None:
    """Print the processor time of 1,000 texts in the framework and in NumPy, from characters on."""
    several = [texts[i % len(texts)] for i in range(1000)]
    network = numpy_infer.load_model(options.model_file)[-1]
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        options.framework: lambda ids: predict(model, ids),
        "NumPy": network,
    }
    for name, way in ways.items():
        seconds = []
        for _ in range(4):  # the first one warms up
            begin = time.process_time()
            way(data.encode(several, alphabet))
            seconds.append(time.process_time() - begin)
        print(f"1,000 texts in {name}: {1000 * min(seconds[1:]):.0f} ms")
