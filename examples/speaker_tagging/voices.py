"""Voices that are made here: by espeak-ng where it is installed, else from formants, with NumPy.

    x(t) = Σ_h A(h·f0(t)) sin(h·φ(t)),   A a sum of resonances that move from vowel to vowel

A speaker of formants has a pitch, a length of the vocal tract, which scales all formants, a slope
of the spectrum and some breath. It sounds like a voice, and says nothing.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from numpy_infer.audio import mono, read_wav

# Variants of espeak-ng's English voice that differ in their formants and their pitch.
VARIANTS = (
    *("f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "klatt2"),
    *("Andrea", "Annie", "linda", "steph", "Alicia", "adam", "Denis", "Hugo", "Jacky", "Lee"),
    *("Marco", "Mike", "paul", "rob", "victor", "travis", "grandma", "grandpa"),
)
WORDS = """
the a one two every old young small green quiet captain river morning engine garden letter
doctor window harbor teacher village summer shadow kitchen found carried watched opened
remembered followed painted answered between under beyond without because before slowly
always never perhaps seven thousand miles yesterday together music enough please question
"""
WORDS_OF_A_RECORDING = 30  # about 12 s

RATE = 8000  # samples per second of the voices of formants
STEPS = 100  # of the formants in a second
# The first three formants of vowels, in Hz.
VOWELS = np.array(
    [
        *[(270, 2290, 3010), (390, 1990, 2550), (530, 1840, 2480), (660, 1720, 2410)],
        *[(730, 1090, 2440), (570, 840, 2410), (440, 1020, 2240), (300, 870, 2240)],
    ],
    float,
)
BANDWIDTHS = np.array([80.0, 100.0, 140.0])  # Hz
GAINS = np.array([1.0, 0.6, 0.35])


def espeak(variant: str, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Random words by a variant of espeak-ng's English voice, and the rate of the samples."""
    text = " ".join(rng.choice(WORDS.split(), WORDS_OF_A_RECORDING))
    pitch, speed = rng.integers(40, 61), rng.integers(145, 176)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "voice.wav"
        voice = ["-v", f"en-us+{variant}", "-p", str(pitch), "-s", str(speed)]
        subprocess.run(["espeak-ng", *voice, "-w", str(path), text], check=True)
        recording = read_wav(path)
    return mono(recording.samples), recording.rate


class Speaker(NamedTuple):
    """A voice of formants."""

    pitch: float  # Hz
    formants: np.ndarray  # (3,) factors: the length of the vocal tract, and the speaker's own
    slope: float  # by which power of the frequency the spectrum falls
    breath: float  # how much noise


def random_speaker(rng: np.random.Generator) -> Speaker:
    """Any speaker: a higher pitch goes with a shorter vocal tract."""
    size = rng.uniform(0, 1)
    factors = (0.85 + 0.3 * size + rng.normal(0, 0.04)) * rng.uniform(0.94, 1.06, 3)
    pitch = 90 * 2.2**size * rng.uniform(0.9, 1.1)
    return Speaker(pitch, factors, rng.uniform(0.6, 1.6), rng.uniform(0.02, 0.2))


def formant_speech(speaker: Speaker, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Syllables and pauses of a speaker, (time,) float32 with RATE samples per second."""
    steps = int(seconds * STEPS)
    formants, loudness = np.empty((steps, 3)), np.zeros(steps)
    begin = 0
    while begin < steps:
        end = begin + int(rng.integers(9, 22))
        formants[begin:end] = VOWELS[rng.integers(len(VOWELS))] * rng.uniform(0.95, 1.05)
        loudness[begin + 2 : end] = rng.uniform(0.4, 1) * (rng.random() > 0.12)  # else a pause
        begin = end
    smooth = np.hanning(9)[1:-1] / np.hanning(9).sum()
    formants = np.stack([np.convolve(np.pad(f, 3, "edge"), smooth, "valid") for f in formants.T])
    formants *= speaker.formants[:, None]  # (3, steps)
    loudness = np.convolve(loudness, smooth, "same")
    melody = np.cumsum(rng.normal(0, 0.012, steps))
    melody -= np.convolve(melody, np.full(STEPS, 1 / STEPS), "same")
    pitch = speaker.pitch * np.exp(melody) * rng.uniform(0.95, 1.05)

    at = np.arange(steps) / STEPS
    time = np.arange(int(seconds * RATE)) / RATE
    turn = np.exp(2j * np.pi * np.cumsum(np.interp(time, at, pitch)) / RATE)
    wave, signal = np.ones_like(turn), np.zeros(len(time))
    for harmonic in range(1, int(RATE / 2 / pitch.max())):
        frequency = harmonic * pitch
        distance = (frequency - formants) / BANDWIDTHS[:, None]
        envelope = (GAINS[:, None] / (1 + distance**2)).sum(axis=0) * harmonic**-speaker.slope
        wave *= turn
        signal += np.interp(time, at, envelope * loudness) * wave.imag
    noise = np.diff(rng.normal(size=len(time) + 1))
    signal += speaker.breath * 0.1 * np.interp(time, at, loudness) * noise
    return signal.astype(np.float32)
