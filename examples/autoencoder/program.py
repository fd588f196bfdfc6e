"""The program: train autoencoders, save them, measure what NumPy serves from the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import numpy_infer
from examples.autoencoder import data
from examples.autoencoder.data import Sounds, Split
from examples.support.options import Options, Report
from examples.support.results import Quality
from numpy_infer.evaluation import recall_at_k

VARIANTS = {
    "plain": {},
    "unit norm": {"unit_norm": True},
    "weighted by leaves": {"weight_by_leaves": True},
    "both options": {"unit_norm": True, "weight_by_leaves": True},
}


def run(options: Options, report: Report) -> Quality:
    """Reconstruct digits and sounds by convolutions, and sounds by trees.

    The trees' roots are compared with untrained ones and with the mean of the frames: how often is
    the nearest other sound one of the same kind? The model file is that of the last tree.
    """
    quality: dict[str, dict[str, float]] = {}
    sizes = (100, 16, 30) if options.quick else (1797, 150, 270)
    digits = data.digits(sizes[0], options.seed)
    sounds, unseen = (
        data.synthesized(count, [options.seed, place]) for place, count in enumerate(sizes[1:])
    )
    if not options.start:
        for split in (digits, data.split(data.beginnings(unseen), "sounds")):
            quality[f"{split.source}: mean"] = {"error": mean_error(split)}
            quality[f"{split.source}: convolutions"] = convolutions(split, options, report)
    mean = np.stack([one.mean(axis=0) for one in unseen.frames])
    quality["mean of the frames"] = {"recall@1": recall(mean, unseen)}
    last = {"both options": VARIANTS["both options"]}
    variants = last if options.start or options.quick else VARIANTS
    for name, chosen in variants.items():
        for epochs, state in ((0, "untrained"), (2 if options.quick else 8, "trained")):
            training = options.training("autoencoder").train_trees(
                sounds.frames,
                options=chosen,
                start=options.start,
                seed=options.seed,
                epochs=epochs,
                report=report,
            )
            training.save(options.model_file, metadata={"rate": data.RATE})
            losses = [epoch["loss"] for epoch in training.history[-1:]]
            row = {"recall@1": recall(roots(options.model_file, unseen), unseen)}
            quality[f"root, {name}, {state}"] = row | dict(zip(["loss"], losses, strict=False))
    if options.plots:
        from examples.autoencoder import plots

        glide = unseen.frames[int((unseen.labels // 3 != unseen.labels % 3).argmax())]
        plots.tree(options.output / "tree.png", options.model_file, glide)
        if not options.start:
            path = options.output / "digits.safetensors"
            plots.images(options.output / "digits.png", path, digits.unseen[:8])
    return quality


def convolutions(split: Split, options: Options, report: Report) -> dict[str, float]:
    """The mean squared error of unseen rows, reconstructed by NumPy from the model file."""
    training = options.training("autoencoder").train_convolutions(
        split.training,
        split.validation,
        seed=options.seed,
        epochs=2 if options.quick else 15,
        report=report,
    )
    path = options.output / f"{split.source.split()[0]}.safetensors"
    training.save(path, metadata={})
    found = numpy_infer.load_model(path)[-1](split.unseen)
    return {"error": float(np.square(found - split.unseen).mean())}


def mean_error(split: Split) -> float:
    """The baseline: the mean of the training for every row."""
    return float(np.square(split.unseen - split.training.mean(axis=0)).mean())


def roots(model_file: Path, sounds: Sounds) -> np.ndarray:
    """The embeddings of the roots, (sounds, dim), computed with NumPy from the model file."""
    model = numpy_infer.load_model(model_file)[-1]
    return np.stack([model(one).embeddings[-1] for one in sounds.frames])


def recall(vectors: np.ndarray, sounds: Sounds) -> float:
    """The share of sounds whose nearest other sound is of the same kind."""
    return recall_at_k(vectors, sounds.labels, 1)
