"""Audio: files, resampling, mel frames and windows, held to other programs and to the formulas.

`log_mel.npz` holds what librosa 0.11.0 and torchaudio 2.11.0 give in float64 for `CASES`, options
under their own names: of librosa the logarithm of `feature.melspectrogram(y=x, sr=rate, htk=...,
fmin=..., fmax=..., dtype=float64)`, floored, or `power_to_db(..., top_db=None)` of it; of
torchaudio that of `transforms.MelSpectrogram(rate, ...)`, or `AmplitudeToDB("power")` of it.
"""

import struct
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_infer.audio import (
    LogMelStream,
    Recording,
    Resampler,
    WavInfo,
    log_mel,
    mono,
    read_wav,
    resample,
    wav_info,
    windows,
)
from numpy_infer.support import mel_frames, polyphase, wav_file
from shared_tests.fixtures import normal

GOLDEN = Path(__file__).parents[2] / "data" / "log_mel.npz"
TORCH = {"mel_scale": "htk", "norm": None, "pad_mode": "reflect"}
CASES: dict[str, tuple[str, int, int, dict[str, Any]]] = {
    "the defaults": ("librosa", 22050, 3001, {}),
    "reflected": ("librosa", 22050, 3001, {"pad_mode": "reflect", "n_mels": 11}),
    "reflected, the shortest": ("librosa", 8000, 129, {"n_fft": 256, "pad_mode": "reflect"}),
    "not centered": ("librosa", 16000, 1500, {"n_fft": 512, "center": False, "n_mels": 13}),
    "odd transform": ("librosa", 8000, 700, {"n_fft": 255, "hop_length": 64, "n_mels": 7}),
    "short window": (
        "librosa",
        16000,
        1501,
        {"n_fft": 512, "win_length": 401, "hop_length": 160, "n_mels": 17},
    ),
    "some bands": (
        "librosa",
        44100,
        3000,
        {"n_fft": 1024, "f_min": 300.0, "f_max": 8000.0, "n_mels": 19},
    ),
    "htk": ("librosa", 16000, 2000, {"n_fft": 512, "n_mels": 23, "mel_scale": "htk"}),
    "no norm, decibels": (
        "librosa",
        16000,
        2000,
        {"n_fft": 512, "n_mels": 23, "norm": None, "log": "decibel"},
    ),
    "long hop": ("librosa", 8000, 2000, {"n_fft": 128, "hop_length": 300, "n_mels": 5}),
    "torchaudio": (
        "torchaudio",
        16000,
        1601,
        {"n_fft": 400, "hop_length": 200, "n_mels": 29, **TORCH},
    ),
    "torchaudio, decibels": (
        "torchaudio",
        22050,
        3000,
        {"n_fft": 1024, "hop_length": 512, "n_mels": 31, "f_min": 60.0, "log": "decibel", **TORCH},
    ),
    "torchaudio, slaney": (
        "torchaudio",
        16000,
        1600,
        {
            "n_fft": 512,
            "win_length": 320,
            "hop_length": 160,
            "n_mels": 29,
            "mel_scale": "slaney",
            "norm": "slaney",
            "pad_mode": "constant",
        },
    ),
}


def signal(n: int, rate: int) -> np.ndarray:
    """A rising tone, a steady one, a little of every frequency, and silence in the middle."""
    t = np.arange(n) / rate
    x = np.sin(2 * np.pi * (200 + 3000 * t) * t) + 0.1 * np.sin(2 * np.pi * 1234.5 * t)
    x += 1e-3 * np.cos(np.arange(n) ** 2 * 0.37)
    x[n // 3 : n // 2] = 0
    return x


def same(found: np.ndarray, wanted: np.ndarray, atol: float) -> None:
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=atol)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_frames_are_those_of_librosa_and_torchaudio(name, dtype):
    _, rate, n, options = CASES[name]
    with np.load(GOLDEN) as golden:
        wanted = golden[name]
    found = log_mel(signal(n, rate).astype(dtype), rate, **options)
    assert (found.shape, found.dtype) == (wanted.shape, dtype)
    bound = 1e-11 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(found, wanted, rtol=0, atol=bound * np.abs(wanted).max())


