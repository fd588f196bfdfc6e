"""The program: load texts, train, save one file, measure what NumPy serves from it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import numpy_infer
from examples.genres import data
from examples.genres.data import LEVELS, Split
from examples.genres.serve import predict
from examples.support.options import Options, Report
from examples.support.training import Training
from numpy_infer.feedback_network import FeedbackNetwork

HIDDEN = 64
GRAMS = 2000  # the most frequent n-grams of the training part
SPAN = 1.0  # epochs that a level takes to join the loss, in the curriculum


def run(options: Options, report: Report) -> dict[str, dict[str, float]]:
    """Find the family, the branch and the language of a few words, from coarse to fine.

    A feedback network predicts the three levels of a taxonomy. It is compared with three networks
    of the same size, one for each level, and with a linear classifier of the finest level alone.
    The model file is that of the feedback network without a curriculum.
    """
    split = data.load(options.data, count=200 if options.quick else 2400, seed=options.seed)
    counts = [len(several) for several in split.classes]
    print(f"{split.source}: {len(split.training.texts)} to train on, classes {counts}")
    grams = data.frequent_n_grams(split.training.texts, GRAMS)
    curricula = {"feedback network, curriculum": SPAN, "feedback network": None}
    if options.start:  # that network knows these n-grams and classes
        settings = numpy_infer.read_metadata(options.start)
        grams = settings["n_grams"]
        if settings["classes"] != split.classes:
            raise ValueError(f"{options.start}: its classes are {settings['classes']}")
        del curricula["feedback network, curriculum"]
    training, validation, unseen = (data.encode(part.texts, grams) for part in split[:3])
    framework = options.training("genres")

    def train(levels: Sequence[int], span: float | None = None) -> Training:
        begin = time.process_time()
        trained: Training = framework.train(
            training,
            split.training.labels[:, levels],
            validation,
            split.validation.labels[:, levels],
            [counts[level] for level in levels],
            hidden=HIDDEN,
            span=span,
            start=options.start if len(levels) == len(LEVELS) else None,
            seed=options.seed,
            epochs=3 if options.quick else 25,
            report=report,
        )
        names = ", ".join(LEVELS[level] for level in levels)
        seconds = time.process_time() - begin
        print(
            f"{names}: {seconds:.0f} s of a processor, {len(trained.history)} epochs, span {span}"
        )
        return trained

    quality = {"linear, finest level": measures(linear(split, grams), split)}
    single = [train([level]) for level in range(len(LEVELS))]
    found = [framework.predict(one.model, unseen)[0].argmax(axis=1) for one in single]
    quality["three networks"] = measures(np.stack(found, axis=1), split)
    quality["three networks"] |= {"parameters": sum(parameters(len(grams), [n]) for n in counts)}
    histories = {}
    for name, span in curricula.items():
        trained = train(range(len(LEVELS)), span)
        histories[name] = trained.history
        metadata = {"n_grams": grams, "classes": split.classes}
        trained.save(options.model_file, metadata=metadata)
        predicted = classify(options.model_file, split.unseen.texts)
        quality[name] = measures(predicted, split) | {"parameters": parameters(len(grams), counts)}
        quality[f"{name}, finest level"] = measures(upwards(predicted, split), split)
    if options.plots:
        from examples.genres.plots import plot_levels
        from examples.support.plots import curves, gradient_flow

        curves(options.output / "training.png", histories)
        gradient_flow(options.output / "gradient_flow.png", trained.flows)
        plot_levels(options.output / "levels.png", quality)
    return quality


def linear(split: Split, grams: list[str]) -> np.ndarray:
    """The baseline: logistic regression of the fine classes, (texts, levels) numbers of classes.

    Its regularization is chosen on the validation part.
    """
    from scipy.sparse import csr_array
    from sklearn.linear_model import LogisticRegression

    training, validation, unseen = (csr_array(data.encode(part.texts, grams)) for part in split[:3])
    models = [
        LogisticRegression(C=c, max_iter=200).fit(training, split.training.labels[:, -1])
        for c in (0.03, 0.1, 0.3)
    ]
    best = max(models, key=lambda model: model.score(validation, split.validation.labels[:, -1]))
    paths: np.ndarray = split.paths[best.predict(unseen)]
    return paths


def classify(model_file: Path, texts: list[str]) -> np.ndarray:
    """(texts, levels) numbers of classes, computed with NumPy from the model file."""
    return np.stack([level.argmax(axis=1) for level in predict(model_file, texts)], axis=1)


def upwards(predicted: np.ndarray, split: Split) -> np.ndarray:
    """The predictions of the finest level, with the classes above them."""
    paths: np.ndarray = split.paths[predicted[:, -1]]
    return paths


def measures(predicted: np.ndarray, split: Split) -> dict[str, float]:
    """Accuracy at each level, and the share of texts whose classes lie on one path."""
    right = (predicted == split.unseen.labels).mean(axis=0)
    consistent = (upwards(predicted, split) == predicted).all(axis=1).mean()
    named = {level: float(share) for level, share in zip(LEVELS, right, strict=True)}
    return {**named, "consistent": float(consistent)}


def parameters(features: int, classes: list[int]) -> int:
    """How many weights a network with these numbers of classes has."""
    shapes = FeedbackNetwork.array_shapes(features, classes, HIDDEN).values()
    return sum(math.prod(shape) for shape in shapes)
