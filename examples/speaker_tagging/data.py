"""Voices and their windows: of WAV files in a folder for each speaker, or made here.

Speakers are split in three. Of those that the encoder is trained on, some recordings are held out
too, since each of them is tagged later: in films whose other voices the encoder has never heard.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numpy_infer.audio import log_mel, mono, read_wav, resample, windows

RATE = 16000  # samples per second, unless a file has fewer
FRAMES = 25  # log-mel frames per second
WINDOW = 50  # frames: 2 s
SHORT_WINDOW = 16  # frames: 0.64 s, to place the begin and the end of a marker
HOP = 5  # frames from one window of a film to the next: 0.2 s
TRAINING_HOP = 10
COLOR = 0.2  # of the deviation of a window: how much a microphone changes it
LEFT_OUT = 16  # bands, and frames
TURN = (3.0, 8.0)  # seconds that a voice speaks in a film


class Voices(NamedTuple):
    """Recordings, (time,) float32 each, by speaker."""

    recordings: Mapping[str, Sequence[np.ndarray]]
    rate: int
    source: str  # what they are


class Windows(NamedTuple):
    """Windows of single voices."""

    frames: np.ndarray  # (n, mels, WINDOW) float32
    labels: np.ndarray  # (n,) int64, of the speakers


class Film(NamedTuple):
    """A sound track in which the tagged voice speaks now and then."""

    samples: np.ndarray  # (time,)
    stretches: list[tuple[float, float]]  # where it speaks, in seconds


class Split(NamedTuple):
    """What a training sees, what it stops by, and the films."""

    speakers: list[str]  # of the training, by label
    training: Windows
    held_out: Windows  # other recordings of these speakers, and speakers of their own
    validation: list[Film]  # for each speaker of the training: chooses the threshold
    unseen: list[Film]  # and measures the quality
    rate: int
    source: str


def load(path: Path | None, *, speakers: int, seconds: float, seed: int) -> Split:
    """Windows and films of the voices in a folder, or of voices made here.

    Args:
        path: a folder with a folder of WAV files for each speaker, or None.
        speakers: how many voices to make.
        seconds: how much of each voice to make, or to read at most.
        seed: of the split, the films and the voices.
    Raises:
        ValueError: fewer than four speakers, or less than 20 s of one.
    """
    rng = np.random.default_rng(seed)
    if path is not None:
        voices = read_voices(path, seconds, rng)
    elif shutil.which("espeak-ng"):
        voices = espeak_voices(speakers, seconds, rng)
    else:
        voices = formant_voices(speakers, seconds, rng)
    return split(voices, turns=max(8, round(seconds / 5)), rng=rng)


def read_voices(path: Path, seconds: float, rng: np.random.Generator) -> Voices:
    """Files of each speaker, in random order, until there are enough seconds."""
    files = {one.name: sorted(one.rglob("*.wav")) for one in sorted(path.iterdir())}
    found: dict[str, list[tuple[np.ndarray, int]]] = {}
    for name, paths in files.items():
        for number in rng.permutation(len(paths)):
            recording = read_wav(paths[number])
            have = found.setdefault(name, [])
            have.append((mono(recording.samples), recording.rate))
            if sum(len(x) / rate for x, rate in have) >= seconds:
                break
    return at_one_rate(found, str(path))


def espeak_voices(speakers: int, seconds: float, rng: np.random.Generator) -> Voices:
    """English voices of espeak-ng."""
    from examples.speaker_tagging.voices import VARIANTS, espeak

    names = rng.permutation(VARIANTS)[:speakers]
    count = max(5, round(seconds / 12))  # a recording has about 12 s
    found = {str(name): [espeak(name, rng) for _ in range(count)] for name in names}
    return at_one_rate(found, "voices of espeak-ng")


def formant_voices(speakers: int, seconds: float, rng: np.random.Generator) -> Voices:
    """Voices of formants, made with NumPy."""
    from examples.speaker_tagging import voices

    found = {}
    for number in range(speakers):
        one, count = voices.random_speaker(rng), max(5, round(seconds / 12))
        found[f"voice{number}"] = [
            (voices.formant_speech(one, seconds / count, rng), voices.RATE) for _ in range(count)
        ]
    return at_one_rate(found, "voices made here of formants: espeak-ng is not installed")


def at_one_rate(found: Mapping[str, Sequence[tuple[np.ndarray, int]]], source: str) -> Voices:
    """All recordings at the lowest of their rates, and RATE at most."""
    rate = min([RATE, *(rate for have in found.values() for _, rate in have)])
    recordings = {name: [resample(x, old, rate) for x, old in have] for name, have in found.items()}
    return Voices(recordings, rate, source)


def split(voices: Voices, *, turns: int, rng: np.random.Generator) -> Split:
    """A part of the speakers for each of validation and unseen films, the others to train on.

    Of those, a fifth of the recordings is for the films of each kind. Films have `turns` turns.
    """
    names, rate = list(voices.recordings), voices.rate
    if len(names) < 4:
        raise ValueError(f"{voices.source}: expected four speakers or more, got {len(names)}")
    for name, have in voices.recordings.items():
        if (length := sum(map(len, have)) / rate) < 20 or len(have) < 5:
            got = f"{len(have)} with {length:.0f} s"
            raise ValueError(f"{name}: expected 5 recordings, 20 s together, or more, got {got}")
    fifth = max(1, len(names) // 5)
    names = [names[i] for i in rng.permutation(len(names))]
    speakers = sorted(names[2 * fifth :])
    first, second = names[:fifth], names[fifth : 2 * fifth]  # the strangers

    def films(begin: float, end: float, strangers: Sequence[str]) -> list[Film]:
        others = joined(voices, strangers, 0, 1)
        own = joined(voices, speakers, begin, end)
        return [film(voice, others, rate, turns, rng) for voice in own]

    known = joined(voices, speakers, 0, 0.2)
    return Split(
        speakers,
        windows_of(joined(voices, speakers, 0.4, 1), rate),
        windows_of([*known, *joined(voices, first, 0, 1)], rate),
        films(0, 0.2, first),
        films(0.2, 0.4, second),
        rate,
        voices.source,
    )


def joined(voices: Voices, names: Sequence[str], begin: float, end: float) -> list[np.ndarray]:
    """Of each voice the recordings from one share of them to another, one after the other."""
    recordings = [voices.recordings[name] for name in names]
    return [
        np.concatenate(have[int(begin * len(have)) : int(end * len(have))]) for have in recordings
    ]


def film(
    voice: np.ndarray,
    strangers: Sequence[np.ndarray],
    rate: int,
    turns: int,
    rng: np.random.Generator,
) -> Film:
    """Turns of a voice and of strangers, each of TURN seconds, at different levels, with noise."""
    pieces: list[np.ndarray] = []
    stretches: list[tuple[float, float]] = []
    begin = 0
    for turn in range(turns):
        own = turn % 4 == 2 or rng.random() < 0.2
        speech = voice if own else strangers[int(rng.integers(len(strangers)))]
        length = round(rng.uniform(*TURN) * rate)
        piece = np.take(speech, rng.integers(len(speech)) + np.arange(length), mode="wrap")
        level = 0.1 * 2 ** rng.uniform(-1, 1) / np.sqrt(np.mean(piece**2) + 1e-9)
        pieces.append(level * piece + rng.normal(0, 0.001, length))
        if own:
            joined = stretches and stretches[-1][1] == begin / rate
            first = stretches.pop()[0] if joined else begin / rate
            stretches.append((first, (begin + length) / rate))
        begin += length
    return Film(np.concatenate(pieces).astype(np.float32), stretches)


def mel_settings(rate: int) -> dict[str, Any]:
    """The options of `log_mel`: transforms of about 1/16 s, FRAMES frames per second."""
    n_fft = 2 ** round(np.log2(rate / 16))
    return {"n_fft": int(n_fft), "hop_length": rate // FRAMES, "n_mels": 64, "floor": 1e-8}


def windows_of(voices: Sequence[np.ndarray], rate: int) -> Windows:
    """Windows of each voice, with its index as the label."""
    frames, labels = [], []
    for label, voice in enumerate(voices):
        mels = log_mel(voice, rate, **mel_settings(rate))
        frames.append(standardized(windows(mels, WINDOW, TRAINING_HOP)))
        labels.append(np.full(len(frames[-1]), label))
    return Windows(np.concatenate(frames), np.concatenate(labels))


def standardized(frames: np.ndarray) -> np.ndarray:
    """Each window, (n, mels, time), with mean 0 and variance 1, however loud it is."""
    deviation = frames.std(axis=(1, 2), keepdims=True)
    return (frames - frames.mean(axis=(1, 2), keepdims=True)) / np.maximum(deviation, 1e-3)


def varied(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Windows as if through other microphones, each with a few bands and a short time left out.

    So the encoder does not learn a recording's color, and does not rely on one sign of a voice.
    Source: D. S. Park et al., SpecAugment, 2019, for what is left out.
    """
    n, mels, time = frames.shape
    waves = np.pi * np.arange(1, 4)[:, None] * np.arange(mels) / mels  # (3, mels)
    phases, sizes = rng.uniform(0, 2 * np.pi, (n, 3, 1)), rng.normal(0, COLOR, (n, 3, 1))
    color = (sizes * np.cos(waves + phases)).sum(axis=1)[:, :, None]  # (n, mels, 1)
    out = _stretch(n, mels, rng)[:, :, None] | _stretch(n, time, rng)[:, None, :]
    return np.where(out, 0, frames + color).astype(frames.dtype)


