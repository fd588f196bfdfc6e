"""Every number that a file names chooses no method, or has a test on both sides of it."""

import ast

import pytest

from fourfold.project import definitions
from shared_tests.support.sources import PACKAGES, ROOT, trees

# FILE.NAME: the test, or COMPONENT: CASE, that is on both sides of it.
THRESHOLDS = {
    "layers.convolution.BLOCK": "numpy/test_windows.py::test_convolution",
    "fast.soft_nearest_neighbor_loss.MIN_GROUP": "torch/test_near_neighbors.py::test_classes_around_the_size_of_a_group",
    "fast.soft_nearest_neighbor_loss.NEAR": "soft_nearest_neighbor_loss: just beyond the fast way",
    "fast.soft_nearest_neighbor_loss.BLOCK_SIZE": "torch/test_near_neighbors.py::test_more_rows_than_a_block",
    "fast.triplet_loss.BLOCK": "device/test_kernels.py::test_all_triplets_in_blocks",
    "fast.triplet_loss.COMPARED": "device/test_kernels.py::test_all_triplets",
    "fast.triplet_mining.MOST_FEATURES": "device/test_kernels.py::test_features_that_a_block_holds",
    "fast.soft_nearest_neighbor_loss.MOST_FEATURES": "device/test_kernels.py::test_features_that_a_block_holds",
    "fast._line_kernels.ENTRIES": "device/test_kernels.py::test_padded_embedding",
    "fast.triplet_loss.SMALL": "triplet_loss: many rows",
    "fast.triplet_mining.BLOCK": "torch/test_triplet_blocks.py::test_more_rows_than_a_block",
    "fast.triplet_mining.SMALL": "triplet_mining: digits, cosine",
    "fast.top_k_gating.FREE": "torch/test_crowded_experts.py::test_both_sides_of_the_threshold",
    "search.tiled_neighbors.ROWS": "numpy/test_thresholds.py::test_many_queries_of_a_memory",
    "format.weight_proposal.NEIGHBORS": "numpy/test_weight_maps.py::test_many_arrays_of_one_size",
    "search.tiled_neighbors.TILE": "numpy/test_thresholds.py::test_a_memory_of_many_vectors",
    "support.normal_cdf.BLOCK": "numpy/test_thresholds.py::test_shares_of_many_numbers",
    "layers.pooling.LARGE": "numpy/test_thresholds.py::test_windows_of_many_places",
    "search.small_world_graph.BATCH": "numpy/test_thresholds.py::test_an_index_of_many_points",
    "search.small_world_snapshot.ROWS": "numpy/test_thresholds.py::test_many_queries_of_an_index",
    "fast.sparse_projection.BLOCK": "numpy/test_components.py::test_sparse_projection_sums_what_is_stored_twice",
    "fast.sparse_projection.FEW": "numpy/test_thresholds.py::test_rows_of_many_numbers",
    "support.all_triplets.ANCHORS": "triplet_loss: many rows",
    "support.soft_margin.TRIPLETS": "triplet_loss: soft margin, many rows",
    "support.triplet_search.ANCHORS": "triplet_mining: digits, cosine",
    "fast.sparse_projection.LONG": "torch/test_components.py::test_sparse_projection_sorts_stably",
    "fast.sparse_projection.SHORT": "torch/test_components.py::test_sparse_projection_sorts_stably",
    "support.wav_file.FRAMES": "numpy/test_audio.py::test_long_files_are_read_in_blocks",
    "support.polyphase.ROWS": "numpy/test_audio.py::test_resampling_many_rows",
    "support.mel_frames.BLOCK": "numpy/test_audio.py::test_many_frames_and_many_signals_are_each_alone",
    "support.ranked_matches.ENTRIES": "numpy/test_evaluation.py::test_retrieval_is_its_definition",
    "support.ranked_matches.FEW": "numpy/test_evaluation.py::test_both_ways_of_finding_the_nearest",
    "search.neighbor_votes.ENTRIES": "numpy/test_neighbors.py::test_most_votes_win_then_the_cosines_then_the_lower_label",
    "search.time_warping.PAIRS": "numpy/test_thresholds.py::test_time_warping_of_many_pairs",
}
# Sizes and factors of a formula, versions, limits of what is accepted.
NO_CHOICE = {
    "support.devices.SHARED_MEMORY",
    "layers.activations.SELU_ALPHA",
    "layers.activations.SELU_SCALE",
    "support.plain_checks.LARGEST",
    "interchange.convolution_records.ONE",
    "interchange.records.SOFTPLUS_THRESHOLD",
    "format.entries.MOST_COMBINED",
    "format.array_pickle.LONGEST_NAMES",
    "format.array_pickle.MOST_DEEP",
    "format.keras_file.MOST_DEEP",
    "format.keras_file.MOST_EXPANSION",
    "format.npz_file.LONGEST_HEADER",
    "format.npz_file.LONGEST_NAME",
    "format.plain_pickle.LARGEST_KEY",
    "format.recurrent_gates.NOTHING",
    "format.torch_file.LEGACY_VERSION",
    "format.torch_file.MAGIC",
    "format.torch_file.MOST_SHARED",
    "format.weight_files.LARGEST_HEADER",
    "format.weight_loading.MOST_LISTED",
    "format.weight_proposal.MOST_TRIED",
    "format.zip_file.MOST_EXPANSION",
    "format.zip_file.ROOM",
    "support.plain_checks.MOST_AXES",
    "format.graph.MOST_NAMES",
    "format.growth.ROOM",
    "format.growth.SIZE",
    "interchange.space_records.MOST_EXACT",
    "interchange.graph_writer.MOST_LISTED",
    "interchange.operations.masks.FAR",
    "search.index_file.VERSION",
    "format.header.VERSION",
    "search.tiled_neighbors.CROWDED",
    "search.tiled_neighbors.LEAST",
    "search.tiled_neighbors.ROUNDINGS",
    "search.neighbor_file.UNIT",
    "neighbor_memory.VOTES",
    "neighbor_memory.NONE",
    "neighbor_memory.THRESHOLD",
    "markers.ROUNDING",
    "support.polyphase.BETA",
    "support.polyphase.HALF",
    "support.polyphase.TERMS",
    "support.wav_file.CHUNKS",
    "support.wav_file.EXTENSIBLE",
    "support.wav_file.FLOAT",
    "support.wav_file.PCM",
    "support.normal_cdf.LARGEST",
    "support.memory_state.EMPTY",
    "support.memory_slots.LARGEST_LABEL",
    "support.greedy_tree.TIED",
    "format.safetensors_file.LARGEST_AXIS",
    "format.safetensors_file.LARGEST_HEADER",
    "format.safetensors_file.MOST_AXES",
    "search.small_world_graph.HUBS",
    "small_world_index.NARROW",
    "support.learned_temperature.LARGEST_LOG",
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
        tree = ast.parse((ROOT / "shared_tests/tests" / file).read_text())
        assert name in {getattr(node, "name", None) for node in tree.body}
    else:
        component, _, case = where.partition(": ")
        (definition,) = [one for one in definitions() if one.component == component]
        assert case in {one.name for each in definition.operations for one in each.cases}
