"""Both sides of every size at which NumPy's functions go another way, at their true sizes."""

import math

import numpy as np
import pytest

from numpy_infer import Input
from numpy_infer.fast import sparse_projection as fast_projection
from numpy_infer.layers import pooling
from numpy_infer.layers.pooling import MaxPool
from numpy_infer.neighbor_memory import NeighborMemory
from numpy_infer.search import (
    small_world_graph,
    small_world_snapshot,
    tiled_neighbors,
    time_warping,
)
from numpy_infer.search.time_warping import time_warping_distances
from numpy_infer.small_world_index import SmallWorldIndex
from numpy_infer.sparse_projection import SparseMatrix, SparseProjection
from numpy_infer.support import normal_cdf
from shared_tests.fixtures import normal


def around(size: int) -> list[int]:
    return [size - 1, size, size + 1]


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("n", around(time_warping.PAIRS))
def test_time_warping_of_many_pairs(n):
    x, y = normal(n, 3, seed=1), normal(n, 3, seed=2)
    found = time_warping_distances(x, y, band=1)
    few = [time_warping_distances(x[i : i + 999], y[i : i + 999], band=1) for i in range(0, n, 999)]
    np.testing.assert_array_equal(found, np.concatenate(few))


@pytest.mark.parametrize("n", [*around(tiled_neighbors.TILE), *around(4 * tiled_neighbors.TILE)])
@pytest.mark.parametrize("k", [1, 3])
def test_a_memory_of_many_vectors(n, k):
    """The last ones are the nearest of some queries: what lies behind a tile counts."""
    vectors = normal(n, 5, seed=3)
    queries = np.concatenate([vectors[-3:], normal(7, 5, seed=4)])
    memory = NeighborMemory(5, dtype="float64")
    memory.add(vectors)
    found = memory.search(queries, k)
    cosines = unit(queries) @ unit(vectors).T
    wanted = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(found.indices, wanted)
    np.testing.assert_array_equal(found.indices[:3, 0], [n - 3, n - 2, n - 1])


@pytest.mark.parametrize("n", around(tiled_neighbors.ROWS))
def test_many_queries_of_a_memory(n):
    vectors, queries = normal(11, 5, seed=5), normal(n, 5, seed=6)
    memory = NeighborMemory(5, dtype="float64")
    memory.add(vectors)
    found = memory.search(queries, 3)
    wanted = np.argsort(-unit(queries) @ unit(vectors).T, axis=1, kind="stable")[:, :3]
    np.testing.assert_array_equal(found.indices, wanted)


@pytest.mark.parametrize("n", [1, *around(normal_cdf.BLOCK), 2 * normal_cdf.BLOCK + 1])
def test_shares_of_many_numbers(n):
    x = normal(n, seed=7)
    wanted = [math.erfc(-one / math.sqrt(2)) / 2 for one in x]
    np.testing.assert_allclose(normal_cdf.normal_cdf(x), wanted, rtol=0, atol=1e-15)


@pytest.mark.parametrize("size", around(pooling.LARGE))
def test_windows_of_many_places(size):
    x = normal(2, 3, 41, seed=8)
    found = MaxPool(Input(), size=[size], stride=[2], padding=[[0, 0]])(x)
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=2)[:, :, ::2]
    np.testing.assert_array_equal(found[0] if isinstance(found, tuple) else found, windows.max(-1))


@pytest.mark.parametrize("n", around(small_world_graph.BATCH))
def test_an_index_of_many_points(n):
    points = normal(n, 3, seed=9)
    index = SmallWorldIndex.build(points)
    found = index.search(points, 1)
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(n))


@pytest.mark.parametrize("n", around(small_world_snapshot.ROWS))
def test_many_queries_of_an_index(n):
    index, queries = SmallWorldIndex.build(normal(60, 3, seed=10)), normal(n, 3, seed=11)
    together = index.search(queries, 2)
    for place in (0, 1, n - 2, n - 1):
        alone = index.search(queries[place : place + 1], 2)
        np.testing.assert_array_equal(together.indices[place], alone.indices[0])


@pytest.mark.parametrize("filled", around(fast_projection.FEW))
def test_rows_of_many_numbers(filled):
    """On average a row gathers `filled` numbers, of one column of the weight."""
    x = np.zeros((2, 800))
    x[:, :filled] = normal(2, filled, seed=12)
    weight, bias = normal(800, 1, seed=13), normal(1, seed=14)
    starts = np.array([0, filled, 2 * filled])
    places = np.tile(np.arange(filled), 2)
    sparse = SparseMatrix(x[x != 0], places, starts, x.shape, "csr")
    layer = SparseProjection(Input(), weight, bias)
    np.testing.assert_allclose(layer(sparse), x @ weight + bias, rtol=0, atol=1e-12)