def _stretch(n: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """A random stretch of fewer than LEFT_OUT places in each row, (n, length) bool."""
    start, size = rng.integers(length, size=(n, 1)), rng.integers(LEFT_OUT, size=(n, 1))
    places = np.arange(length)
    inside: np.ndarray = (places >= start) & (places < start + size)
    return inside


def statistics(frames: np.ndarray) -> np.ndarray:
    """The baseline: mean and deviation of each mel band over a window, (n, 2·mels)."""
    return np.concatenate([frames.mean(axis=2), frames.std(axis=2)], axis=1)


def film_windows(film: Film, rate: int) -> np.ndarray:
    """Windows of a film, HOP frames apart, (n, mels, WINDOW)."""
    mels = log_mel(film.samples, rate, **mel_settings(rate))
    return standardized(windows(mels, WINDOW, HOP))


def middles(count: int) -> np.ndarray:
    """The middle of each window of a film, in seconds."""
    return (WINDOW / 2 + HOP * np.arange(count)) / FRAMES


def speaks(film: Film, times: np.ndarray) -> np.ndarray:
    """Whether the tagged voice speaks at these seconds, (n,) bool."""
    return np.array([any(start <= t < end for start, end in film.stretches) for t in times])


def is_clear(film: Film, times: np.ndarray) -> np.ndarray:
    """Whether no begin and no end of a stretch is in the window around these seconds, (n,) bool."""
    borders = np.array(film.stretches).reshape(-1)
    clear: np.ndarray = (abs(times[:, None] - borders) >= WINDOW / FRAMES / 2).all(axis=1)
    return clear
