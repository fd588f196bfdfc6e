"""Resampling is SciPy's, and so are the samples of files that SciPy writes."""

import numpy as np
import pytest
from scipy.io import wavfile
from scipy.signal import resample_poly

from numpy_infer.audio import read_wav, resample
from shared_tests.fixtures import normal

RATES = [(48000, 22050), (44100, 16000), (8000, 44100), (16000, 8000), (44101, 48000), (3, 7)]


@pytest.mark.parametrize(("rate", "new_rate"), RATES)
@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-12), ("float32", 1e-5)])
def test_resampling_is_scipys(rate, new_rate, dtype, bound):
    x = normal(2, 4001, seed=1).astype(dtype)
    wanted = resample_poly(x, new_rate, rate, axis=1)
    found = resample(x, rate, new_rate)
    assert (found.shape, found.dtype) == (wanted.shape, dtype)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=bound)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_files_of_scipy(dtype, tmp_path):
    floating = dtype.startswith("float")
    x = normal(37, 2, seed=2)
    if not floating:
        limits = np.iinfo(dtype)
        x = np.random.default_rng(3).integers(limits.min, limits.max, (37, 2), endpoint=True)
    wavfile.write(tmp_path / "x.wav", 8000, x.astype(dtype))
    found = read_wav(tmp_path / "x.wav", dtype="float64")
    half = 1 if floating else (float(np.iinfo(dtype).max) + 1) / (2 if dtype == "uint8" else 1)
    wanted = x.astype(dtype).astype("float64") / half - (dtype == "uint8")
    np.testing.assert_array_equal(found.samples, wanted.T)
    assert found.rate == 8000
