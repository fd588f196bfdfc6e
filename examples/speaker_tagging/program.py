"""The program: voices, train, save one file, measure the markers that NumPy finds with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import numpy_infer
from examples.speaker_tagging import data
from examples.speaker_tagging.data import HOP, SHORT_WINDOW, WINDOW, Film, Split
from examples.speaker_tagging.serve import Tagger, markers, memory_of
from examples.support.options import Options, Report
from examples.support.plots import curves, gradient_flow
from examples.support.results import Quality
from numpy_infer.evaluation import roc_curve, threshold_by_f1
from numpy_infer.markers import Marker

Score = Callable[[int, Film], np.ndarray]  # of a voice, by its label, in each window of a film
Thresholds = Sequence[float]  # of each voice
NEAR = 0.3  # seconds: a marker's begin or end is right when it is that near to the true one


def run(options: Options, report: Report) -> Quality:
    """Find when a voice speaks in a sound track whose other voices were never heard before.

    An encoder of two seconds of sound is trained with cosine triplets. A memory of one voice and a
    threshold then say for each moment of a film whether that voice speaks. The voices are those of
    --data, or are made by espeak-ng or from formants.
    """
    speakers, seconds = (6, 40) if options.quick else (32, 120)
    split = data.load(options.data, speakers=speakers, seconds=seconds, seed=options.seed)
    voices, windows = len(split.speakers), len(split.training.labels)
    print(f"{split.source}: {voices} voices to train on, {windows} windows")
    trained = options.training("speaker_tagging").train(
        split,
        start=options.start,
        seed=options.seed,
        epochs=4 if options.quick else 30,
        report=report,
    )
    trained.save(options.model_file, metadata={})
    trained.save(options.model_file, metadata=metadata(split, options.model_file))
    tagger = Tagger(options.model_file)

    heard = [tagger.hear(iter([film.samples])) for film in split.unseen]

    def score(label: int, film: Film) -> np.ndarray:
        return tagger.scores(split.speakers[label], heard[label])

    def as_served(label: int, film: Film) -> list[Marker]:
        return tagger.markers(split.speakers[label], heard[label])

    thresholds = tagger.settings["thresholds"]
    quality = {
        "encoder and memory": measured(split, score, thresholds, as_served),
        "the same, without short windows": measured(split, score, thresholds),
        "the same, threshold 0.7": measured(split, score, [0.7] * len(thresholds)),
    }
    baselines = {
        "log-mel statistics and memory": statistics_and_memory(split),
        "statistics, logistic regression": statistics_and_regression(split),
    }
    for name, baseline in baselines.items():
        quality[name] = measured(split, baseline, calibrated(split, baseline))
    print(speed(tagger, split.unseen))
    if options.plots:
        from examples.speaker_tagging.plot import scores_over_time

        curves(options.output / "training.png", {"encoder": trained.history})
        gradient_flow(options.output / "gradient_flow.png", trained.flows)
        path, name, film = options.output / "scores.png", split.speakers[0], split.unseen[0]
        found, shown = score(0, film), as_served(0, film)
        scores_over_time(path, name, data.middles(len(found)), found, thresholds[0], shown, film)
    return quality


def metadata(split: Split, model_file: Path) -> dict[str, object]:
    """What serving needs beside the encoder: how sound becomes windows, the voices, thresholds.

    A voice's threshold is the one with the largest F1 in the film of its held-out recordings.
    """
    encoder = numpy_infer.load_model(model_file)[-1]
    vectors, labels = encoder(split.training.frames), split.training.labels
    thresholds = []
    for label, film in enumerate(split.validation):
        queries = encoder(data.film_windows(film, split.rate))
        present = data.speaks(film, data.middles(len(queries)))
        thresholds.append(memory_of(vectors[labels == label]).calibrate(queries, present).threshold)
    return {
        "rate": split.rate,
        "mel": data.mel_settings(split.rate),
        "frames": data.FRAMES,  # per second
        "window": WINDOW,
        "short_window": SHORT_WINDOW,
        "hop": HOP,
        "speakers": split.speakers,
        "vectors": vectors,
        "labels": labels,
        "thresholds": thresholds,
    }


def statistics_and_memory(split: Split) -> Score:
    """The first baseline: the memory, with mean and deviation of each mel band as the vectors."""
    vectors = data.statistics(split.training.frames)
    memories = [memory_of(vectors[split.training.labels == i]) for i in range(len(split.speakers))]

    def score(label: int, film: Film) -> np.ndarray:
        return memories[label].score(data.statistics(data.film_windows(film, split.rate)))

    return score


def statistics_and_regression(split: Split) -> Score:
    """The second one: a linear classifier of each voice against the others, on the same numbers."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    vectors, labels = data.statistics(split.training.frames), split.training.labels
    models = []
    for label in range(len(split.speakers)):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        models.append(model.fit(vectors, labels == label))

    def score(label: int, film: Film) -> np.ndarray:
        scores: np.ndarray = models[label].decision_function(
            data.statistics(data.film_windows(film, split.rate))
        )
        return scores

    return score


