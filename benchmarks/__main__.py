"""Runs the benchmarks, each in the environments it names, and prints one table.

Writes benchmarks.json and benchmarks.html. Exit status 0 when all ran: a target that is missed is
shown, and is no failure.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from benchmarks import harness
from benchmarks.page import write_page
from benchmarks.report import growth_rows, target_rows
from benchmarks.table import print_tables


def main() -> int:
    arguments = parse()
    interpreters = dict(pair.split("=", 1) for pair in arguments.python)
    chosen = arguments.only or harness.names()
    jobs = [(name, one) for name in chosen for one in harness.benchmark(name).contenders]
    report: dict[str, Any] = {"threads": harness.threads(), "versions": {}, "benchmarks": {}}
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # a log has room for whole names
    with tempfile.TemporaryDirectory() as folder, Progress(console=console) as progress:
        for name, environment in progress.track(jobs, description="benchmarks"):
            progress.console.print(f"{name}, {environment}")
            path = Path(folder) / "rows.json"
            measure(interpreters[environment], name, environment, path, arguments)
            found = json.loads(path.read_text())
            report["versions"][environment] = found["versions"]
            report["benchmarks"].setdefault(name, {"rows": []})["rows"] += found["rows"]
    for name, one in report["benchmarks"].items():
        described = harness.benchmark(name)
        one["title"], one["size"] = described.title, described.size
        one["targets"] = target_rows(described, one["rows"])
        one["growth"] = growth_rows(described, one["rows"])
    Path("benchmarks.json").write_text(json.dumps(report, indent=1) + "\n")
    write_page(report, Path("benchmarks.html"))
    print_tables(report, console)
    console.print("written: benchmarks.json, benchmarks.html")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--python", action="append", required=True, metavar="NAME=INTERPRETER")
    parser.add_argument("--theano-cache", type=Path, required=True, help="for its compiled code")
    parser.add_argument("--quick", action="store_true", help="two sizes, few rounds")
    parser.add_argument("--only", action="append", choices=harness.names(), metavar="NAME")
    return parser.parse_args()


def measure(
    interpreter: str, name: str, environment: str, path: Path, arguments: argparse.Namespace
) -> None:
    """One benchmark in one environment, in a process of its own."""
    quick = ["--quick"] if arguments.quick else []
    command = [interpreter, "-m", "benchmarks.measure", name, environment, str(path), *quick]
    flags = [f"base_compiledir={arguments.theano_cache / 'bench'}", os.environ.get("THEANO_FLAGS")]
    settings = {
        "THEANO_FLAGS": ",".join(filter(None, flags)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        command, env={**os.environ, **settings}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    if done.returncode:
        raise SystemExit(f"{name}, {environment}:\n{done.stderr.decode()}")


if __name__ == "__main__":
    sys.exit(main())
