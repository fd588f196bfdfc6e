"""Runs one benchmark in the environment it is started in, and leaves its rows in a file."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
from pathlib import Path

from benchmarks import harness

SHOWN = {
    "bench": ("torch", "pytorch-metric-learning", "onnxruntime", "hnswlib", "scipy", "numpy"),
    "tf2": ("tensorflow-cpu", "keras", "numpy"),
    "theano": ("theano-pymc", "numpy", "scipy"),
    "numpy": ("numpy",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=harness.names())
    parser.add_argument("environment", choices=list(SHOWN))
    parser.add_argument("output", type=Path)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    chosen = harness.benchmark(arguments.name)
    rows = harness.run(chosen, arguments.environment, quick=arguments.quick)
    versions = {name: importlib.metadata.version(name) for name in SHOWN[arguments.environment]}
    harness.write(rows, {"Python": platform.python_version(), **versions}, arguments.output)


if __name__ == "__main__":
    main()
