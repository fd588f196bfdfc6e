"""A model file that is wrong in any way is refused in words, and no other file is ever left."""

import io
import json
import os
import pickle
import stat
import time
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from numpy_infer import AveragePool, Input, MaxPool, MaxUnpool
from numpy_infer.format import atomic_file
from numpy_infer.layers import activations
from numpy_infer.model_file import (
    ModelFileError,
    load_model,
    read_arrays,
    read_metadata,
    read_model,
    write_model,
)
from shared_tests.fixtures import normal
from shared_tests.model_files.samples import (
    SAMPLES,
    Sample,
    chain,
    flat,
    frame,
    pack,
    put,
    seal,
    unpack,
    write_unchecked,
)
from shared_tests.model_files.wrong_files import CONFIGS, EDITS, HEADERS, SMALL, WIDTHS, edited


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def parts(path):
    return unpack(SMALL.write(path))


def refused(path, message=None, load=load_model):
    with pytest.raises(ModelFileError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 3000
    return str(caught.value)


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_written_is_read(name, path):
    sample = SAMPLES[name]
    sample.write(path)
    component, config, weights = read_model(path)
    assert (component, config) == (sample.component, sample.config)
    assert weights.keys() == sample.arrays.keys()
    for key, array in weights.items():
        assert array.dtype == sample.arrays[key].dtype
        np.testing.assert_array_equal(array, sample.arrays[key])
        assert not array.flags.writeable
    net = load_model(path)
    assert net[0](sample.x) is sample.x
    net[-1](sample.x)


@pytest.mark.parametrize("name", SAMPLES)
def test_metadata_comes_back(name, path):
    sample = SAMPLES[name]
    sample.write(path)
    found = read_metadata(path)
    assert found.keys() == sample.metadata.keys()
    for key, value in sample.metadata.items():
        if isinstance(value, np.ndarray):
            assert found[key].dtype == value.dtype
            np.testing.assert_array_equal(found[key], value)
            assert not found[key].flags.writeable
        else:
            assert found[key] == value
    assert any(isinstance(one, np.ndarray) for one in SAMPLES["perceptron"].metadata.values())


def test_metadata_changes_nothing_of_the_model(path, tmp_path):
    arguments = (SMALL.component, SMALL.config, SMALL.arrays)
    write_model(path, *arguments)
    write_model(tmp_path / "empty", *arguments, {})
    assert path.read_bytes() == (tmp_path / "empty").read_bytes()
    assert read_metadata(path) == {}
    wanted = load_model(path)[-1](SMALL.x)
    # Float64 vectors beside float32 weights, and a name that is an array of the model's too.
    own = {"1.weight": normal(9, 5, seed=1), "x": [], "nothing": np.zeros((0, 3))}
    write_model(path, *arguments, own)
    np.testing.assert_array_equal(load_model(path)[-1](SMALL.x), wanted)
    assert read_model(path).arrays.keys() == SMALL.arrays.keys()
    assert read_metadata(path)["nothing"].shape == (0, 3)
    assert read_metadata(path)["x"] == []


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"mel": {1: 2}}, "'mel'"),  # JSON would make a text of the key
        ({"sizes": (1, 2)}, "'sizes'"),  # and a list of the tuple
        ({"threshold": np.float32(0.5)}, "'threshold'"),
        ({"threshold": float("nan")}, "'threshold'"),
        ({"made": {1, 2}}, "'made'"),
        ({"names": np.array(["a"])}, "'names'"),
        ({"objects": np.array([None])}, "'objects'"),
        ({"wide": np.zeros(2, complex)}, "'wide'"),
        ({"swapped": np.zeros(2, ">f4")}, "'swapped'"),
        ({3: "x"}, "by their names"),
        ([("a", 1)], "by their names"),
    ],
)
def test_metadata_that_would_not_come_back_is_refused(metadata, message, path):
    SMALL.write(path)
    before = path.read_bytes()
    with pytest.raises((TypeError, ValueError), match=message):
        write_model(path, SMALL.component, SMALL.config, SMALL.arrays, metadata)
    assert path.read_bytes() == before


@pytest.mark.parametrize("value", [[], "x", 3, None, {"vectors": 1}])
def test_damaged_metadata_is_refused(value, path):
    write_model(path, SMALL.component, SMALL.config, SMALL.arrays, {"vectors": np.eye(2)})
    header, description, body = unpack(path.read_bytes())
    description["metadata"] = value
    path.write_bytes(pack(header, seal(header, description, body), body))
    for load in (load_model, read_model, read_metadata):
        refused(path, "metadata: expected", load)


