"""Files of weights alone: what is read and written, and what a file cannot make a reader do."""

import io
import json
import os
import pickle
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections import OrderedDict

import numpy as np
import pytest

from numpy_infer.__main__ import main
from numpy_infer.format.halves import BFLOAT16, bfloat16, converted, widened
from numpy_infer.model_file import ModelFileError
from numpy_infer.weights import load_weights, save_weights

ENDINGS = (".safetensors", ".npz", ".pt")
ARRAYS = {
    "conv.weight": np.arange(24.0, dtype=np.float32).reshape(2, 3, 2, 2),
    "conv.bias": np.array([0.5, -2.0]),
    "steps": np.array(7),
    "empty": np.zeros((0, 3), np.float32),
    "half": np.array([1.5, 65504], np.float16),
    "brain": bfloat16(np.array([[1.0, 3e38]])),
    "flags": np.array([True, False]),
}


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_written_is_read(tmp_path, ending):
    path = tmp_path / f"w{ending}"
    save_weights(path, ARRAYS)
    found = load_weights(path)
    assert list(found) == list(ARRAYS)
    assert all(same(found[name], array) for name, array in ARRAYS.items())
    assert [*load_weights(path, prefix="conv.")] == ["weight", "bias"]
    with pytest.raises(ValueError, match=r"prefix: expected one of conv.weight, .*, got 'x'"):
        load_weights(path, prefix="x")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_stays_where_its_successor_cannot_be_written(tmp_path, ending):
    path = tmp_path / f"w{ending}"
    save_weights(path, ARRAYS)
    old = path.read_bytes()
    for wrong in ({"text": np.array(["a"])}, {"objects": np.array([None])}):
        with pytest.raises(ValueError, match="expected"):
            save_weights(path, wrong)
    with pytest.raises(ValueError, match="array a: expected numbers that float16 holds, got 1e"):
        save_weights(path, {"a": np.array([1.0, 1e5])}, dtype="float16")
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == [path.name]


def test_endings_and_dtypes_that_there_are_not(tmp_path):
    with pytest.raises(ValueError, match=r"path: expected an ending of .*save_weights writes it"):
        save_weights(tmp_path / "w.weights.h5", ARRAYS)
    with pytest.raises(ValueError, match=r"dtype: expected one of float16, .*, got 'int8'"):
        save_weights(tmp_path / "w.npz", ARRAYS, dtype="int8")


def test_every_bfloat16_is_exact_and_every_number_goes_to_the_nearest():
    """All bfloat16 numbers; then numbers beside and on the middle of two of them."""
    every = np.arange(2**16, dtype=np.uint16).view(BFLOAT16)
    wide = widened(every)
    assert np.array_equal(wide.view(np.uint32) >> 16, every["bfloat16"])
    finite = np.isfinite(wide)
    assert same(bfloat16(wide[finite]), every[finite])
    assert np.isnan(widened(bfloat16(wide[np.isnan(wide)]))).all()
    low, high = wide[0x3F80:0x3FFF].astype(np.float64), wide[0x3F81:0x4000].astype(np.float64)
    middle = (low + high) / 2
    even = np.where(every["bfloat16"][0x3F80:0x3FFF] % 2 == 0, low, high)
    nudge = 2.0**-40  # float32 would lose it, and the middle then go to the even one
    for number, nearest in ((middle, even), (middle - nudge, low), (middle + nudge, high)):
        for sign in (1, -1):
            assert np.array_equal(widened(bfloat16(sign * number)), sign * nearest)
    with pytest.raises(ValueError, match=r"expected numbers that bfloat16 holds, got 3.403e"):
        converted(np.array([np.finfo(np.float32).max]), BFLOAT16)
    assert np.isinf(widened(converted(np.array([np.inf]), BFLOAT16))).all()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickled_arrays(tmp_path, protocol):
    path = tmp_path / "arrays.pkl"
    floats = {"big": np.array([[1.0, 2.0]], ">f4"), "turned": np.arange(6.0).reshape(2, 3).T}
    value = {**ARRAYS, **floats, "nested": [OrderedDict(a=np.int64(3)), ("text", 1.5, None)]}
    value = {name: one for name, one in value.items() if name != "brain"}
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    found = load_weights(path)
    assert np.array_equal(found.pop("nested.0.a"), 3)
    assert {*found} == {*value} - {"nested"}
    assert all(np.array_equal(found[name], value[name]) for name in found)
    path.write_bytes(pickle.dumps(np.arange(3.0), protocol=protocol))
    assert load_weights(path)["array"].tolist() == [0, 1, 2]


