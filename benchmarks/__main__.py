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
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import cold_start, harness
from benchmarks.measure import DONE, SHOWN, record
from benchmarks.report import growth_rows, target_rows
from benchmarks.table import print_tables
from fourfold.report.files import locked, replaced
from fourfold.report.progress import Progress
from fourfold.report.provenance import made
from fourfold.signals import Interrupted, interruptible

JSON, PAGE = Path("benchmarks.json"), Path("benchmarks.html")


def main() -> int:
    try:
        with interruptible(), locked(Path()) as free:
            if free:
                return benchmark(parse())
            print(
                f"benchmarks are run in {Path.cwd()}: expected them to end first", file=sys.stderr
            )
            return 2
    except Interrupted as error:
        print(f"stopped by {error}: there is no report", file=sys.stderr)
        return error.status


def benchmark(arguments: argparse.Namespace) -> int:
    start = time.perf_counter()
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # a log has room for whole names
    interpreters = dict(pair.split("=", 1) for pair in arguments.python)
    chosen = {name: harness.benchmark(name) for name in arguments.only or harness.names()}
    jobs = {
        environment: [name for name, one in chosen.items() if environment in one.contenders]
        for environment in SHOWN
    }
    for path in (JSON, PAGE):
        path.unlink(missing_ok=True)  # or an old one would be taken for this one's
    found = {}
    starts = "cold_start" in chosen
    total = {environment: len(names) for environment, names in jobs.items() if names}
    total |= {cold_start.PROCESS: 1} if starts else {}
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(console, total, "benchmarks") as progress,
    ):

        def done(line: str) -> None:
            progress.say(line)
            progress.advance(line.partition(",")[0])

        for environment, names in jobs.items():
            if names:
                path = Path(folder) / f"{environment}.json"
                command = [interpreters[environment], "-m", "benchmarks.measure", environment]
                quick = ["--quick"] if arguments.quick else []
                run([*command, str(path), *names, *quick], arguments.theano_cache, done)
                found[environment] = json.loads(path.read_text())
        if starts:
            started = found[cold_start.PROCESS] = {"versions": {}, "rows": {}, "errors": {}}
            measure = partial(cold_start.measure, interpreters, quick=arguments.quick)
            record(started, "cold_start", measure)
            done(f"{cold_start.PROCESS}, cold_start")
    options = {"only": arguments.only, "quick": arguments.quick}
    report = {
        "made": made(options, time.perf_counter() - start, Path(__file__).parents[1]),
        "threads": harness.threads(),
        "versions": {name: one["versions"] for name, one in found.items() if one["versions"]},
        "benchmarks": {name: summary(name, found) for name in chosen},
    }
    from benchmarks.page import write_page  # it imports matplotlib, which takes a second

    with replaced(JSON) as path:
        path.write_text(json.dumps(report, indent=1) + "\n")
    with replaced(PAGE) as path:
        write_page(report, path)
    print_tables(report, console)
    console.print("written: benchmarks.json, benchmarks.html")
    failures = [error for one in found.values() for error in one["errors"].values()]
    for error in failures:
        console.print(error, markup=False)
    return 1 if failures else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--python", action="append", required=True, metavar="NAME=INTERPRETER")
    parser.add_argument("--theano-cache", type=Path, required=True, help="for its compiled code")
    parser.add_argument("--quick", action="store_true", help="the smallest size, few rounds")
    parser.add_argument("--only", action="append", choices=harness.names(), metavar="NAME")
    return parser.parse_args()


def run(command: Sequence[str], theano_cache: Path, done: Callable[[str], None]) -> None:
    """The benchmarks of one environment, in a process of their own; done: told of each."""
    flags = [f"base_compiledir={theano_cache / 'bench'}", os.environ.get("THEANO_FLAGS")]
    settings = {
        "THEANO_FLAGS": ",".join(filter(None, flags)),
        "PYTHONHASHSEED": "0",  # or Theano does not find all of its compiled code again
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
    }
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, **settings},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith(DONE):
                    done(line.removeprefix(DONE).strip())
        except BaseException:
            process.kill()
            raise
        if process.wait():
            log.seek(0)
            raise SystemExit(f"{' '.join(command)}\n{log.read()}")


def summary(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """What all environments found of one benchmark, beside what was aimed at."""
    described = harness.benchmark(name)
    rows = [row for one in found.values() for row in one["rows"].get(name, ())]
    return {
        "title": described.title,
        "size": described.size,
        "rows": rows,
        "targets": target_rows(described, rows),
        "growth": growth_rows(described, rows),
        "errors": {
            environment: one["errors"][name].strip().splitlines()[-1]
            for environment, one in found.items()
            if name in one["errors"]
        },
    }


if __name__ == "__main__":
    sys.exit(main())
