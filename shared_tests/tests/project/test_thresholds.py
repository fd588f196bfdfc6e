"""Every number that a file names chooses no method, or has a test on both sides of it."""

import ast

import pytest

from shared_tests.definition import definitions
from shared_tests.sources import PACKAGES, ROOT, trees

# FILE.NAME: the test, or COMPONENT: CASE, that is on both sides of it.
THRESHOLDS = {
    "convolution.BLOCK": "test_numpy_windows.py::test_convolution",
    "near_neighbors.MANY": "test_torch_near_neighbors.py::test_classes_around_the_size_of_a_group",
    "near_neighbors.NEAR": "soft_nearest_neighbor_loss: just beyond the quick way",
    "near_neighbors.ROWS": "test_torch_near_neighbors.py::test_more_rows_than_a_block",
    "neighbor_memory.ROWS": "test_numpy_thresholds.py::test_many_queries_of_a_memory",
    "neighbor_memory.TILE": "test_numpy_thresholds.py::test_a_memory_of_many_vectors",
    "normal_share.BLOCK": "test_numpy_thresholds.py::test_shares_of_many_numbers",
    "pooling.LARGE": "test_numpy_thresholds.py::test_windows_of_many_places",
    "small_world_graph.BATCH": "test_numpy_thresholds.py::test_an_index_of_many_points",
    "small_world_index.ROWS": "test_numpy_thresholds.py::test_many_queries_of_an_index",
    "sparse_projection.BLOCK": "test_numpy.py::test_sparse_projection_sums_what_is_stored_twice",
    "sparse_projection.LONG": "test_numpy_thresholds.py::test_rows_of_many_numbers",
    # LONG of PyTorch too
    "sparse_projection.SHORT": "test_torch.py::test_sparse_projection_sorts_stably",
    "time_warping.PAIRS": "test_numpy_thresholds.py::test_time_warping_of_many_pairs",
}
# Sizes and factors of a formula, versions, limits of what is accepted.
NO_CHOICE = {
    "activations.SELU_ALPHA",
    "activations.SELU_SCALE",
    "checks.LARGEST",
    "from_native.ONE",
    "from_native.SOFTPLUS_THRESHOLD",
    "growth.ROOM",
    "index_file.VERSION",
    "layouts.GROWN",
    "layouts.SAME",
    "model_file.VERSION",
    "neighbor_memory.CROWDED",
    "neighbor_memory.LEAST",
    "neighbor_memory.ROUNDINGS",
    "neighbor_memory.UNIT",
    "neighbor_memory.VOTES",
    "neural_grammar.TIED",
    "normal_share.LARGEST",
    "rare_event_memory.EMPTY",
    "rare_event_memory.LARGEST_LABEL",
    "recursive_autoencoder.TIED",
    "safetensors_file.LARGEST_AXIS",
    "safetensors_file.LARGEST_HEADER",
    "safetensors_file.MOST_AXES",
    "small_world_graph.HUBS",
    "small_world_index.NARROW",
    "soft_nearest_neighbor_loss.LARGEST_LOG",
    "speaker_encoder.KERNEL_SIZE",
    "speaker_encoder.POOL_SIZE",
}
PARTS = (ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.Tuple, ast.Load)


def numbers() -> set[str]:
    """FILE.NAME of each constant of a module that is a number, or several; no long tables."""
    return {
        f"{file}.{one.id}"
        for package in PACKAGES
        for file, tree in trees(package).items()
        for node in tree.body
        if isinstance(node, ast.Assign) and is_number(node.value)
        for target in node.targets
        for one in ast.walk(target)
        if isinstance(one, ast.Name)
    }


def is_number(value: ast.expr) -> bool:
    constants = [one.value for one in ast.walk(value) if isinstance(one, ast.Constant)]
    plain = all(isinstance(one, PARTS) for one in ast.walk(value))
    return plain and len(constants) <= 4 and all(type(one) in (int, float) for one in constants)


def test_every_number_is_known():
    assert numbers() == set(THRESHOLDS) | NO_CHOICE


@pytest.mark.parametrize("where", THRESHOLDS.values())
def test_what_stands_on_both_sides_exists(where):
    file, found, name = where.partition("::")
    if found:
        tree = ast.parse((ROOT / "shared_tests" / file).read_text())
        assert name in {getattr(node, "name", None) for node in tree.body}
    else:
        component, _, case = where.partition(": ")
        (definition,) = [one for one in definitions() if one.component == component]
        assert case in {one.name for each in definition.operations for one in each.cases}