class Spy:
    """A pickle of it would make a folder when it is loaded."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_pickle_is_refused_by_name_and_does_not_run(tmp_path, protocol):
    spy = {"weight": np.zeros(3), "spy": Spy(tmp_path / "ran")}
    text = pickle.dumps(spy, protocol=protocol)
    (tmp_path / "w.pkl").write_bytes(text)
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("w/data.pkl", text)
    np.savez(tmp_path / "w.npz", spy=np.array([spy]))
    for path in sorted(tmp_path.iterdir()):
        reason = "numbers, got '.O'" if path.suffix == ".npz" else "got (posix|nt).mkdir: a pickle"
        with pytest.raises(ModelFileError, match=reason):
            load_weights(path)
    assert not (tmp_path / "ran").exists()
    pickle.loads(text)
    assert (tmp_path / "ran").exists()


CONTAINERS_IN_CONTAINERS = b"\x80\x02}" + b"".join(
    b"q%c}(U\x01ah%cU\x01bh%cu" % (depth, depth, depth) for depth in range(99)
)
HOSTILE_PICKLES = {
    "a text that is not there": b"\x80\x02X\xff\xff\xff\x7fab.",
    "bytes that are not there": b"\x80\x05\x96" + struct.pack("<Q", 2**50) + b".",
    "a number that is not there": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "doubled at every depth": CONTAINERS_IN_CONTAINERS + b".",
    "a list in itself": b"\x80\x02]q\x00h\x00a.",
    "deep tuples as a key": b"\x80\x02})" + b"\x85" * 10**5 + b"Ns.",
    "nothing": b"\x80\x02.",
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent id": b"\x80\x02NQ.",
    "an object": b"\x80\x02cbuiltins\nobject\n)\x81.",
    "a call of a container": b"\x80\x02])R.",
    "an array of more than its bytes": pickle.dumps(np.zeros(3), 2).replace(
        b"K\x03\x85", b"K\x63\x85"
    ),
}


@pytest.mark.parametrize("name", HOSTILE_PICKLES)
def test_hostile_pickles(tmp_path, name):
    path = tmp_path / "w.pkl"
    path.write_bytes(HOSTILE_PICKLES[name])
    with pytest.raises(ModelFileError, match=r"w\.pkl: .*expected"):
        bounded(path)


def test_a_place_far_away_costs_nothing(tmp_path):
    """Python's own unpickler takes memory for all places before it."""
    path = tmp_path / "w.pkl"
    path.write_bytes(b"\x80\x02]r\xff\xff\xff\x0f.")
    bounded(path)