def test_one_frame_by_the_formula():
    """A periodic Hann window, the transform as a sum, triangles between three frequencies."""
    rate, n_fft, bands = 8000, 16, 3
    x = normal(n_fft, seed=1)
    n = np.arange(n_fft)
    windowed = x * (0.5 - 0.5 * np.cos(2 * np.pi * n / n_fft))
    power = [abs((windowed * np.exp(-2j * np.pi * f * n / n_fft)).sum()) ** 2 for f in range(9)]
    top = 2595 * np.log10(1 + 4000 / 700)
    peaks = [700 * (10 ** (top * i / (bands + 1) / 2595) - 1) for i in range(bands + 2)]
    for band, found in enumerate(
        log_mel(x, rate, n_fft=n_fft, n_mels=bands, mel_scale="htk", center=False)[:, 0]
    ):
        left, peak, right = peaks[band : band + 3]
        total = 0.0
        for f in range(9):
            hz = f * rate / n_fft
            up, down = (hz - left) / (peak - left), (right - hz) / (right - peak)
            total += max(0.0, min(up, down)) * 2 / (right - left) * power[f]
        np.testing.assert_allclose(found, np.log(total), rtol=0, atol=1e-12)


def test_slaneys_scale_bends_at_1000_hz():
    """Malcolm Slaney's toolbox: 66.67 Hz a mel below, 27 mels from 1000 to 6400 Hz above."""
    for hz, mel in ((0, 0), (500, 7.5), (1000, 15), (6400, 42)):
        np.testing.assert_allclose(mel_frames.hz_to_mel(hz, "slaney"), mel, atol=1e-12)
        np.testing.assert_allclose(mel_frames.mel_to_hz(np.array(mel), "slaney"), hz, atol=1e-10)


def test_many_frames_and_many_signals_are_each_alone():
    """Both sides of a block of frames, and leading axes."""
    n = mel_frames.BLOCK * 10
    x = normal(2, 3, n, seed=2)
    options = {"n_fft": 32, "hop_length": 10, "n_mels": 4}
    together = log_mel(x, 8000, **options)
    assert together.shape == (2, 3, 4, mel_frames.BLOCK + 1)
    np.testing.assert_array_equal(together[1, 2], log_mel(x[1, 2], 8000, **options))
    late = log_mel(x[0, 0, -120:], 8000, center=False, **options)
    early = log_mel(x[0, 0], 8000, center=False, **options)
    np.testing.assert_allclose(late[:, -1], early[:, -1], rtol=0, atol=1e-12)


def test_nan_stays_in_its_frames_and_silence_is_the_floor():
    x = np.zeros(1000)
    x[500] = np.nan
    found = log_mel(x, 8000, n_fft=64, hop_length=50, n_mels=3)
    assert np.isnan(found[:, 10]).all()
    np.testing.assert_array_equal(found[:, 0], np.log(1e-10))


