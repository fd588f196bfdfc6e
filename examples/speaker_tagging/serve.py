"""When a voice speaks, with NumPy alone: `python -m examples.speaker_tagging.serve MODEL FILE.wav`.

The file is read piece by piece, so that it may be longer than the memory is large.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import numpy_infer
from examples.speaker_tagging.data import Split, standardized
from numpy_infer.audio import LogMelStream, Resampler, mono, read_wav, wav_info, windows
from numpy_infer.evaluation import roc_curve
from numpy_infer.markers import Marker, time_markers
from numpy_infer.neighbor_memory import NeighborMemory

PIECE = 30  # seconds of a file that are read at a time
MAX_GAP, MIN_LENGTH = 0.6, 1.0  # seconds, of the markers


class Tagger:
    """What a model file holds: the encoder, and for each speaker a memory with its threshold."""

    def __init__(self, model_file: Path) -> None:
        self.encoder = numpy_infer.load_model(model_file)[-1]
        self.settings = settings = numpy_infer.read_metadata(model_file)
        self.memories = {}
        for label, name in enumerate(settings["speakers"]):
            vectors = settings["vectors"][settings["labels"] == label]
            self.memories[name] = memory_of(vectors, settings["thresholds"][label])

    def scores(self, pieces: Iterator[np.ndarray]) -> dict[str, np.ndarray]:
        """The scores of each speaker in each window of a signal that comes in pieces, (time,)."""
        window, hop = self.settings["window"], self.settings["hop"]
        stream = LogMelStream(self.settings["rate"], **self.settings["mel"])
        kept = np.zeros((self.settings["mel"]["n_mels"], 0), np.float32)  # frames still to be used
        found: dict[str, list[np.ndarray]] = {name: [] for name in self.memories}

        def use(frames: np.ndarray) -> np.ndarray:
            frames = np.concatenate([kept, frames], axis=1)
            batch = windows(frames, window, hop)
            if len(batch):
                vectors = self.encoder(standardized(batch))
                for name, memory in self.memories.items():
                    found[name].append(memory.score(vectors))
            return frames[:, len(batch) * hop :]

        for piece in pieces:
            kept = use(stream.push(piece))
        use(stream.finish())
        return {
            name: np.concatenate([np.zeros(0, np.float32), *have]) for name, have in found.items()
        }

    def markers(self, name: str, scores: np.ndarray) -> list[Marker]:
        """When a speaker speaks, from the scores of the windows."""
        threshold = self.memories[name].threshold
        return markers(scores, threshold, self.seconds("hop"), self.seconds("window"))

    def seconds(self, name: str) -> float:
        """A setting that is in frames."""
        seconds: float = self.settings[name] / self.settings["frames"]
        return seconds


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
    scores = tagger.scores(pieces_of(options.file, tagger.settings["rate"]))
    for name in names:
        for marker in tagger.markers(name, scores[name]):
            print(f"{marker.start:8.1f} s {marker.end:8.1f} s  {name}  {marker.score:.2f}")
    if options.scores:
        hop, window = tagger.seconds("hop"), tagger.seconds("window")
        times = window / 2 + hop * np.arange(len(scores[names[0]]))
        table = np.column_stack([times, *(scores[name] for name in names)])
        header = ",".join(["seconds", *names])
        np.savetxt(options.scores, table, "%.4g", ",", header=header, comments="")


if __name__ == "__main__":
    main()
