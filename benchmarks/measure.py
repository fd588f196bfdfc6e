"""Runs benchmarks in the environment it is started in, and leaves their rows in a file."""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import platform
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import harness

DONE = "measured: "  # begins a line for each benchmark, for whoever waits
SHOWN = {
    "bench": ("torch", "pytorch-metric-learning", "onnxruntime", "hnswlib", "scipy", "numpy"),
    "tf2": ("tensorflow-cpu", "keras", "numpy"),
    "theano": ("theano-pymc", "numpy", "scipy"),
    "numpy": ("numpy",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment", choices=list(SHOWN))
    parser.add_argument("output", type=Path)
    parser.add_argument("names", nargs="+", choices=harness.names())
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    environment = arguments.environment
    gc.set_threshold(50_000, 20, 20)  # graphs are many objects that stay: look at them less often
    versions = {name: importlib.metadata.version(name) for name in SHOWN[environment]}
    found: dict[str, Any] = {"versions": {"Python": platform.python_version(), **versions}}
    found |= {"rows": {}, "errors": {}}
    for name in arguments.names:
        start = time.perf_counter()
        one = harness.benchmark(name)
        record(found, name, partial(harness.run, one, environment, quick=arguments.quick))
        print(f"{DONE}{environment}, {name}: {time.perf_counter() - start:.0f} s", flush=True)
    arguments.output.write_text(json.dumps(found))


def record(found: dict[str, Any], name: str, measure: Callable[[], list[harness.Row]]) -> None:
    """Keep the rows of a benchmark, or why there are none: the others go on."""
    try:
        found["rows"][name] = [vars(row) for row in measure()]
    except Exception:  # whatever it is, the report says it
        found["errors"][name] = traceback.format_exc()


if __name__ == "__main__":
    main()
