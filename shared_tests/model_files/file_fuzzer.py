"""Thousands of damaged model files, loaded and called in a process whose memory is watched.

    python -m shared_tests.model_files.file_fuzzer FOLDER COUNT SEED

prints what became of them as JSON: how many loaded, were refused and so on, the slowest second,
the peak memory in bytes above that of the start, and every file that did what none may do.
"""

from __future__ import annotations

import copy
import json
import os
import random
import resource
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from numpy_infer.model_file import ModelFileError, load_model
from shared_tests.model_files.samples import SAMPLES, Sample, flat, pack, put, seal, unpack

NUMBERS: list[Any] = [
    -1,
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    16,
    255,
    1000,
    2**15,
    2**31 - 1,
    2**31,
    2**32,
    2**53,
]
NUMBERS += [2**62, 2**63, 2**64, 10**18, 10**400, 0.0, -0.0, 0.5, 1e-5, 1e308, 5e-324, 1e-400]
VALUES: list[Any] = [
    *NUMBERS,
    True,
    False,
    None,
    "",
    "x",
    "0",
    "valid",
    [],
    [0],
    [1, 1],
    [[0, 0]],
    {},
]
VALUES += [{"a": 1}, [[]], [1] * 40, [[1, 1], [1, 1]], [-1, -1], "Input", "ReLU", "GRU", "chain"]
BYTES = [b"\0", b"\xff", b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"9", b"-", b"NaN"]


def flipped(data: bytes, chance: random.Random) -> bytes:
    """A few bits, anywhere or in the header alone."""
    changed = bytearray(data)
    end = len(data) if chance.random() < 0.5 else len(data) - len(unpack(data)[2])
    for _ in range(chance.choice([1, 1, 2, 5, 40])):
        changed[chance.randrange(end)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def spliced(data: bytes, chance: random.Random) -> bytes:
    """A region cut out, put elsewhere, doubled, overwritten or replaced by odd bytes."""
    begin, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    if chance.random() < 0.7:
        end = min(end, begin + chance.choice([1, 2, 4, 8, 30]))
    region, place = data[begin:end], chance.randrange(len(data) + 1)
    odd = b"".join(chance.choice(BYTES) for _ in range(chance.randrange(1, 9)))
    return chance.choice(
        [
            data[:begin] + data[end:],
            data[:place] + region + data[place:],
            data[:end] + region + data[end:],
            data[:place] + region + data[place + len(region) :],
            data[:place] + odd + data[place:],
            data[:begin] + odd + data[end:],
            data[:place],
            data + region,
        ]
    )


def relengthened(data: bytes, chance: random.Random) -> bytes:
    """Another length of the header."""
    length = int.from_bytes(data[:8], "little")
    other = chance.choice([*range(-9, 10), 100, length, -length, 2**22, 2**31, 2**63])
    return ((length + other) % 2**64).to_bytes(8, "little") + data[8:]


def nodes(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything in a JSON value."""
    found, pending = [], [value]
    while pending:
        one = pending.pop()
        if isinstance(one, dict | list):
            keys = list(one) if isinstance(one, dict) else range(len(one))
            found += [(one, key) for key in keys]
            pending += [one[key] for key in keys]
    return found


def edited(data: bytes, chance: random.Random) -> bytes:
    """The header or the description changed, as valid JSON."""
    header, description, body = unpack(data)
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        places = nodes(chance.choice([header, description, description.get("config")]))
        if not places:
            continue
        (holder, key), (other, other_key) = chance.choice(places), chance.choice(places)
        copied = copy.deepcopy(other[other_key])
        action = chance.randrange(6)
        if action == 0:
            del holder[key]
        elif action == 1:
            holder[key] = copied
        elif action == 2 and isinstance(holder, list):
            holder.insert(key, copied)
        elif action == 2:
            name = chance.choice(["x", str(other_key), "weight", "0", "3.bias", f"{key}.{key}"])
            holder[name] = holder.pop(key)
        elif action == 3 and isinstance(holder[key], int | float):
            holder[key] = chance.choice(NUMBERS)
        else:
            holder[key] = copy.deepcopy(chance.choice(VALUES))
    return pack(header, description, body)


def retuned(data: bytes, chance: random.Random) -> bytes:
    """Another number, or two, somewhere in the configuration."""
    header, description, body = unpack(data)
    places = [
        (holder, key)
        for holder, key in nodes(description["config"])
        if isinstance(holder[key], int | float)
    ]
    for holder, key in chance.choices(places, k=chance.choice([1, 1, 2])):
        holder[key] = chance.choice([*range(-2, 8), chance.choice(NUMBERS)])
    return pack(header, description, body)


def mutated(data: bytes, chance: random.Random) -> tuple[bytes, bool]:
    """A damaged file, and whether a checksum guards it: half get one that is right."""
    mutate = chance.choice([flipped, spliced, relengthened, edited, retuned, retuned])
    changed = mutate(data, chance)
    try:
        header, description, body = unpack(changed)
        checked = "checksum" in description
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return changed, True
    if chance.random() < 0.5:
        return pack(header, seal(header, description, body), body), False
    return changed, checked


def outcome(path: Path, sample: Sample, wanted: tuple[np.ndarray, ...], guarded: bool) -> str:
    """What becomes of a file; one that begins with "wrong" is a defect."""
    try:
        net = load_model(path)
    except ModelFileError:
        return "refused"
    except BaseException as error:
        return f"wrong: {error!r} when loaded"
    try:
        output = flat(net[-1](sample.x))
    except (TypeError, ValueError) as error:
        return f"wrong: {error!r} behind a checksum" if guarded else "cannot run"
    except BaseException as error:
        return f"wrong: {error!r} when called"
    equal = len(output) == len(wanted) and all(map(np.array_equal, output, wanted))
    if guarded and not equal:
        return "wrong: other outputs behind a checksum"
    return "equal" if equal else "another model"


def main(folder: Path, count: int, seed: int) -> None:
    warnings.simplefilter("ignore")  # square roots of negative variances, and the like
    chance = random.Random(seed)
    samples = list(SAMPLES.values())
    path = folder / "mutated.safetensors"
    files = [sample.write(path) for sample in samples]
    wanted = []
    for sample, data in zip(samples, files, strict=True):
        put(path, data)
        wanted.append(flat(load_model(path)[-1](sample.x)))
    start = peak_memory()
    # What asks for far too much gets a MemoryError, which is a defect.
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + 2**30,) * 2)
    outcomes, defects, slowest = Counter[str](), {}, 0.0
    for number in range(count):
        which = chance.randrange(len(samples))
        data, guarded = mutated(files[which], chance)
        put(path, data)
        begin = time.perf_counter()
        found = outcome(path, samples[which], wanted[which], guarded)
        slowest = max(slowest, time.perf_counter() - begin)
        if found.startswith("wrong"):
            defects[f"{number}: {found}"] = data.decode("latin-1")
        outcomes[found.partition(":")[0]] += 1
    peak = peak_memory() - start
    report = {"outcomes": outcomes, "slowest": slowest, "peak": peak, "defects": defects}
    print(json.dumps(report))


def peak_memory() -> int:
    """The most bytes that this process has held; getrusage would count its parent's too."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def address_space() -> int:
    """Bytes that this process has reserved."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