def bounded(path, times: int = 200) -> None:
    """Load a file in at most so many times its size, a mebibyte and three seconds."""
    begin = time.process_time()
    tracemalloc.start()
    try:
        load_weights(path)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < times * path.stat().st_size + 2**20
        assert time.process_time() - begin < 3


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_an_archive_that_would_become_too_large(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("a.npy", npy(np.zeros(2**22)))
    assert path.stat().st_size < 2**16
    with pytest.raises(ModelFileError, match="expected at most 100 times the file's"):
        bounded(path)
    np.savez_compressed(path, a=np.repeat(np.arange(2.0**12), 8))
    assert load_weights(path)["a"].size == 2**15


def test_archives_that_lie(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, first=np.arange(100.0), second=np.arange(100.0))
    good = path.read_bytes()
    start = good.rfind(b"PK\x01\x02")  # the second entry of the directory
    overlapping = bytearray(good)
    overlapping[start + 42 : start + 46] = bytes(4)  # begins where the first one does
    larger = bytearray(good)
    larger[start + 20 : start + 28] = struct.pack("<LL", 2**31, 2**31)
    damaged = good.replace(struct.pack("<d", 50.0), struct.pack("<d", 51.0), 1)
    for wrong in (bytes(overlapping), bytes(larger), damaged, good[:-30], good[:300]):
        path.write_bytes(wrong)
        with pytest.raises(ModelFileError, match="expected"):
            bounded(path)
    claimed = npy(np.zeros(3)).replace(b"(3,)", b"(9,)")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", claimed)
    with pytest.raises(ModelFileError, match="'a': expected 72 bytes for shape"):
        bounded(path)


def header_of(count: int, prefix: str = "") -> bytes:
    entries = {
        f"{prefix}layers.{index}.weight": {
            "dtype": "BF16",
            "shape": [1],
            "data_offsets": [2 * index, 2 * index + 2],
        }
        for index in range(count)
    }
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + bytes(2 * count)


def test_thirty_thousand_arrays_are_read_within_a_second(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(header_of(30_000))
    begin = time.process_time()
    found = load_weights(path)
    assert time.process_time() - begin < 1
    assert len(found) == 30_000
    save_weights(tmp_path / "w.pt", found)
    assert len(load_weights(tmp_path / "w.pt")) == 30_000


def test_a_name_of_any_length(tmp_path):
    long = {"a" * 10**6: np.arange(3.0), "b" * 10**6: np.arange(2.0)}
    for ending in (".safetensors", ".pt"):
        save_weights(tmp_path / f"w{ending}", long)
        assert load_weights(tmp_path / f"w{ending}").keys() == long.keys()
    with pytest.raises(ValueError, match="expected"):
        save_weights(tmp_path / "w.npz", long)


@pytest.mark.parametrize("unit", [b"[],", b"{},", b'{"":{}},', b"[[[[]]]],"])
def test_a_header_of_brackets_costs_no_more_than_its_size(tmp_path, unit):
    path = tmp_path / "w.safetensors"
    text = b'{"a":[' + unit * (2**22 // len(unit)) + b"0]}"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(ModelFileError, match="brackets"):
        bounded(path, times=32)


@pytest.mark.parametrize("kind", [*ENDINGS, "pickle", "compressed"])
def test_damaged_files_are_read_or_refused(tmp_path, kind):
    """Every byte changed and every length cut, of a small file of each format."""
    path = tmp_path / "w"
    arrays = {"a": np.arange(3.0), "b": np.ones((2, 2), np.float16)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(arrays, protocol=4))
    elif kind == "compressed":
        np.savez_compressed(tmp_path / "w.npz", **arrays)
        (tmp_path / "w.npz").rename(path)
    else:
        save_weights(tmp_path / f"w{kind}", arrays)
        (tmp_path / f"w{kind}").rename(path)
    good = path.read_bytes()
    generator = np.random.default_rng(0)
    refused = 0
    for place in range(len(good)):
        changed = bytearray(good)
        changed[place] ^= int(generator.integers(1, 256))
        for wrong in (bytes(changed), good[:place]):
            path.write_bytes(wrong)
            try:
                load_weights(path)
            except ModelFileError:
                refused += 1
    assert refused > len(good)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "w"
    for text in (b"", b"PK\x03\x04", b"\x80", b"\x89HDF\r\n\x1a\n", zlib.compress(b"x"), b"{}"):
        path.write_bytes(text)
        with pytest.raises((ModelFileError, ImportError), match="expected"):
            load_weights(path)
    with pytest.raises(FileNotFoundError):
        load_weights(tmp_path / "missing")


def test_the_command_line_lists_a_file(tmp_path, capsys):
    path = tmp_path / "w.pt"
    save_weights(path, {"a": ARRAYS["brain"], "b\x1b[0m": ARRAYS["steps"]})
    assert main(["weights", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "",
        "array     shape   dtype     bytes",
        "a         (1, 2)  bfloat16  4",
        "b\\x1b[0m  ()      int64     8",
    ]
    assert main(["weights", "--json", str(path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["arrays"]["a"] == {"shape": [1, 2], "dtype": "bfloat16", "bytes": 4}
    path.write_bytes(pickle.dumps(print))
    assert main(["weights", str(path)]) == 1
    assert "got builtins.print: a pickle" in capsys.readouterr().err