def test_changed_metadata_is_refused(path):
    write_model(path, SMALL.component, SMALL.config, SMALL.arrays, {"threshold": 0.5})
    header, description, body = unpack(path.read_bytes())
    description["metadata"]["threshold"] = 0.25
    path.write_bytes(pack(header, description, body))
    for load in (load_model, read_model, read_metadata):
        refused(path, "checksum", load)


def test_the_parts_of_a_file_make_the_same_file(path, parts):
    header, description, body = parts
    assert seal(*parts) == description, "the checksum is not what docs/model_files.md says"
    path.write_bytes(pack(header, description, body))
    load_model(path)


def test_every_truncation_is_refused(path):
    data = SMALL.write(path)
    for size in range(len(data)):
        put(path, data[:size])
        refused(path, "expected")


def test_every_flipped_bit_is_refused_or_says_the_same(path):
    data = SMALL.write(path)
    wanted, same = load_model(path)[-1](SMALL.x), 0
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        put(path, flipped)
        try:
            net = load_model(path)
        except ModelFileError:
            continue
        same += 1
        np.testing.assert_array_equal(net[-1](SMALL.x), wanted)
    assert same <= 8, "more than a letter's case was overlooked"


class Mark:
    """Its pickle makes a directory when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def zipped(mark):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(Mark(mark)))
    return data.getvalue()


def arrays_in_a_zip(mark):
    data = io.BytesIO()
    np.savez(data, weight=np.array([Mark(mark)], object))
    return data.getvalue()


OTHER_FILES = {
    "empty": lambda mark: b"",
    "seven bytes": lambda mark: b"seven b",
    "text": lambda mark: b"Now is the winter of our discontent\n" * 9,
    "JSON": lambda mark: b'{"component": "chain", "config": {}, "version": 1}',
    "pickle": lambda mark: pickle.dumps(Mark(mark)),
    "old pickle": lambda mark: pickle.dumps(Mark(mark), protocol=0),
    "zip with a pickle": zipped,
    "npz of objects": arrays_in_a_zip,
    "zeros": lambda mark: bytes(4096),
    "ones": lambda mark: b"\xff" * 4096,
    "header that is a list": lambda mark: frame(b"[1, 2, 3]"),
    "header that is a pickle": lambda mark: frame(pickle.dumps(Mark(mark)), bytes(64)),
    "header of one bracket": lambda mark: frame(b"{ "),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_a_file_of_another_kind_is_refused_and_nothing_in_it_runs(name, path, tmp_path):
    mark = tmp_path / "code ran"
    path.write_bytes(OTHER_FILES[name](mark))
    for load in (load_model, read_model, read_arrays):
        refused(path, "expected", load)
    assert not mark.exists()
    if name == "pickle":
        pickle.loads(path.read_bytes())
        assert mark.exists(), "the pickle is no trap"


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_at_once(make, path):
    make(path)
    refused(path, "expected a regular file")


def test_a_file_that_is_not_there_is_an_os_error(path):
    with pytest.raises(FileNotFoundError):
        load_model(path)


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_is_wrong_is_refused(name, path):
    header, message = HEADERS[name]
    path.write_bytes(frame(header, bytes(4)))
    refused(path, message)


@pytest.mark.parametrize(
    "length", [0, 1, -1, 8, 300_000_000, 2**21 + 1, 2**31, 2**32 + 100, 2**63, 2**64 - 1]
)
def test_a_length_that_is_wrong_is_refused(length, path):
    data = SMALL.write(path)
    if length in (-1, 8):  # from the right one
        length += int.from_bytes(data[:8], "little")
    put(path, length.to_bytes(8, "little") + data[8:])
    os.truncate(path, max(len(data), 400_000_000))  # long enough to hold some of them
    wanted = r"expected a header of 2\.\.2097152 bytes" if length > 2**21 else "header|96 bytes"
    refused(path, wanted)


@pytest.mark.parametrize("name", EDITS)
def test_a_wrong_statement_is_refused(name, path):
    path.write_bytes(edited(name, SMALL.write(path)))
    assert "damaged" not in refused(path, EDITS[name][1])


@pytest.mark.parametrize("name", CONFIGS)
def test_a_component_with_a_wrong_config_is_refused(name, path):
    sample, config, message = CONFIGS[name]
    header, description, body = unpack(SAMPLES[sample].write(path))
    description["config"].update(config)
    path.write_bytes(pack(header, seal(header, description, body), body))
    refused(path, message)
    refused(path, message, load=read_model)  # which builds nothing


def test_a_config_that_is_not_complete_is_refused(path):
    header, description, body = unpack(SAMPLES["perceptron"].write(path))
    layers = description["config"]["layers"]
    del layers[2]["config"]["epsilon"]
    path.write_bytes(pack(header, seal(header, description, body), body))
    refused(path, r"layer 2 \(BatchNorm\): config: expected epsilon, got none")


@pytest.mark.parametrize("momentum", [-0.1, 2, "0.1", True, None, [0.1], 10**400, 1e999])
def test_what_is_kept_for_training_is_checked(momentum, path):
    header, description, body = unpack(SAMPLES["perceptron"].write(path))
    description["config"]["layers"][2]["training"] = {"momentum": momentum}
    path.write_bytes(pack(header, seal(header, description, body), body))
    refused(path, r"layer 2 \(BatchNorm\): momentum: expected|got Infinity")


@pytest.mark.parametrize("epsilon", [-1, "1e-5", True, None, [1e-5], 10**400, {}])
def test_numbers_of_a_layer_are_checked(epsilon, path):
    header, description, body = unpack(SAMPLES["perceptron"].write(path))
    description["config"]["layers"][2]["config"] = {"epsilon": epsilon}
    path.write_bytes(pack(header, seal(header, description, body), body))
    refused(path, r"layer 2 \(BatchNorm\): epsilon: expected")


@pytest.mark.parametrize("name", WIDTHS)
def test_layers_that_can_never_run_are_refused(name, path):
    config, weights, message = WIDTHS[name]
    if message is None:
        write_model(path, "chain", config, weights)
        load_model(path)
    else:
        with pytest.raises(ValueError, match=message):
            write_model(path, "chain", config, weights)
        assert not path.exists()
        write_unchecked(path, "chain", config, weights)
        refused(path, message)


def test_padding_that_is_not_zero_is_refused(path):
    weights = {"1.table": np.ones((7, 3))}
    config = chain(("Embedding", {}, {"padding": True}))
    message = r"layer 1 \(Embedding\): table: expected zeros in row 0, got "
    with pytest.raises(ValueError, match=message):
        write_model(path, "chain", config, weights)
    write_unchecked(path, "chain", config, weights)
    refused(path, message)
    write_model(path, "chain", chain(("Embedding", {}, {"padding": False})), weights)


def test_layers_that_blow_up_their_input_are_refused_when_they_run():
    """From a file they are refused when it is loaded."""
    pool = {"size": [1], "stride": [1], "padding": [[0, 2**20]]}
    net = AveragePool(Input(), **pool, count_padding=True)
    with pytest.raises(ValueError, match="x: expected at most 16704 places of a layer, got"):
        net(np.ones((1, 1, 5)))


def test_a_changed_array_is_damage(path, parts):
    header, description, body = parts
    path.write_bytes(pack(header, description, body[:-1] + b"!"))
    refused(path, "checksum: expected [0-9a-f]{8}, got '[0-9a-f]{8}': the file is damaged")


@pytest.mark.parametrize("checksum", [None, 0, "", [], "00000000"])
def test_a_checksum_that_is_there_counts(checksum, path, parts):
    header, description, body = parts
    path.write_bytes(pack(header, description | {"checksum": checksum}, body))
    refused(path, "checksum: expected")


def test_a_file_without_a_checksum_loads(path, parts):
    header, description, body = parts
    wanted = load_model(path)[-1](SMALL.x)
    del description["checksum"]
    path.write_bytes(pack(header, description, body))
    np.testing.assert_array_equal(load_model(path)[-1](SMALL.x), wanted)


ONE = np.ones(())
LOSS = "soft_nearest_neighbor_loss.SoftNearestNeighborLoss"


def test_a_loss_with_an_array_is_read_and_not_built(path):
    options = {"temperature": 2.0, "distance": "cosine", "reduction": "sum", "block_size": None}
    write_model(path, LOSS, options | {"learn_temperature": False}, {})
    write_model(path, LOSS, options | {"learn_temperature": True}, {"log_inverse_temperature": ONE})
    assert read_model(path).component == LOSS
    refused(path, "component: expected one that infers, or a chain, got 'soft_nearest")


@pytest.mark.parametrize("component", ["triplet_loss.TripletLoss", "foo.Bar", "layer.Layer"])
def test_what_is_no_component_is_neither_written_nor_read(path, component):
    with pytest.raises(ValueError, match="component: expected one that infers, or a chain, got"):
        write_model(path, component, {}, {})
    assert not path.exists()
    write_unchecked(path, component, {}, {})
    refused(path, "component: expected one that infers, or a chain, got")
    with pytest.raises(ModelFileError, match="component: expected one that infers"):
        read_model(path)


def test_many_layers_take_time_in_proportion(path):
    """Five thousand layers and arrays; looking each up among all would take a minute."""
    count = 5000
    config = chain(*[("Projection", {})] * count)
    weights = {f"{place}.weight": np.full((1, 1), 0.5) for place in range(1, count + 1)}
    write_model(path, "chain", config, weights)
    start = time.process_time()
    net = load_model(path)
    assert time.process_time() - start < 2
    assert net[-1](np.ones((1, 1))) == 0.5**count


def test_nesting_is_refused_at_every_depth(path, parts):
    """What can just be read may be too deep to be written for the checksum."""
    header, description, body = parts
    for depth in range(800, 1100):
        nested = '{"x": ' + "[" * depth + "]" * depth + "}"
        text = json.dumps(description).replace('"config": {}', f'"config": {nested}', 1)
        metadata = {"__metadata__": {"fourfold": text}}
        put(path, frame(json.dumps(metadata | header).encode(), body))
        refused(path)


# Writing.


class Full:
    """A disk that is full when the first bytes have been written."""

    def __init__(self, array):
        self.dtype, self.shape, self.nbytes, self.size = (
            array.dtype,
            array.shape,
            array.nbytes,
            array.size,
        )
        self.array, self.reads = array, 0

    def __array__(self, *_, **__):
        self.reads += 1
        if self.reads > 1:  # the checksum has read it by then
            raise OSError(28, "No space left on device")
        return self.array


def test_a_full_disk_leaves_the_old_file_and_no_draft(path):
    old = SMALL.write(path)
    weights = SMALL.arrays | {"3.weight": Full(np.ones((3, 2), np.float32))}
    with pytest.raises(OSError, match="No space left"):
        write_unchecked(path, "chain", SMALL.config, weights)
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_an_error_at_the_end_leaves_the_old_file_and_no_draft(function, error, path, monkeypatch):
    old = SMALL.write(path)

    def fail(*_):
        raise error

    monkeypatch.setattr(atomic_file.os, function, fail)
    with pytest.raises(type(error)):
        write_model(path, "chain", SMALL.config, SMALL.arrays | {"1.bias": np.ones(3, np.float32)})
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(
    ("config", "weights", "error"),
    [
        ({"a": {1, 2}}, {}, TypeError),
        ({"a": float("nan")}, {}, ValueError),
        ({"a": np.float32(1)}, {}, TypeError),
        ({}, {"a": np.ones(2, np.float16)}, TypeError),
        ({}, {"a": np.ones(2, np.float32), "b": np.ones(2)}, TypeError),
        ({}, {"a": np.ones(2, int)}, TypeError),
        ({}, {"a": np.ones(2, ">f4")}, TypeError),
        ({}, {"a": np.ones((2, 0))}, ValueError),
        ({}, {"a": np.array([None])}, TypeError),
        ({"a": "x" * 2**21}, {}, ValueError),
    ],
)
def test_what_a_file_cannot_hold_is_not_written(config, weights, error, path):
    with pytest.raises(error):
        write_model(path, "chain", config, weights)
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("slope", [np.float32(0.1), float("nan")])
def test_a_config_that_json_cannot_say_is_refused_by_its_layer(slope, path):
    config = chain(("ReLU", {}), ("LeakyReLU", {"slope": slope}))
    wanted = r"^layer 2 \(LeakyReLU\): config: expected what JSON can say, got: "
    with pytest.raises((TypeError, ValueError), match=wanted):
        write_model(path, "chain", config, {})
    with pytest.raises(
        (TypeError, ValueError), match=r"^config: expected what JSON can say, got: "
    ):
        write_model(path, "a.B", {"slope": slope}, {})


def test_no_folder_is_an_os_error_that_names_the_file(tmp_path):
    path = tmp_path / "none" / "model.safetensors"
    with pytest.raises(FileNotFoundError) as caught:
        SMALL.write(path)
    assert caught.value.filename == str(path)
    assert ".part" not in str(caught.value)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_replaced(make, path):
    make(path)
    before = path.stat()
    with pytest.raises(OSError, match="expected a regular file") as caught:
        SMALL.write(path)
    assert caught.value.filename == str(path)
    assert path.stat().st_ino == before.st_ino
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444])
def test_a_new_file_has_the_permissions_of_the_old_one(mode, path):
    path.write_bytes(b"old")
    path.chmod(mode)
    before = os.umask(0o022)
    try:
        SMALL.write(path)
    finally:
        os.umask(before)
    load_model(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(umask, path):
    before = os.umask(umask)
    try:
        SMALL.write(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_links_stay_links(tmp_path, path):
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "model.safetensors"
    target.write_bytes(b"old")
    path.symlink_to(target)
    data = SMALL.write(path)
    assert path.is_symlink()
    assert target.read_bytes() == data
    assert not target.is_symlink()
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.parametrize("name", ["x" * 255, "模" * 85, "a b'c\n"])
def test_any_name_of_a_file_will_do(name, tmp_path):
    SMALL.write(tmp_path / name)
    assert load_model(tmp_path / name)[-1](SMALL.x).shape == (2, 2)


def test_arrays_of_any_layout_are_written_in_order(path):
    weight = np.arange(30, dtype=np.float32).reshape(3, 10)
    weights = {"1.weight": weight[:, ::2].T, "1.bias": weight[::-1, 0], "3.weight": weight[:, 8:]}
    write_model(path, "chain", SMALL.config, weights)
    for name, array in read_arrays(path).items():
        np.testing.assert_array_equal(array, weights[name])


def test_a_net_outlives_the_file_that_it_came_from(path):
    SMALL.write(path)
    net = load_model(path)
    wanted = net[-1](SMALL.x)
    Sample("chain", SMALL.config, {k: 2 * v for k, v in SMALL.arrays.items()}, SMALL.x).write(path)
    np.testing.assert_array_equal(net[-1](SMALL.x), wanted)
    path.unlink()
    np.testing.assert_array_equal(net[-1](SMALL.x), wanted)


def test_arrays_stay_in_the_file(path):
    """32 MiB of them; neither the checksum nor the layers make a copy."""
    write_model(
        path, "chain", chain(("Projection", {})), {"1.weight": np.ones((2**12, 2**11), "f4")}
    )
    for load in (load_model, read_model, read_arrays):
        tracemalloc.start()
        try:
            kept = load(path)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert kept
        assert peak < 2**20


# Nets from files.


@pytest.mark.parametrize("name", ["perceptron", "mixture", "autoencoder", "reader"])
def test_eight_threads_get_what_one_gets(name, path):
    SAMPLES[name].write(path)
    net = load_model(path)
    x = SAMPLES[name].x
    inputs = [np.ascontiguousarray(np.roll(x, turn, axis=-1)) for turn in range(8)]
    alone = [net[-1](one) for one in inputs]

    def thousand(number):
        for turn in range(1000):
            which = (number + turn) % 8
            for got, wanted in zip(flat(net[-1](inputs[which])), flat(alone[which]), strict=True):
                if not np.array_equal(got, wanted):
                    return which
        return None

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(thousand, range(8))) == [None] * 8


def test_a_layer_that_two_share_is_evaluated_once_per_call(monkeypatch):
    """A diamond: 1 to 2 and 3, and these to 4."""
    pool = {"size": [2, 2], "stride": [2, 2], "padding": [[0, 0], [0, 0]]}
    tanh = activations.Tanh(Input())
    # The largest stay where they are.
    net = [MaxUnpool(MaxPool(tanh, **pool), activations.Sigmoid(tanh), **pool)]
    calls = []
    for layer in (activations.Tanh, activations.Sigmoid):
        forward = layer.forward
        monkeypatch.setattr(
            layer,
            "forward",
            lambda self, x, forward=forward: calls.append(type(self).__name__) or forward(self, x),
        )
    x = normal(2, 3, 4, 4, seed=1)
    output = net[-1](x)
    assert sorted(calls) == ["Sigmoid", "Tanh"]
    net[-1](x)
    assert sorted(calls) == ["Sigmoid", "Sigmoid", "Tanh", "Tanh"]
    kept = np.where(output != 0, np.tanh(x), 0)
    np.testing.assert_array_equal(output, kept)