def calibrated(split: Split, score: Score) -> Thresholds:
    """The threshold of each voice with the largest F1 in its film of held-out recordings."""
    thresholds = []
    for label, film in enumerate(split.validation):
        scores = score(label, film)
        present = data.speaks(film, data.middles(len(scores)))
        thresholds.append(threshold_by_f1(scores, present).threshold)
    return thresholds


def measured(
    split: Split,
    score: Score,
    thresholds: Thresholds,
    markers_in: Callable[[int, Film], list[Marker]] | None = None,
) -> dict[str, float]:
    """Means over the films of all voices; markers_in: those of a voice, else of its scores alone.

    Accuracy and AUC are those of windows in which only the voice speaks, or only others do; the
    markers are measured at every begin and end of the voice's stretches.
    """
    accuracies, areas, distances, false, truths = [], [], [], 0, 0
    for label, film in enumerate(split.unseen):
        scores = score(label, film)
        times = data.middles(len(scores))
        present, clear = data.speaks(film, times), data.is_clear(film, times)
        accuracies.append(np.mean((scores > thresholds[label])[clear] == present[clear]))
        areas.append(roc_curve(scores[clear], present[clear]).auc)
        if markers_in is None:
            found = markers_of(scores, thresholds[label])
        else:
            found = markers_in(label, film)
        distances += border_distances(found, film.stretches)
        false += sum(not any(overlap(one, true) > 0 for true in film.stretches) for one in found)
        truths += len(film.stretches)
    near = np.array(distances)
    return {
        "accuracy": float(np.mean(accuracies)),
        "worst": float(np.min(accuracies)),
        "AUC": float(np.mean(areas)),
        f"within {NEAR} s": float(np.mean(near <= NEAR)),
        "median s": float(np.median(near)),
        "missed": float(np.isinf(near).sum() / 2 / truths),
        "false": false / truths,
    }


def markers_of(scores: np.ndarray, threshold: float) -> list[Marker]:
    """As served: with windows of 2 s, 0.2 s apart."""
    return markers(scores, threshold, HOP / data.FRAMES, WINDOW / data.FRAMES)


def overlap(marker: Marker, stretch: tuple[float, float]) -> float:
    """Seconds that both have."""
    return min(marker.end, stretch[1]) - max(marker.start, stretch[0])


def border_distances(
    found: Sequence[Marker], stretches: Sequence[tuple[float, float]]
) -> list[float]:
    """From each begin and end of a stretch to that of the marker that has most of it, in seconds.

    Infinity where no marker has any of it.
    """
    distances = []
    for stretch in stretches:
        best = max(found, key=lambda one: overlap(one, stretch), default=None)
        if best is None or overlap(best, stretch) <= 0:
            distances += [np.inf, np.inf]
        else:
            distances += [abs(best.start - stretch[0]), abs(best.end - stretch[1])]
    return distances


def speed(tagger: Tagger, films: Sequence[Film]) -> str:
    """How long a processor works on the sound of a film, with NumPy alone, once warm."""
    samples, rate = films[0].samples, tagger.settings["rate"]
    tagger.hear(iter([samples]))
    begin = time.process_time()
    heard = tagger.hear(iter([samples]))
    for name in tagger.memories:
        tagger.markers(name, heard)
    took = time.process_time() - begin
    seconds, voices = len(samples) / rate, len(tagger.memories)
    return f"{seconds:.0f} s of sound, {voices} voices: {took:.2f} s of NumPy"
