"""No file, however it is damaged, crashes, hangs, takes memory or passes for what it is not."""

import json
import os
import subprocess
import sys

import pytest

from shared_tests.model_files.samples import frame

MEGABYTE = 2**20


def run_apart(*arguments):
    """The JSON that a fresh process prints."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_damaged_files(tmp_path):
    report = run_apart("-m", "shared_tests.model_files.file_fuzzer", tmp_path, 24_000, 20_241)
    assert report["defects"] == {}
    assert report["slowest"] < 1
    assert report["peak"] < 200 * MEGABYTE
    outcomes = report["outcomes"]
    assert sum(outcomes.values()) == 24_000
    # The mutator is neither too rough nor too gentle to find anything.
    assert outcomes["refused"] > 12_000
    assert min(outcomes[kind] for kind in ("equal", "another model")) > 50
    assert outcomes["cannot run"] > 0  # nearly all of them are refused before


LISTS = b"[" * 500 + b"]" * 500 + b","
HEADERS = {
    "empty lists": b"[]," * (2**21 // 3 - 10),
    "lists of lists": b"[[]]," * (2**21 // 5 - 10),
    "deep lists": LISTS * (2**21 // len(LISTS) - 1),
    "objects": b'{"":{}},' * (2**21 // 8 - 10),
    "floats": b".5,".replace(b".", b"0.") * (2**21 // 4 - 10),
    "letters": b'"xy",' * (2**21 // 5 - 10),
}
PROGRAM = """
import json, sys, time
from numpy_infer.model_file import ModelFileError, load_model
from shared_tests.model_files.file_fuzzer import peak_memory
before, start = peak_memory(), time.perf_counter()
try:
    load_model(sys.argv[1])
except ModelFileError as error:
    message = str(error)
print(json.dumps([peak_memory() - before, time.perf_counter() - start, message]))
"""


def inner(text):
    """A header whose metadata holds this as the description."""
    rest = '"version":1,"component":"chain","checksum":"0"'
    quoted = json.dumps(f'{{{rest},"config":{{"layers":[{text}0]}}}}')
    return b'{"__metadata__":{"fourfold":' + quoted.encode() + b"}}"


@pytest.mark.parametrize("where", ["header", "description"])
@pytest.mark.parametrize("name", HEADERS)
def test_the_largest_header_takes_little_memory(name, where, tmp_path):
    path = tmp_path / "model.safetensors"
    if where == "header":
        header = b'{"a":[' + HEADERS[name] + b"0]}"
    else:
        text = HEADERS[name].decode()
        escaped = len(json.dumps(text)) / len(text)
        pieces = text.split(",")[: int(text.count(",") / escaped) - 40]
        header = inner(",".join(pieces) + ",")
    assert 0.9 * 2**21 < len(header) <= 2**21
    path.write_bytes(frame(header))
    peak, seconds, message = run_apart("-c", PROGRAM, path)
    assert "expected" in message
    assert peak < 200 * MEGABYTE
    assert seconds < 10
