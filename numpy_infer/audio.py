"""From WAV files to log-mel frames, for every framework.

    recording = read_wav("film.wav")                              # (channels, time), and its rate
    x = resample(mono(recording.samples), recording.rate, 22050)  # (time,)
    frames = log_mel(x, 22050, hop_length=1024)                   # (128, frames), 21.5 a second
    batch = windows(frames, 44, 22)                               # (windows, 128, 44), 2 s each

`Resampler` and `LogMelStream` do the same piece by piece, for signals larger than memory.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from numpy_infer.support.audio_streams import LogMelStream, Resampler
from numpy_infer.support.checks import check_choice, check_count, check_floating
from numpy_infer.support.mel_frames import MelFrames
from numpy_infer.support.polyphase import check_rates, polyphase
from numpy_infer.support.wav_file import read_header, read_samples

__all__ = [
    "LogMelStream",
    "Recording",
    "Resampler",
    "WavInfo",
    "log_mel",
    "mono",
    "read_wav",
    "resample",
    "wav_info",
    "windows",
]

DTYPES = ("float32", "float64")


class WavInfo(NamedTuple):
    """What a WAV file says of its samples."""

    rate: int  # frames per second
    channels: int
    length: int  # frames


class Recording(NamedTuple):
    """Samples, and how many of them a second has."""

    samples: np.ndarray  # (channels, time)
    rate: int


def wav_info(path: str | os.PathLike[str]) -> WavInfo:
    """The rate, the channels and the length of a WAV file, without reading its samples.

    Args:
        path: the file.
    Returns:
        WavInfo.
    Raises:
        ValueError: as `read_wav`. OSError: when the file cannot be read.
    Example:
        >>> import tempfile, wave
        >>> path = tempfile.mkstemp(".wav")[1]
        >>> with wave.open(path, "wb") as file:
        ...     file.setparams((2, 2, 8000, 0, "NONE", ""))
        ...     file.writeframes(bytes(12))
        >>> wav_info(path)
        WavInfo(rate=8000, channels=2, length=3)
    """
    with open(path, "rb") as file:
        try:
            header = read_header(file)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from None
    return WavInfo(header.rate, header.channels, header.length)


def read_wav(
    path: str | os.PathLike[str], *, start: int = 0, stop: int | None = None, dtype: str = "float32"
) -> Recording:
    """The samples of a WAV file as floating numbers.

        y = x / 2^(bits − 1) for PCM samples of 16, 24 and 32 bits, x / 128 − 1 for those of 8 bits

    Floating samples stay as they are. Memory is taken for the frames that are asked for, once the
    file is known to hold them.

    Args:
        path: a file of PCM samples of 8, 16, 24 or 32 bits, or of floating ones of 32 or 64.
        start, stop: which frames, as in a slice: those beyond the end are left out; all when None.
        dtype: "float32", which holds up to 24 bits exactly, or "float64".
    Returns:
        Recording: samples (channels, frames), and the rate.
    Raises:
        ValueError: for a file that is cut off, of another kind or not consistent.
        OSError: when the file cannot be read.
    Example:
        >>> import tempfile, wave
        >>> path = tempfile.mkstemp(".wav")[1]
        >>> with wave.open(path, "wb") as file:
        ...     file.setparams((1, 2, 8000, 0, "NONE", ""))
        ...     file.writeframes(np.array([0, 16384, -32768], "<i2").tobytes())
        >>> read_wav(path).samples.tolist()
        [[0.0, 0.5, -1.0]]
    """
    start = check_count("start", start, least=0)
    stop = stop if stop is None else check_count("stop", stop, least=0)
    check_choice("dtype", str(dtype), DTYPES)
    with open(path, "rb") as file:
        try:
            header = read_header(file)
            stop = header.length if stop is None else min(stop, header.length)
            samples = read_samples(file, header, min(start, stop), stop, str(dtype))
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from None
    return Recording(samples, header.rate)


def mono(x: np.ndarray) -> np.ndarray:
    """The mean of the channels.

    Args:
        x: (channels, time), float32 or float64.
    Returns:
        (time,).
    Raises:
        TypeError: for other numbers. ValueError: for other than two axes, or no channel.
    Example:
        >>> mono(np.array([[1.0, 0.0], [0.0, 0.5]])).tolist()
        [0.5, 0.25]
    """
    check_floating("x", x, ndim=2)
    if len(x) == 0:
        raise ValueError(f"x: expected at least one channel, got shape {x.shape}")
    mean: np.ndarray = x.mean(axis=0)
    return mean


def resample(x: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """The signal at another rate, low-passed so that no frequency is mirrored.

        y_m = Σ_k x_k h(m·down − k·up),  up/down = new_rate/rate in lowest terms

    h is a sinc with 10 zero crossings on each side under a Kaiser window, β = 5, the default of
    `scipy.signal.resample_poly`. Before and after the signal are zeros. A NaN or an infinity
    spreads to the outputs near it.

    Args:
        x: (time,) or (channels, time), float32 or float64.
        rate: samples per second of x.
        new_rate: samples per second of the result.
    Returns:
        (⌈time · new_rate / rate⌉,), with the channels of x, in its dtype.
    Raises:
        TypeError: for other numbers. ValueError: as `Resampler`, and for more than two axes.
    Source: R. E. Crochiere, L. R. Rabiner, Multirate Digital Signal Processing, 1983.
    Example:
        >>> resample(np.sin(np.arange(480) / 9), 48000, 22050).shape
        (221,)
    """
    check_floating("x", x)
    if x.ndim > 2:
        raise ValueError(f"x: expected 1 or 2 axes, got shape {x.shape}")
    up, down = check_rates(rate, new_rate)
    if up == down or x.shape[-1] == 0:
        return x.copy()
    y = np.empty((*x.shape[:-1], -(-x.shape[-1] * up // down)), x.dtype)
    for signal, result in zip(np.atleast_2d(x), np.atleast_2d(y), strict=True):
        result[:] = polyphase(signal, 0, 0, len(result), up, down)
    return y


def windows(x: np.ndarray, length: int, hop: int) -> np.ndarray:
    """Windows of a signal or of its frames, as a view: nothing is copied.

        y_i = x[..., i·hop : i·hop + length]

    What is left at the end, shorter than a window, has none.

    Args:
        x: (..., time), of any dtype.
        length: of a window.
        hop: from the begin of one window to that of the next.
    Returns:
        (windows, ..., length), read-only.
    Raises:
        TypeError: for what is no array. ValueError: for an x without axes, a length or hop below 1.
    Example:
        >>> windows(np.arange(7), 3, 2).tolist()
        [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    """
    if not isinstance(x, np.ndarray):
        raise TypeError(f"x: expected a numpy.ndarray, got {type(x).__name__}")
    if x.ndim == 0:
        raise ValueError(f"x: expected at least one axis, got shape {x.shape}")
    length, hop = check_count("length", length), check_count("hop", hop)
    if x.shape[-1] < length:
        empty = np.zeros((0, *x.shape[:-1], length), x.dtype)
        empty.flags.writeable = False
        return empty
    views = np.lib.stride_tricks.sliding_window_view(x, length, axis=-1)[..., ::hop, :]
    return np.moveaxis(views, -2, 0)


def log_mel(
    x: np.ndarray,
    rate: int,
    *,
    n_fft: int = 2048,
    hop_length: int = 512,
    win_length: int | None = None,
    n_mels: int = 128,
    f_min: float = 0.0,
    f_max: float | None = None,
    mel_scale: str = "slaney",
    norm: str | None = "slaney",
    center: bool = True,
    pad_mode: str = "constant",
    log: str = "natural",
    floor: float = 1e-10,
) -> np.ndarray:
    """The logarithm of the power in mel bands, frame by frame.

        y_bt = log max(floor, Σ_f triangle_b(f) |STFT_tf(x)|²), with a periodic Hann window

    The defaults are those of `librosa.feature.melspectrogram`. torchaudio's `MelSpectrogram` is
    mel_scale="htk", norm=None, pad_mode="reflect", n_fft=400, hop_length=200. A band that is
    narrower than rate / n_fft may hold no frequency: its entries are log floor.

    Args:
        x: (..., time), float32 or float64.
        rate: samples per second.
        n_fft: samples of a transform.
        hop_length: samples from one frame to the next.
        win_length: samples of the window, which stands in the middle of a frame; n_fft when None.
        n_mels: bands.
        f_min, f_max: where the first band begins and the last one ends, in Hz; rate / 2 when None.
        mel_scale: "slaney", linear below 1000 Hz, or "htk", 2595 log10(1 + f/700).
        norm: "slaney" divides each band by half its width in Hz; None leaves its peak at 1.
        center: whether frame t has sample t·hop_length in its middle; else at its begin.
        pad_mode: with center, what lies beyond the ends: "constant", zeros, or "reflect".
        log: "natural", or "decibel", 10 log10.
        floor: the smallest power, above 0.
    Returns:
        (..., n_mels, frames), in the dtype of x; 1 + time // hop_length frames with center and an
        even n_fft.
    Raises:
        TypeError: for other numbers.
        ValueError: for options out of range, and a signal too short to have a frame.
    Source: M. Slaney, Auditory Toolbox, 1998; S. Young et al., The HTK Book, 2006.
    Example:
        >>> log_mel(np.sin(np.arange(4096) / 9), 22050, hop_length=1024).shape
        (128, 5)
    """
    check_floating("x", x)
    mel_frames = MelFrames(
        *(rate, n_fft, hop_length, win_length, n_mels, f_min, f_max),
        *(mel_scale, norm, center, pad_mode, log, floor),
    )
    mel_frames.check_length("x", x.shape[-1])
    rows = x.reshape(-1, x.shape[-1])
    if mel_frames.center:
        sides = mel_frames.n_fft // 2
        rows = np.pad(rows, [(0, 0), (sides, sides)], mel_frames.pad_mode)  # type: ignore[call-overload]
    bands, count = mel_frames.bands.shape[1], mel_frames.count(rows.shape[1])
    result = np.empty((len(rows), bands, count), x.dtype)
    for row, one in zip(rows, result, strict=True):
        one[:] = mel_frames(row)
    return result.reshape(*x.shape[:-1], bands, count)
