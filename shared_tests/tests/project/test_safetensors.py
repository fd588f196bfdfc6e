"""Model files and the safetensors library: each opens what the other wrote."""

import numpy as np
import pytest
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import load_file, save_file

from numpy_infer.format.safetensors_file import DTYPES, read, write
from numpy_infer.model_file import ModelFileError, load_model, read_arrays, read_model
from shared_tests.fixtures import normal
from shared_tests.model_files.samples import SAMPLES, flat, frame

OTHERS = {
    "weight": normal(5, 3, seed=1),
    "encoder.0.weight": normal(2, 3, 5, 7, seed=2).astype("float32"),
    "half": normal(3, seed=3).astype("float16"),
    'Σ ☃ 𝄞 "quoted" \\ \n': np.arange(7),
    "flags": np.array([True, False]),
    "bytes": np.arange(3, dtype=np.uint8),
    "one": np.array(2.5),
    "none": np.zeros((2, 0, 3)),
    "": np.ones(1),
}


def assert_equal(found, wanted):
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_library_opens_our_models(name, tmp_path):
    path, sample = tmp_path / "model.safetensors", SAMPLES[name]
    sample.write(path)
    wanted = sample.arrays_in_file()
    assert_equal(load_file(path), wanted)
    with safe_open(path, framework="numpy") as file:
        assert file.metadata().keys() == {"fourfold"}
        assert set(file.keys()) == set(wanted)
        assert_equal({key: file.get_tensor(key) for key in file.keys()}, wanted)  # noqa: SIM118


@pytest.mark.parametrize("name", SAMPLES)
def test_a_model_that_the_library_saved_again_still_loads(name, tmp_path):
    path, again, sample = tmp_path / "a", tmp_path / "b", SAMPLES[name]
    sample.write(path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    save_file(load_file(path), again, metadata)
    ours, theirs = read_model(path), read_model(again)
    assert theirs[:2] == ours[:2]
    assert_equal(theirs.arrays, ours.arrays)
    outputs = [flat(load_model(file)[-1](sample.x)) for file in (path, again)]
    for one, other in zip(*outputs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("metadata", [None, {}, {"format": "np", "who": 'Σ "☃" \n'}])
def test_we_open_what_the_library_saves(metadata, tmp_path):
    path = tmp_path / "others.safetensors"
    save_file(OTHERS, path, metadata)
    assert_equal(read_arrays(path), OTHERS)
    assert read(path)[0] == (metadata or {})
    with pytest.raises(ModelFileError, match="the file holds arrays, no model"):
        load_model(path)


@pytest.mark.parametrize("metadata", [{}, {"format": "np", "who": 'Σ "☃" \n'}])
def test_the_library_opens_what_we_write(metadata, tmp_path):
    path = tmp_path / "ours.safetensors"
    write(path, metadata, OTHERS)
    assert_equal(load_file(path), OTHERS)
    with safe_open(path, framework="numpy") as file:
        assert (file.metadata() or {}) == metadata


@pytest.mark.parametrize("dtype", DTYPES)
def test_types_have_the_names_that_the_library_gives_them(dtype, tmp_path):
    path = tmp_path / "one.safetensors"
    array = np.array([0, 1, 1], DTYPES[dtype])
    save_file({"x": array}, path)
    ((_, entry),) = deserialize(path.read_bytes())
    assert entry["dtype"] == dtype
    assert_equal(read_arrays(path), {"x": array})


def entry(shape="[1]", offsets="[0,4]", dtype="F32"):
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}'


REFUSED = {
    "a hole": (f'{{"a":{entry()},"b":{entry(offsets="[8,12]")}}}', 12),
    "an overlap": (f'{{"a":{entry()},"b":{entry(offsets="[2,6]")}}}', 6),
    "bytes behind": (f'{{"a":{entry()}}}', 5),
    "bytes missing": (f'{{"a":{entry()}}}', 3),
    "wrong size": (f'{{"a":{entry(shape="[2]")}}}', 4),
    "a negative axis": (f'{{"a":{entry(shape="[-1]")}}}', 4),
    "an overflow": (f'{{"a":{entry(shape="[4294967296,4294967296,1073741824]")}}}', 4),
    "an unknown type": (f'{{"a":{entry(dtype="F33")}}}', 4),
    "metadata that is no text": (f'{{"__metadata__":{{"a":1}},"a":{entry()}}}', 4),
    "no JSON": ("{x}", 0),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_library_refuses_we_refuse(name, tmp_path):
    header, size = REFUSED[name]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(frame(header.encode(), bytes(size)))
    with pytest.raises(SafetensorError):
        load_file(path)
    with pytest.raises(ModelFileError):
        read_arrays(path)
