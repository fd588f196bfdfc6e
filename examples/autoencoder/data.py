"""Digits of scikit-learn, or images made up; and sounds that are synthesized."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_infer.audio import log_mel

RATE, MELS, HOP, WINDOW = 8000, 16, 400, 512
SHORTEST = 12  # frames of every sound


class Split(NamedTuple):
    """Three parts of what is reconstructed, (n, channels, *space) each."""

    training: np.ndarray
    validation: np.ndarray  # tells when to stop
    unseen: np.ndarray
    source: str


class Sounds(NamedTuple):
    """Sequences of log-mel frames, (frames, MELS) each, and what was played."""

    frames: list[np.ndarray]
    labels: np.ndarray


def digits(count: int, seed: int) -> Split:
    """Images of 8 × 8 pixels between 0 and 1: of scikit-learn, or blots where it is missing."""
    try:
        from sklearn.datasets import load_digits

        images, source = load_digits().images / 16, "digits"
    except ImportError:
        rng, axis = np.random.default_rng(seed), np.arange(8)
        where, width = rng.uniform(2, 6, (2, 1797, 1)), rng.uniform(1, 2, (1797, 1))
        rows, columns = (np.exp(-(((axis - one) / width) ** 2)) for one in where)
        images, source = rows[:, :, None] * columns[:, None], "images made up here"
    order = np.random.default_rng(seed).permutation(len(images))[:count]
    return split(images[order, None].astype("float32"), source)


def split(x: np.ndarray, source: str) -> Split:
    """70, 10 and 20 percent of the rows."""
    cuts = [len(x) * 7 // 10, len(x) * 8 // 10]
    return Split(x[: cuts[0]], x[cuts[0] : cuts[1]], x[cuts[1] :], source)


def synthesized(count: int, seed: int | list[int]) -> Sounds:
    """Glides between two of three pitches, nine kinds, at their own pace, tuning and loudness."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(9, size=count)
    pitches = np.array([300.0, 700.0, 1600.0])
    frames = []
    for label in labels:
        n = int(rng.integers(SHORTEST, SHORTEST + 5))
        begin, end = pitches[label // 3], pitches[label % 3]
        way = np.linspace(0, 1, (n - 1) * HOP + WINDOW) ** rng.uniform(0.7, 1.4)
        pitch = rng.uniform(0.9, 1.1) * begin * (end / begin) ** way
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        tone = np.sin(phase) + rng.uniform(0, 0.5) * np.sin(2 * phase)
        wave = rng.uniform(0.3, 1) * tone + 0.05 * rng.normal(size=len(tone))
        frames.append(spectra(wave.astype("float32")))
    return Sounds(frames, labels)


def spectra(wave: np.ndarray) -> np.ndarray:
    """Log-mel frames of length 1, (frames, MELS), of a wave of RATE samples a second."""
    mels = log_mel(wave, RATE, n_fft=WINDOW, hop_length=HOP, n_mels=MELS, center=False, floor=1e-3)
    frames = (mels - mels.mean()).T
    lengths = np.linalg.norm(frames, axis=1, keepdims=True)
    unit: np.ndarray = frames / np.maximum(lengths, 1e-6)
    return np.ascontiguousarray(unit, np.float32)


def beginnings(sounds: Sounds) -> np.ndarray:
    """The first frames of every sound, as many of each: (n, MELS, frames)."""
    shortest = min(map(len, sounds.frames))
    return np.stack([one[:shortest].T for one in sounds.frames])
