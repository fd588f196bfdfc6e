"""Resampling and mel frames of signals that come piece by piece.

Both keep only what outputs to come still read.
"""

from __future__ import annotations

import numpy as np

from numpy_infer.support.checks import check_dtype, check_floating
from numpy_infer.support.mel_frames import MelFrames
from numpy_infer.support.polyphase import HALF, check_rates, polyphase


class Resampler:
    """`resample` piece by piece: the pieces joined are the whole signal's, up to rounding.

    Args:
        rate: samples per second of what comes in.
        new_rate: and of what goes out.
    Raises:
        TypeError: for a rate that is not a whole number.
        ValueError: for a rate below 1, or rates whose ratio has a term above 1,048,576.
    Example:
        >>> resampler = Resampler(2, 1)
        >>> pieces = [resampler.push(np.ones(45)), resampler.push(np.ones(15)), resampler.finish()]
        >>> [len(piece) for piece in pieces]
        [13, 7, 10]
    """

    def __init__(self, rate: int, new_rate: int) -> None:
        self.up, self.down = check_rates(rate, new_rate)
        self._kept = np.zeros(0, np.float32)  # the inputs that outputs to come still read
        self._dtype: np.dtype | None = None
        self._first = 0  # the index of the first one
        self._made = 0  # outputs

    def push(self, x: np.ndarray) -> np.ndarray:
        """The outputs that are known with x, (time,), floating, of the same dtype in every call."""
        check_floating("x", x, ndim=1)
        if self._dtype is None:
            self._dtype, self._kept = x.dtype, self._kept.astype(x.dtype)
        check_dtype("x", x, self._dtype)
        self._kept = np.concatenate([self._kept, x])
        half = 0 if self.up == self.down else HALF * max(self.up, self.down)
        seen = self._first + len(self._kept)
        return self._outputs(max(0, -((half - seen * self.up) // self.down)))

    def finish(self) -> np.ndarray:
        """The last outputs; the signal goes on with zeros. Then another signal may begin."""
        seen = self._first + len(self._kept)
        last = self._outputs(-(-seen * self.up // self.down))
        self._kept, self._dtype = np.zeros(0, np.float32), None
        self._first = self._made = 0
        return last

    def _outputs(self, stop: int) -> np.ndarray:
        """Those up to an index; the inputs that none of the later ones reads are let go."""
        start = self._made
        if self.up == self.down:  # both are 1
            self._made, self._first = stop, stop
            ready, self._kept = self._kept, self._kept[:0]
            return ready
        if stop <= start:
            return self._kept[:0].copy()
        y = polyphase(self._kept, self._first, start, stop, self.up, self.down)
        half = HALF * max(self.up, self.down)
        done = -((half - stop * self.down) // self.up) - self._first
        self._kept = self._kept[max(0, done) :].copy()
        self._first += max(0, done)
        self._made = stop
        return y


class LogMelStream:
    """`log_mel` piece by piece: the frames of all pieces joined are the whole signal's.

    Args:
        rate, n_fft, hop_length, win_length, n_mels, f_min, f_max, mel_scale, norm, center,
        pad_mode, log, floor: as those of `log_mel`.
    Raises:
        ValueError: for options out of range.
    Example:
        >>> stream = LogMelStream(22050, hop_length=1024)
        >>> x = np.sin(np.arange(4096) / 9)
        >>> pieces = [stream.push(x[:3000]), stream.push(x[3000:]), stream.finish()]
        >>> [piece.shape for piece in pieces]
        [(128, 2), (128, 2), (128, 1)]
    """

    def __init__(
        self,
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
    ) -> None:
        self._frames = MelFrames(
            *(rate, n_fft, hop_length, win_length, n_mels, f_min, f_max),
            *(mel_scale, norm, center, pad_mode, log, floor),
        )
        self._dtype: np.dtype | None = None
        self._kept = np.zeros(0, np.float32)  # what frames to come still read, padding included
        self._next = 0  # where in `kept` the next frame begins; a hop may lead beyond its end
        self._begun = False  # whether the padding before the signal is there
        self._length = 0

    def push(self, x: np.ndarray) -> np.ndarray:
        """The frames that are known with x, (time,), floating, of the same dtype in every call.

        Returns (n_mels, frames); there may be none.
        """
        check_floating("x", x, ndim=1)
        if self._dtype is None:
            self._dtype, self._kept = x.dtype, self._kept.astype(x.dtype)
        check_dtype("x", x, self._dtype)
        self._kept = np.concatenate([self._kept, x])
        self._length += len(x)
        side, reflects = self._frames.n_fft // 2, self._frames.pad_mode == "reflect"
        if not self._begun and self._frames.center:
            if reflects and len(self._kept) <= side:
                return self._frames(self._kept[:0])
            self._kept = np.pad(self._kept, (side, 0), self._frames.pad_mode)  # type: ignore[call-overload]
        self._begun = True
        return self._ready()

    def finish(self) -> np.ndarray:
        """The last frames, (n_mels, frames); ValueError for too short a signal.

        Then another signal may begin.
        """
        self._frames.check_length("x", self._length)
        side = self._frames.n_fft // 2
        if self._frames.center:
            self._kept = np.pad(self._kept, (0, side), self._frames.pad_mode)  # type: ignore[call-overload]
        last = self._ready()
        self._kept, self._dtype = np.zeros(0, np.float32), None
        self._next, self._begun, self._length = 0, False, 0
        return last

    def _ready(self) -> np.ndarray:
        """All whole frames of what is kept; what no later frame and no mirror reads is let go."""
        frames = self._frames(self._kept[self._next :])
        self._next += frames.shape[1] * self._frames.hop_length
        done = max(0, min(self._next, len(self._kept) - self._frames.n_fft // 2 - 1))
        self._kept = self._kept[done:].copy()
        self._next -= done
        return frames
