"""How a benchmark is described, checked and timed. Imports NumPy alone: it runs everywhere.

A file of this folder assigns `BENCHMARK`. In each environment that it names, its contenders are
built for a size, their results are compared in float64, and then they are timed in float32:
warmed up, one run of each in turn, medians over the rounds.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy as np

FLOOR = "floor"
AGREE = 1e-9  # of the largest entry, in float64
LEAST_SECONDS = 20e-3  # what is faster runs several times in a row, unless it is to be quick
WARMED_SECONDS = 50e-3  # what is faster runs once before it is timed
MOST_SECONDS = 20.0  # of one contender's rounds; what is slow gets fewer of them
QUICK_ROUNDS = 3
XEON = "two cores of a Xeon"  # where the reasons of missed targets were measured

Kind = TypeVar("Kind")
# What a contender returns: arrays of its framework, or none where there is nothing to compare.
Contender = Callable[[], Any]
# (size, dtype) -> {name: contender}
Contenders = Callable[[int, str], dict[str, Contender]]


@dataclass(frozen=True)
class Reason:
    """Why a target is missed, as it was found once: when, and on which machine."""

    why: str
    date: str
    machine: str


@dataclass(frozen=True)
class Target:
    """A ratio of medians that is aimed at: `contender` takes at most `most` times what `of` does.

    What is to be n times faster takes at most 1/n. memory: the ratio is of the peak memory, or,
    without `of`, the bytes. reason: why it is missed, with the measurement that shows it; said
    where it is, with its date and machine, as it was not measured in the same run.
    """

    environment: str
    contender: str
    of: str | None
    size: int
    most: float
    memory: bool = False
    reason: Reason | None = None


@dataclass(frozen=True)
class Benchmark:
    """What is timed: contenders by environment, and the sizes they are built for.

    size is what `sizes` counts, such as "rows". growth maps a contender to the exponent with
    which its time is expected to grow. differs names contenders whose results are known to be
    others, and says why: they are timed and not compared. thorough names contenders that a quick
    run leaves out, as they compile or run for long. rest: seconds before each turn, where several
    libraries have threads, which spin for a while when there is nothing left to do.
    """

    title: str
    size: str
    sizes: Sequence[int]
    contenders: Mapping[str, Contenders]
    targets: Sequence[Target] = ()
    growth: Mapping[str, float] | None = None
    differs: Mapping[str, str] | None = None
    thorough: Sequence[str] = ()
    rounds: int = 15
    rest: float = 0

    def kept(self, made: Mapping[str, Kind], *, quick: bool) -> dict[str, Kind]:
        """Those of the contenders that a run times."""
        return {name: one for name, one in made.items() if not (quick and name in self.thorough)}

    def turns(self, *, quick: bool) -> int:
        """How many rounds it has."""
        return QUICK_ROUNDS if quick else self.rounds


@dataclass(frozen=True)
class Row:
    """One contender at one size: median seconds of a run, and its peak memory beyond the inputs."""

    environment: str
    contender: str
    size: int
    seconds: float
    bytes: int | None


def benchmark(name: str) -> Benchmark:
    """That of the file with this name."""
    return importlib.import_module(f"benchmarks.{name}").BENCHMARK


def names() -> list[str]:
    """The files that hold a benchmark."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return [file.stem for file in files if re.search(r"^BENCHMARK = ", file.read_text(), re.M)]


def run(chosen: Benchmark, environment: str, *, quick: bool) -> list[Row]:
    """Check and time the contenders of an environment at every size; quick: at the smallest."""
    rows = []

    def contenders(size: int, dtype: str) -> dict[str, Contender]:
        return chosen.kept(chosen.contenders[environment](size, dtype), quick=quick)

    for size in chosen.sizes[: 1 if quick else None]:
        check_equal(contenders(size, "float64"), chosen.differs or {})
        gc.collect()
        timed_ones = contenders(size, "float32")
        rounds = chosen.turns(quick=quick)
        seconds = timed(timed_ones, rounds, rest=chosen.rest, quick=quick)
        rows += [
            Row(environment, name, size, seconds[name], peak_bytes(contender))
            for name, contender in timed_ones.items()
        ]
    return rows


def check_equal(contenders: Mapping[str, Contender], differs: Mapping[str, str]) -> None:
    """AssertionError unless all give what the first one does."""
    found = {name: arrays(run()) for name, run in contenders.items() if name not in differs}
    first, wanted = next(iter(found.items()))
    for name, got in found.items():
        assert len(got) == len(wanted), f"{name}: {len(got)} results, {first} has {len(wanted)}"
        for one, other in zip(got, wanted, strict=True):
            assert one.shape == other.shape, f"{name}: shape {one.shape}, {first} {other.shape}"
            error = np.abs(one - other).max(initial=0) / max(np.abs(other).max(initial=0), 1e-30)
            assert error <= AGREE, f"{name}: differs from {first} by {error:.2g}"


def arrays(results: Any) -> list[np.ndarray]:
    """Results of any framework as float64 arrays; sparse ones made dense."""
    if results is None:
        return []
    if isinstance(results, list | tuple):
        return [array for one in results for array in arrays(one)]
    if hasattr(results, "detach"):
        results = results.detach()
        results = results.to_dense() if results.is_sparse else results
    return [np.asarray(results, np.float64)]


def timed(
    contenders: Mapping[str, Contender], rounds: int, *, rest: float = 0, quick: bool = False
) -> dict[str, float]:
    """Median seconds of each: all of them in every round.

    What is fast runs once before its turn: the one before it may have emptied the caches.
    """
    least = LEAST_SECONDS / 10 if quick else LEAST_SECONDS
    once = {name: warm_seconds(run) for name, run in contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            if sum(seconds[name]) > MOST_SECONDS and len(seconds[name]) >= 3:
                continue
            time.sleep(rest)
            if once[name] < WARMED_SECONDS:
                run()
            seconds[name].append(turn_seconds(run, least))
    return {name: median(found) for name, found in seconds.items()}


def warm_seconds(run: Contender) -> float:
    """Of its second run."""
    run()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def turn_seconds(run: Contender, least: float) -> float:
    """The median of runs in a row, for at least so many seconds: the first wake the threads."""
    found: list[float] = []
    end = time.perf_counter() + least
    while True:
        start = time.perf_counter()
        run()
        now = time.perf_counter()
        found.append(now - start)
        if now >= end:
            return median(found)


def peak_bytes(run: Contender) -> int | None:
    """What a run takes at its peak beyond what was there; None where the system does not say."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # or the run before has left it enough
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = _status("VmRSS")
        run()
        return max(0, _status("VmHWM") - before)
    except OSError:
        return None


def _status(name: str) -> int:
    (line,) = [
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith(f"{name}:")
    ]
    return int(line.split()[1]) * 1024


def exponent(rows: Sequence[Row]) -> float:
    """With which the time of one contender grows, fitted over its sizes on logarithms."""
    sizes, seconds = zip(*((row.size, row.seconds) for row in rows), strict=True)
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def threads() -> int:
    """How many cores the frameworks will use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
