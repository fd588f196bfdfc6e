"""NumPy's convolutions and pools give what SciPy's give, of one and of two spatial axes."""

import itertools

import numpy as np
import pytest
from scipy import ndimage, signal

from numpy_infer.layers.convolution import convolution, transposed_convolution
from numpy_infer.layers.pooling import max_pool, max_unpool
from shared_tests.fixtures import normal

AXES = {"sequence": (11,), "plane": (11, 13)}
STEPS = list(itertools.product((1, 2), (0, 1), (1, 3)))  # stride, padding, dilation


def spread(x, step):
    """Zeros between the entries of the spatial axes, step − 1 of them."""
    y = np.zeros((*x.shape[:2], *((n - 1) * step + 1 for n in x.shape[2:])))
    y[(..., *[slice(None, None, step)] * (x.ndim - 2))] = x
    return y


def options(rank, stride, padding, dilation):
    return {
        "stride": [stride] * rank,
        "padding": [[padding, padding]] * rank,
        "dilation": [dilation] * rank,
    }


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize(("stride", "padding", "dilation"), STEPS)
def test_convolution(name, stride, padding, dilation):
    rank = len(AXES[name])
    x, weight = normal(2, 3, *AXES[name], seed=1), normal(5, 3, *(3, 2)[:rank], seed=2)
    bias = normal(5, seed=3)
    given = np.pad(x, ((0, 0), (0, 0), *[(padding, padding)] * rank))
    every = (slice(None, None, stride),) * rank
    wanted = [
        [
            sum(
                signal.correlate(plane, one, "valid")
                for plane, one in zip(item, kernel, strict=True)
            )
            for kernel in spread(weight, dilation)
        ]
        for item in given
    ]
    wanted = np.array(wanted)[(..., *every)] + bias.reshape(-1, *[1] * rank)
    got = convolution(x, weight, bias, **options(rank, stride, padding, dilation))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize(("stride", "padding", "dilation"), STEPS)
def test_transposed_convolution(name, stride, padding, dilation):
    rank = len(AXES[name])
    x, weight = normal(2, 3, *AXES[name], seed=1), normal(3, 5, *(3, 2)[:rank], seed=2)
    bias = normal(5, seed=3)
    kernels = spread(weight, dilation)
    wanted = [
        [
            sum(signal.convolve(plane, kernels[i, o], "full") for i, plane in enumerate(item))
            for o in range(5)
        ]
        for item in spread(x, stride)
    ]
    kept = [slice(padding, n - padding) for n in np.array(wanted).shape[2:]]
    wanted = np.array(wanted)[(..., *kept)] + bias.reshape(-1, *[1] * rank)
    got = transposed_convolution(x, weight, bias, **options(rank, stride, padding, dilation))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize("size", [2, 3])
def test_max_pool_and_unpool(name, size):
    x = normal(2, 3, *AXES[name], seed=1)
    rank = len(AXES[name])
    window = (1, 1, *[size] * rank)
    # SciPy's windows are centred: shifted by their half, they begin at each place.
    moved = [-(n // 2) for n in window]
    slid = ndimage.maximum_filter(x, window, origin=moved, mode="constant", cval=-np.inf)
    first = tuple(slice(0, n // size * size, size) for n in AXES[name])
    got = max_pool(x, [size] * rank, [size] * rank, [[0, 0]] * rank)
    np.testing.assert_array_equal(got.values, slid[(..., *first)])
    # What is the largest of its own window comes back, and all else is zero.
    whole = np.kron(got.values, np.ones(window))
    whole = np.pad(whole, [(0, n - m) for n, m in zip(x.shape, whole.shape, strict=True)])
    wanted = np.where(whole == x, x, 0)
    np.testing.assert_array_equal(max_unpool(got.values, got.positions, x.shape), wanted)
