"""When a voice speaks, with NumPy alone: `python -m examples.speaker_tagging.serve MODEL FILE.wav`.

The file is read piece by piece, so that it may be longer than the memory is large.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import numpy_infer
from examples.speaker_tagging.data import Split, standardized
from numpy_infer.audio import LogMelStream, Resampler, mono, read_wav, wav_info, windows
from numpy_infer.evaluation import roc_curve
from numpy_infer.markers import Marker, largest_step, time_markers
from numpy_infer.neighbor_memory import NeighborMemory

PIECE = 30  # seconds of a file that are read at a time
MAX_GAP, MIN_LENGTH = 0.6, 1.0  # seconds, of the markers
REACH = 1.5  # seconds by which a begin or an end may be moved


class Heard(NamedTuple):
    """A sound as the encoder hears it: some kilobytes for a second."""

    frames: np.ndarray  # (mels, time)
    vectors: np.ndarray  # (windows, dim)


class Tagger:
    """What a model file holds: the encoder, and for each speaker a memory with its threshold."""

    def __init__(self, model_file: Path) -> None:
        self.encoder = numpy_infer.load_model(model_file)[-1]
        self.settings = settings = numpy_infer.read_metadata(model_file)
        self.memories = {}
        for label, name in enumerate(settings["speakers"]):
            vectors = settings["vectors"][settings["labels"] == label]
            self.memories[name] = memory_of(vectors, settings["thresholds"][label])

    def hear(self, pieces: Iterator[np.ndarray]) -> Heard:
        """The log-mel frames and the vectors of the windows of a signal in pieces, (time,)."""
        window, hop = self.settings["window"], self.settings["hop"]
        stream = LogMelStream(self.settings["rate"], **self.settings["mel"])
        frames: list[np.ndarray] = []
        vectors = [np.zeros((0, self.settings["vectors"].shape[1]), np.float32)]
        rest = np.zeros((self.settings["mel"]["n_mels"], 0), np.float32)  # still to be used

        def use(new: np.ndarray) -> np.ndarray:
            frames.append(new)
            ready = np.concatenate([rest, new], axis=1)
            batch = windows(ready, window, hop)
            if len(batch):
                vectors.append(self.encoder(standardized(batch)))
            return ready[:, len(batch) * hop :]

        for piece in pieces:
            rest = use(stream.push(piece))
        use(stream.finish())
        return Heard(np.concatenate(frames, axis=1), np.concatenate(vectors))

    def scores(self, name: str, heard: Heard) -> np.ndarray:
        """The score of a speaker in each window."""
        return self.memories[name].score(heard.vectors)

    def markers(self, name: str, heard: Heard) -> list[Marker]:
        """When a speaker speaks: what the windows say, begins and ends placed by short windows."""
        memory, scores = self.memories[name], self.scores(name, heard)
        coarse = markers(scores, memory.threshold, self.seconds("hop"), self.seconds("window"))

        def score(batch: np.ndarray) -> np.ndarray:
            return memory.score(self.encoder(batch))

        return placed(coarse, heard.frames, score, self.settings)

    def seconds(self, name: str) -> float:
        """A setting that is in frames."""
        seconds: float = self.settings[name] / self.settings["frames"]
        return seconds


def placed(
    found: Sequence[Marker],
    frames: np.ndarray,
    score: Callable[[np.ndarray], np.ndarray],
    settings: Mapping[str, Any],
) -> list[Marker]:
    """Markers that begin and end where the scores of short windows make their largest step.

    frames: of the whole sound, (mels, time). score: of windows, (n, mels, time). A begin and an end
    move by REACH at most, and not over the middle of their marker or over the next marker.
    """
    rate, short = settings["frames"], settings["short_window"]
    seconds = frames.shape[1] / rate

    def step(at: float, low: float, high: float, rising: bool) -> float:
        first = max(round(max(low, at - REACH) * rate - short / 2), 0)
        last = round(min(high, at + REACH) * rate + short / 2)
        batch = windows(frames[:, first:last], short, 1)
        k = largest_step(score(standardized(batch)), rising=rising) if len(batch) else None
        return at if k is None else (first + k + (short - 1) / 2) / rate

    moved: list[Marker] = []
    for number, one in enumerate(found, start=1):
        limit = found[number].start if number < len(found) else seconds
        middle = (one.start + one.end) / 2
        start = step(one.start, moved[-1].end if moved else 0, middle, rising=True)
        end = step(one.end, middle, limit, rising=False)
        moved.append(one._replace(start=start, end=end))
    return moved


def memory_of(vectors: np.ndarray, threshold: float = 0.7) -> NeighborMemory:
    """A memory of a voice: its score is the mean cosine of the five nearest vectors."""
    memory = NeighborMemory(vectors.shape[1], dtype=str(vectors.dtype), threshold=threshold)
    memory.add(np.array(vectors))
    return memory


def area_of_held_out(known: np.ndarray, vectors: np.ndarray, split: Split) -> float:
    """The mean AUC of all voices: their held-out recordings against the strangers'.

    known: the vectors of the training's windows. vectors: of the held-out ones.
    """
    areas = []
    strangers = split.held_out.labels >= len(split.speakers)
    for label in range(len(split.speakers)):
        own = split.held_out.labels == label
        scores = memory_of(known[split.training.labels == label]).score(vectors[own | strangers])
        areas.append(roc_curve(scores, own[own | strangers]).auc)
    return float(np.mean(areas))


def markers(scores: np.ndarray, threshold: float, hop: float, window: float) -> list[Marker]:
    """Each score stands for the middle of its window, and the first and the last to the ends."""
    if len(scores) == 0:
        return []
    edge = int((window - hop) / 2 / hop)
    return time_markers(
        np.pad(scores, edge, mode="edge"),
        threshold=threshold,
        hop=hop,
        max_gap=MAX_GAP,
        min_length=MIN_LENGTH,
        start=(window - hop) / 2 - edge * hop,
    )


def pieces_of(path: Path, rate: int) -> Iterator[np.ndarray]:
    """The samples of a WAV file at another rate, some seconds at a time."""
    info = wav_info(path)
    resampler = Resampler(info.rate, rate)
    for start in range(0, info.length, PIECE * info.rate):
        yield resampler.push(
            mono(read_wav(path, start=start, stop=start + PIECE * info.rate).samples)
        )
    yield resampler.finish()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print when each speaker of the model speaks in a WAV file, and the highest score there."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.speaker_tagging.serve", description=main.__doc__
    )
    parser.add_argument("model", type=Path, help="of python -m examples.speaker_tagging")
    parser.add_argument("file", type=Path, help="a WAV file of any length and rate")
    parser.add_argument("--speaker", help="one of the model's; all when left out")
    parser.add_argument("--scores", type=Path, help="a CSV file to write the scores to")
    options = parser.parse_args(arguments)
    tagger = Tagger(options.model)
    names = list(tagger.memories) if options.speaker is None else [options.speaker]
    if not set(names) <= set(tagger.memories):
        parser.error(f"--speaker: expected one of {', '.join(tagger.memories)}, got {names[0]}")
    heard = tagger.hear(pieces_of(options.file, tagger.settings["rate"]))
    for name in names:
        for marker in tagger.markers(name, heard):
            print(f"{marker.start:8.1f} s {marker.end:8.1f} s  {name}  {marker.score:.2f}")
    if options.scores:
        hop, window = tagger.seconds("hop"), tagger.seconds("window")
        times = window / 2 + hop * np.arange(len(heard.vectors))
        table = np.column_stack([times, *(tagger.scores(name, heard) for name in names)])
        header = ",".join(["seconds", *names])
        np.savetxt(options.scores, table, "%.4g", ",", header=header, comments="")


if __name__ == "__main__":
    main()