STREAMS = {
    "constant": {"n_fft": 64, "hop_length": 10},
    "reflect": {"n_fft": 64, "hop_length": 10, "pad_mode": "reflect"},
    "not centered": {"n_fft": 64, "hop_length": 10, "center": False},
    "odd": {"n_fft": 63, "hop_length": 7, "pad_mode": "reflect"},
    "long hop": {"n_fft": 16, "hop_length": 50, "pad_mode": "reflect"},
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("n", [65, 99, 400])
@pytest.mark.parametrize("longest", [1, 5, 90])
def test_a_stream_gives_the_frames_of_the_whole_signal(name, n, longest):
    rng, x = np.random.default_rng(n * longest), normal(n, seed=3)
    stream = LogMelStream(8000, n_mels=5, **STREAMS[name])
    for _ in range(2):  # the second signal knows nothing of the first
        pieces, start = [], 0
        while start < n:
            size = int(rng.integers(0, longest + 1))
            pieces.append(stream.push(x[start : start + size]))
            start += size
        found = np.concatenate([*pieces, stream.finish()], axis=1)
        wanted = log_mel(x, 8000, n_mels=5, **STREAMS[name])
        same(found, wanted, 1e-12)


def test_a_stream_keeps_little():
    stream = LogMelStream(8000, n_mels=5, n_fft=64, hop_length=10, pad_mode="reflect")
    for _ in range(50):
        stream.push(normal(100, seed=4))
        assert len(stream._kept) < 64 + 100


RATES = [(48000, 22050), (44100, 16000), (8000, 44100), (2, 1), (1, 2), (3, 7), (7, 1), (101, 103)]


def resampled(x: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """The sum of the docstring, term by term."""
    ratio = Fraction(new_rate, rate)
    up, down = ratio.numerator, ratio.denominator
    half, cut_off = 10 * max(up, down), 1 / max(up, down)

    def filter_at(t: np.ndarray) -> np.ndarray:
        shape = np.i0(5 * np.sqrt(np.maximum(0, 1 - (t / half) ** 2))) / np.i0(5.0)
        return np.where(abs(t) <= half, np.sinc(cut_off * t) * shape, 0)

    taps = filter_at(np.arange(-half, half + 1))
    taps *= up / taps.sum()
    k = np.arange(len(x))

    def output(m: int) -> float:
        t = half + m * down - k * up
        inside = (t >= 0) & (t <= 2 * half)
        return float((x[inside] * taps[t[inside]]).sum())

    return np.array([output(m) for m in range(-(-len(x) * up // down))])


@pytest.mark.parametrize(("rate", "new_rate"), RATES)
@pytest.mark.parametrize("n", [1, 2, 317])
def test_resampling_is_the_sum(rate, new_rate, n):
    x = normal(n, seed=5)
    wanted = resampled(x, rate, new_rate)
    same(resample(x, rate, new_rate), wanted, 1e-12)
    single = resample(x.astype("float32"), rate, new_rate)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, wanted, rtol=0, atol=1e-5)
    both = resample(np.stack([x, 2 * x]), rate, new_rate)
    np.testing.assert_allclose(both, np.stack([wanted, 2 * wanted]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [2 * polyphase.ROWS - 1, 2 * polyphase.ROWS, 2 * polyphase.ROWS + 1])
def test_resampling_many_rows(n):
    x = normal(n, seed=6)
    np.testing.assert_allclose(resample(x, 2, 1)[-9:], resampled(x, 2, 1)[-9:], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("rate", "new_rate"), [*RATES, (8000, 8000)])
@pytest.mark.parametrize("longest", [3, 400])
def test_resampling_piece_by_piece(rate, new_rate, longest):
    rng, x = np.random.default_rng(longest), normal(700, seed=7)
    resampler = Resampler(rate, new_rate)
    for _ in range(2):
        pieces, start = [], 0
        while start < len(x):
            size = int(rng.integers(0, longest + 1))
            pieces.append(resampler.push(x[start : start + size]))
            start += size
        found = np.concatenate([*pieces, resampler.finish()])
        wanted = resample(x, rate, new_rate)
        same(found, wanted, 1e-12)


def test_a_tone_keeps_its_frequency_and_what_would_be_mirrored_is_gone():
    t = np.arange(4800) / 48000
    low = resample(np.sin(2 * np.pi * 1000 * t), 48000, 16000)[200:-200]
    times = np.arange(1600)[200:-200] / 16000
    np.testing.assert_allclose(low, np.sin(2 * np.pi * 1000 * times), rtol=0, atol=1e-3)
    assert abs(resample(np.sin(2 * np.pi * 12000 * t), 48000, 16000)[200:-200]).max() < 1e-2


def test_no_samples_stay_none():
    assert resample(np.zeros(0), 2, 1).shape == (0,)
    assert resample(np.zeros((0, 5)), 2, 1).shape == (0, 3)
    same = normal(5, seed=8)
    assert resample(same, 3, 3) is not same


def test_mono_is_the_mean():
    x = normal(3, 5, seed=9)
    np.testing.assert_allclose(mono(x), (x[0] + x[1] + x[2]) / 3, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("length", "hop"), [(3, 1), (3, 2), (2, 5), (11, 4), (12, 1)])
def test_windows_are_a_view(length, hop):
    x = normal(2, 11, seed=10)
    found = windows(x, length, hop)
    wanted = [x[:, i : i + length] for i in range(0, 11 - length + 1, hop)]
    assert found.shape == (len(wanted), 2, length)
    for one, part in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, part)
    assert not found.flags.writeable
    assert not wanted or np.shares_memory(found, x)


X = normal(4000, seed=11)
TEXT: Any = "x"
FLOAT_RATE: Any = 8000.0


@pytest.mark.parametrize(
    ("call", "error", "argument"),
    [
        (lambda: log_mel(X.astype(int), 8000), TypeError, "x"),
        (lambda: log_mel(X.astype("float16"), 8000), TypeError, "x"),
        (lambda: log_mel(X[:0], 8000), ValueError, "x"),
        (lambda: log_mel(X[:1024], 8000, pad_mode="reflect"), ValueError, "x"),
        (lambda: log_mel(X[:2047], 8000, center=False), ValueError, "x"),
        (lambda: log_mel(X, FLOAT_RATE), TypeError, "rate"),
        (lambda: log_mel(X, 0), ValueError, "rate"),
        (lambda: log_mel(X, 8000, n_fft=1), ValueError, "n_fft"),
        (lambda: log_mel(X, 8000, hop_length=0), ValueError, "hop_length"),
        (lambda: log_mel(X, 8000, win_length=2049), ValueError, "win_length"),
        (lambda: log_mel(X, 8000, n_mels=0), ValueError, "n_mels"),
        (lambda: log_mel(X, 8000, f_min=-1), ValueError, "f_min"),
        (lambda: log_mel(X, 8000, f_min=4000), ValueError, "f_min"),
        (lambda: log_mel(X, 8000, f_max=0), ValueError, "f_max"),
        (lambda: log_mel(X, 8000, mel_scale="bark"), ValueError, "mel_scale"),
        (lambda: log_mel(X, 8000, norm="l1"), ValueError, "norm"),
        (lambda: log_mel(X, 8000, center=TEXT), TypeError, "center"),
        (lambda: log_mel(X, 8000, pad_mode="wrap"), ValueError, "pad_mode"),
        (lambda: log_mel(X, 8000, log="bel"), ValueError, "log"),
        (lambda: log_mel(X, 8000, floor=0), ValueError, "floor"),
        (lambda: LogMelStream(8000, n_mels=0), ValueError, "n_mels"),
        (lambda: LogMelStream(8000).finish(), ValueError, "x"),
        (lambda: LogMelStream(8000).push(X[None]), ValueError, "x"),
        (lambda: resample(X, 0, 1), ValueError, "rate"),
        (lambda: resample(X, 1, 0), ValueError, "new_rate"),
        (lambda: resample(X, 1, 2**20 + 1), ValueError, "new_rate"),
        (lambda: resample(X[None, None], 1, 2), ValueError, "x"),
        (lambda: resample(X.astype(int), 1, 2), TypeError, "x"),
        (lambda: Resampler(1, FLOAT_RATE), TypeError, "new_rate"),
        (lambda: mono(X), ValueError, "x"),
        (lambda: mono(np.zeros((0, 3))), ValueError, "x"),
        (lambda: windows([1], 1, 1), TypeError, "x"),  # type: ignore[arg-type]
        (lambda: windows(np.array(1), 1, 1), ValueError, "x"),
        (lambda: windows(X, 0, 1), ValueError, "length"),
        (lambda: windows(X, 1, 0), ValueError, "hop"),
        (lambda: read_wav("x.wav", start=-1), ValueError, "start"),
        (lambda: read_wav("x.wav", stop=-1), ValueError, "stop"),
        (lambda: read_wav("x.wav", dtype="int16"), ValueError, "dtype"),
    ],
)
def test_bad_input(call, error, argument):
    with pytest.raises(error, match=f"^{argument}: expected .*, got "):
        call()


@pytest.mark.parametrize("kind", [LogMelStream(8000).push, Resampler(2, 1).push])
def test_the_pieces_of_a_signal_have_one_dtype(kind):
    kind(X)
    with pytest.raises(TypeError, match=r"^x: expected float64, got float32"):
        kind(X.astype("float32"))


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def wav(
    content: bytes, kind: int, channels: int, bits: int, *, rate: int = 8000, wide: bool = False
) -> bytes:
    """A file as its specification says it, WAVE_FORMAT_EXTENSIBLE when wide."""
    block = channels * bits // 8
    fields = (channels, rate, rate * block, block, bits)
    fmt = struct.pack("<HHIIHH", wav_file.EXTENSIBLE if wide else kind, *fields)
    if wide:
        guid = struct.pack("<H", kind) + b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
        fmt += struct.pack("<HHI", 22, bits, 3) + guid
    chunks = chunk(b"fmt ", fmt) + chunk(b"LIST", b"odd") + chunk(b"data", content)
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks + chunk(b"more", b"...")


# What is written for one sample, and what it is read as.
FORMATS = {
    "8 bits": (1, 8, [(b"\0", -1.0), (b"\x80", 0.0), (b"\xff", 127 / 128)]),
    "16 bits": (1, 16, [(b"\0\x80", -1.0), (b"\1\0", 2**-15), (b"\xff\x7f", 1 - 2**-15)]),
    "24 bits": (
        1,
        24,
        [(b"\0\0\x80", -1.0), (b"\1\2\3", 0x030201 / 2**23), (b"\xff" * 3, -(2**-23))],
    ),
    "32 bits": (
        1,
        32,
        [(b"\0\0\0\x80", -1.0), (b"\1\2\3\4", 0x04030201 / 2**31), (b"\0" * 4, 0.0)],
    ),
    "float32": (3, 32, [(struct.pack("<f", one), one) for one in (-1.5, 0.25, 2.0**-20)]),
    "float64": (3, 64, [(struct.pack("<d", one), one) for one in (-1.5, 0.1, 2.0**-40)]),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_kind_of_sample(name, wide, dtype, tmp_path):
    """Three channels of five frames; each sample in each channel."""
    kind, bits, samples = FORMATS[name]
    numbers = np.array(
        [[(i + 2 * c) % 3 for c in range(3)] for i in range(5)]
    )  # (frames, channels)
    content = b"".join(samples[number][0] for number in numbers.ravel())
    path = tmp_path / "x.wav"
    path.write_bytes(wav(content, kind, 3, bits, wide=wide))
    values = np.array([value for _, value in samples])[numbers].T.astype(dtype)
    assert wav_info(path) == WavInfo(8000, 3, 5)
    for start, stop in ((0, None), (1, 4), (3, 99), (5, 9), (7, 9), (3, 2)):
        found = read_wav(path, start=start, stop=stop, dtype=dtype)
        assert isinstance(found, Recording)
        assert found.rate == 8000
        same(found.samples, values[:, start:stop], 0)


@pytest.mark.parametrize("length", [wav_file.FRAMES - 1, wav_file.FRAMES, wav_file.FRAMES + 1])
def test_long_files_are_read_in_blocks(length, tmp_path):
    """A file that the standard library writes."""
    x = np.random.default_rng(12).integers(-(2**15), 2**15, (length, 2)).astype("<i2")
    with wave.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setparams((2, 2, 44100, 0, "NONE", ""))
        file.writeframes(x.tobytes())
    found = read_wav(tmp_path / "x.wav")
    same(found.samples, x.T.astype("float32") / np.float32(2**15), 0)


WHOLE = wav(bytes(range(24)), 1, 2, 16)


def changed(offset: int, form: str, value: int) -> bytes:
    data = bytearray(WHOLE)
    struct.pack_into(form, data, offset, value)
    return bytes(data)


DATA = WHOLE.index(b"data")
BAD = {
    "nothing": (b"", "begins with RIFF and WAVE"),
    "another kind": (b"RIFX" + WHOLE[4:], "begins with RIFF and WAVE"),
    "no samples": (WHOLE[:DATA], "a chunk of samples"),
    "samples first": (WHOLE[:12] + WHOLE[DATA:], "the chunk b'fmt ' before"),
    "more samples than there are": (changed(DATA + 4, "<I", 2**32 - 1), "4294967295 bytes"),
    "half a frame": (changed(DATA + 4, "<I", 22), "frames of 4 bytes"),
    "a long chunk": (changed(WHOLE.index(b"LIST") + 4, "<I", 2**31), "2147483648 bytes"),
    "a short fmt": (WHOLE[:12] + chunk(b"fmt ", bytes(14)) + WHOLE[DATA:], "16 bytes or more"),
    "compressed": (changed(20, "<H", 2), "the format 1"),
    "extensible, but short": (changed(20, "<H", 0xFFFE), "a subformat"),
    "12 bits": (changed(34, "<H", 12), "samples of 8, 16, 24, 32 bits"),
    "no channels": (changed(22, "<H", 0), "channels and a rate"),
    "no rate": (changed(24, "<I", 0), "channels and a rate"),
    "wrong frames": (changed(32, "<H", 3), "frames of 4 bytes"),
    "empty chunks": (WHOLE[:12] + chunk(b"none", b"") * 1001 + WHOLE[12:], "at most 1000 chunks"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused(name, tmp_path):
    path = tmp_path / "x.wav"
    data, wanted = BAD[name]
    path.write_bytes(data)
    for read in (read_wav, wav_info):
        with pytest.raises(ValueError, match=f"^{path}: expected .*{wanted}.*, got "):
            read(path)


def test_a_file_cut_off_anywhere_is_refused(tmp_path):
    path = tmp_path / "x.wav"
    end = DATA + 8 + 24
    path.write_bytes(WHOLE[:end])
    read_wav(path)
    for length in range(end):
        path.write_bytes(WHOLE[:length])
        with pytest.raises(ValueError, match=f"^{path}: expected "):
            read_wav(path)


def test_a_file_that_is_missing_says_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_wav(tmp_path / "none.wav")
