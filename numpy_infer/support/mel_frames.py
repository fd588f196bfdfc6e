"""Frames of a signal, their power spectra, and the mel bands of those.

    S_tf = |Σ_n w_n x_{t·hop + n} e^{−2πi·fn/n_fft}|²,  M_tb = Σ_f S_tf triangle_b(f)

The spectra are computed in float64: float32 would lose the quiet bands beside loud ones.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from numpy_infer.support.checks import check_choice, check_count, check_flag, check_number

SCALES = ("slaney", "htk")
PAD_MODES = ("constant", "reflect")
LOGS = ("natural", "decibel")
BLOCK = 256  # frames transformed at once
# Slaney's scale: linear below 1000 Hz, 200/3 Hz a mel, and logarithmic above, 27 mels to 6400 Hz.
LINEAR, KNEE, STEP = 200 / 3, 1000.0, np.log(6.4) / 27


class MelFrames:
    """The checked options of `log_mel`, and what it does to a signal that is padded already."""

    def __init__(
        self,
        rate: int,
        n_fft: int,
        hop_length: int,
        win_length: int | None,
        n_mels: int,
        f_min: float,
        f_max: float | None,
        mel_scale: str,
        norm: str | None,
        center: bool,
        pad_mode: str,
        log: str,
        floor: float,
    ) -> None:
        rate = check_count("rate", rate)
        self.n_fft = check_count("n_fft", n_fft, least=2)
        self.hop_length = check_count("hop_length", hop_length)
        length = n_fft if win_length is None else win_length
        length = check_count("win_length", length, most=self.n_fft)
        n_mels = check_count("n_mels", n_mels)
        f_max = check_number("f_max", rate / 2 if f_max is None else f_max, above=0)
        f_min = check_number("f_min", f_min, least=0)
        if f_min >= f_max:
            raise ValueError(f"f_min: expected a frequency below f_max, {f_max}, got {f_min}")
        check_choice("mel_scale", mel_scale, SCALES)
        if norm is not None:
            check_choice("norm", norm, ("slaney",))
        self.center = check_flag("center", center)
        check_choice("pad_mode", pad_mode, PAD_MODES)
        check_choice("log", log, LOGS)
        self.floor = check_number("floor", floor, above=0)
        self.pad_mode, self.log = pad_mode, log
        self.bands = mel_bands(rate, self.n_fft, n_mels, f_min, f_max, mel_scale, norm)
        before = (self.n_fft - length) // 2
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
        self.window = np.pad(hann, (before, self.n_fft - length - before))

    def count(self, length: int) -> int:
        """The frames of a padded signal."""
        return max(0, 1 + (length - self.n_fft) // self.hop_length)

    def __call__(self, padded: np.ndarray) -> np.ndarray:
        """The logarithm of the mel bands of all frames: (time,) → (n_mels, frames)."""
        result = np.empty((self.bands.shape[1], self.count(len(padded))), padded.dtype)
        if not result.size:
            return result
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.n_fft)[:: self.hop_length]
        for first in range(0, len(frames), BLOCK):
            spectrum = np.fft.rfft(frames[first : first + BLOCK] * self.window)
            power = spectrum.real**2 + spectrum.imag**2  # (frames, n_fft // 2 + 1)
            mel = np.log(np.maximum(power @ self.bands, self.floor))
            scale = 1.0 if self.log == "natural" else 10 / np.log(10)
            result[:, first : first + BLOCK] = (mel * scale).T
        return result

    def check_length(self, name: str, length: int) -> None:
        """ValueError for a signal that is too short to have a frame, or to be reflected."""
        least = 1
        if not self.center:
            least = self.n_fft
        elif self.pad_mode == "reflect":
            least = self.n_fft // 2 + 1
        if length < least:
            raise ValueError(f"{name}: expected at least {least} samples, got {length}")


def hz_to_mel(hz: float, scale: str) -> float:
    """A frequency on Slaney's or on HTK's mel scale."""
    if scale == "htk":
        return float(2595 * np.log10(1 + hz / 700))
    return float(hz / LINEAR if hz < KNEE else KNEE / LINEAR + np.log(hz / KNEE) / STEP)


def mel_to_hz(mel: np.ndarray, scale: str) -> np.ndarray:
    """The inverse."""
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    knee = KNEE / LINEAR
    return np.where(mel < knee, LINEAR * mel, KNEE * np.exp(STEP * (np.maximum(mel, knee) - knee)))


@lru_cache(maxsize=8)
def mel_bands(
    rate: int,
    n_fft: int,
    n_mels: int,
    f_min: float,
    f_max: float,
    scale: str,
    norm: str | None,
) -> np.ndarray:
    """Triangles over the frequencies of a transform, (n_fft // 2 + 1, n_mels).

    Each rises from the peak of the one before it and falls to the peak of the next; the peaks are
    equally far apart on the mel scale. With a norm each is divided by half its width in Hz.
    """
    frequencies = np.arange(n_fft // 2 + 1) * (rate / n_fft)
    ends = hz_to_mel(f_min, scale), hz_to_mel(f_max, scale)
    peaks = mel_to_hz(np.linspace(*ends, n_mels + 2), scale)
    left, peak, right = peaks[:-2], peaks[1:-1], peaks[2:]
    rising = (frequencies[:, None] - left) / (peak - left)
    falling = (right - frequencies[:, None]) / (right - peak)
    bands: np.ndarray = np.maximum(0, np.minimum(rising, falling))
    if norm == "slaney":
        bands *= 2 / (right - left)
    bands.flags.writeable = False  # it is shared by all who ask for it
    return bands
