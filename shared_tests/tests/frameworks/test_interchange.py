"""Weights that travel into a model and out again come back bit for bit, or not at all."""

import importlib

import numpy as np
import pytest

import numpy_infer
from fourfold.project import model_name
from shared_tests.fixtures import normal
from shared_tests.repository import CHAIN, PACKAGES


@pytest.fixture
def interchange(framework_name):
    return importlib.import_module(f"{PACKAGES[framework_name]}.interchange")


def names(cell) -> tuple[str, dict, dict]:
    case = cell.case.cast(cell.dtype)
    return model_name(cell.component, cell.operation.name), dict(case.options), dict(case.weights)


def test_round_trip_is_exact(interchange, model_cell):
    component, config, weights = names(model_cell)
    model = interchange.from_arrays(component, config, weights)
    arrays = interchange.to_arrays(model)
    assert arrays.keys() == weights.keys()
    for name, array in arrays.items():
        assert array.dtype == weights[name].dtype
        np.testing.assert_array_equal(array, weights[name])
    if component != CHAIN:
        assert {key: model.config[key] for key in config} == config


def test_arrays_are_copies(interchange, first_model_cell):
    component, config, weights = names(first_model_cell)
    model = interchange.from_arrays(component, config, weights)
    for array in interchange.to_arrays(model).values():
        array += 1
    for name, array in interchange.to_arrays(model).items():
        np.testing.assert_array_equal(array, weights[name])


@pytest.mark.parametrize("what", ["missing", "extra", "shape"])
def test_arrays_that_do_not_fit_are_refused(interchange, first_model_cell, what):
    component, config, weights = names(first_model_cell)
    name, array = next(iter(weights.items()))
    rest = {key: value for key, value in weights.items() if key != name}
    wrong = {
        "missing": rest,
        "extra": {**weights, "unknown": array},
        "shape": {**rest, name: np.zeros((*array.shape, 1), array.dtype)},
    }
    with pytest.raises(ValueError, match=r"arrays: expected .*, got "):
        interchange.from_arrays(component, config, wrong[what])


@pytest.mark.parametrize(
    "dtypes", [("float64", "float32"), ("int64", "int64"), (">f4", ">f4"), ("float16", "float16")]
)
def test_dtypes_are_one_and_supported(interchange, dtypes):
    arrays = {
        "weight": np.ones((3, 2), dtypes[0]),
        "bias": np.ones(2, dtypes[1]),
    }
    config = {"in_features": 3, "out_features": 2}
    with pytest.raises(TypeError, match="arrays: expected float32 or float64 throughout, got "):
        interchange.from_arrays("sparse_projection", config, arrays)


def test_loading_casts_nothing_and_is_all_or_nothing(interchange):
    config = {"in_features": 3, "out_features": 2}
    before = {"weight": normal(3, 2, seed=1), "bias": normal(2, seed=2)}
    model = interchange.from_arrays("sparse_projection", config, before)
    after = {"weight": normal(3, 2, seed=3), "bias": normal(2, seed=4).astype("float32")}
    with pytest.raises(ValueError, match=r"arrays: expected .*, got "):
        interchange.load_arrays(model, after)
    for name, array in interchange.to_arrays(model).items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("component", ["no_such_file", "padded_embedding.NoSuchClass", "checks"])
def test_unknown_component_is_refused(interchange, component):
    with pytest.raises(ValueError, match=r"component: expected .*, got "):
        interchange.from_arrays(component, {}, {})


def test_the_only_model_of_a_file_needs_no_class_name(interchange):
    table = np.zeros((3, 2))
    config = {"vocabulary_size": 3, "dim": 2}
    model = interchange.from_arrays("padded_embedding", config, {"table": table})
    assert list(interchange.to_arrays(model)) == ["table"]


def test_metadata_travels_beside_the_model(interchange, tmp_path):
    weights = {"weight": normal(3, 2, seed=1), "bias": normal(2, seed=2)}
    config = {"in_features": 3, "out_features": 2}
    model = interchange.from_arrays("sparse_projection", config, weights)
    vectors = normal(5, 2, seed=3).astype("float32")
    metadata = {"classes": ["cat", "dog"], "threshold": 0.25, "vectors": vectors}
    interchange.save_model(model, tmp_path / "model", metadata=metadata)
    arrays = interchange.to_arrays(interchange.load_model(tmp_path / "model"))
    for name, array in weights.items():
        np.testing.assert_array_equal(arrays[name], array)
    found = numpy_infer.read_metadata(tmp_path / "model")
    np.testing.assert_array_equal(found.pop("vectors"), vectors)
    assert found == {"classes": ["cat", "dog"], "threshold": 0.25}
