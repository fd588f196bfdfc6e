"""Runs the backends side by side, joins their results and reports.

A component is joined, and said to agree or not, as soon as all backends are through with it. Exit
status 0 when every cell is there and within its tolerance, 1 otherwise.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from fourfold.definition import BACKENDS, INFERENCE_ONLY
from fourfold.project import cells, definitions
from fourfold.report.join import Results, combine, join
from fourfold.report.page import write_page
from fourfold.report.progress import Progress
from fourfold.report.run import REFERENCE, Task
from fourfold.report.schedule import Schedule, Worker
from fourfold.report.table import print_table, verdict

FIRST = 3  # components, the smallest, that come before the others, to show something early


def main() -> int:
    arguments = parse()
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # a log has room for whole names
    interpreters = dict(pair.split("=", 1) for pair in arguments.python)
    chosen = [
        name
        for name in interpreters
        if name in (arguments.backend or interpreters) and cells(name, arguments.component)
    ]
    if not chosen:
        console.print(f"{', '.join(arguments.backend)}: nothing to do in {arguments.component}")
        return 1
    start = time.perf_counter()
    interpreters[REFERENCE] = sys.executable
    with tempfile.TemporaryDirectory() as name:
        report = run(arguments, interpreters, chosen, Path(name), console)
    report["made"] = made(arguments, time.perf_counter() - start)
    Path("parity.json").write_text(json.dumps(report, indent=1) + "\n")
    console.print("writing parity.html")
    write_page(report, Path("parity.html"))
    print_table(report, console)
    console.print("written: parity.json, parity.html")
    return 0 if report["ok"] else 1


def parse() -> argparse.Namespace:
    # The components are known once the project is registered.
    before = argparse.ArgumentParser(add_help=False)
    before.add_argument("--project", required=True)
    importlib.import_module(before.parse_known_args()[0].project)
    parser = argparse.ArgumentParser(prog="nox -s parity --", description=__doc__)
    parser.add_argument("--project", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--python", action="append", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--theano-cache", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--component", choices=[one.component for one in definitions()])
    parser.add_argument("--backend", action="append", choices=BACKENDS)
    parser.add_argument(
        "--compiled",
        action="store_true",
        help="let Theano compile every graph with g++: the first time takes most of an hour",
    )
    return parser.parse_args()


def run(
    arguments: argparse.Namespace,
    interpreters: Mapping[str, str],
    chosen: Sequence[str],
    folder: Path,
    console: Console,
) -> dict[str, Any]:
    """Run all tasks, say of each component whether it agrees, and return the report."""
    tasks = plan(chosen, arguments.component)
    parts: dict[str, dict[str, Any]] = {}
    left = {one: [task for task in tasks if task.component == one] for one in components(tasks)}
    steps = Counter[str]()
    for task in tasks:
        steps[task.backend] += task.steps
    with Progress(console, steps, "steps") as progress:

        def start(task: Task) -> Worker:
            environment = theano_environment(task, arguments)
            return Worker(interpreters[task.backend], task.backend, folder, environment)

        def ended(task: Task) -> None:
            """Join the component if this was its last task."""
            if task.component is None:
                progress.say(f"{task.backend}: trained with its own defaults")
                return
            own = left[task.component]
            own.remove(task)
            if not own:
                done = [one for one in tasks if one.component == task.component]
                part = parts[task.component] = join(read(done, folder), task.component)
                progress.say(f"{task.component}: {verdict(part)}")

        def keep(task: Task) -> bool:
            """Whether the worker may go on: one that compiles has a cache for the component."""
            return not (arguments.compiled and task.backend == "theano")

        def step(task: Task) -> None:
            progress.advance(task.backend)

        Schedule(tasks, start, step, ended, keep=keep).run()
    with_defaults = read([task for task in tasks if task.work == "defaults"], folder)
    return combine([parts[name] for name in components(tasks)], with_defaults)


def plan(chosen: Sequence[str], component: str | None) -> list[Task]:
    """The tasks in the order in which they should start.

    A few small components come first, so that soon something can be said. Then come the frameworks'
    own defaults and the other components, the longest first: the small ones keep all cores busy to
    the end.
    """
    trained = [name for name in chosen if name not in INFERENCE_ONLY]
    named = [component] if component else [one.component for one in definitions()]
    tasks = {name: component_tasks(name, chosen, trained) for name in named}
    ordered = sorted(named, key=lambda name: sum(task.steps for task in tasks[name]))
    first, others = ordered[:FIRST], ordered[FIRST:][::-1]
    defaults = [] if component else [Task(name, "defaults") for name in trained]
    return [
        *(task for name in first for task in tasks[name]),
        *defaults,
        *(task for name in others for task in tasks[name]),
    ]


def component_tasks(component: str, chosen: Sequence[str], trained: Sequence[str]) -> list[Task]:
    """All that has to be done for a component, the longest first; loading comes last."""
    work = [Task(name, "measure", component) for name in (REFERENCE, *chosen)]
    work += [Task(name, "train", component) for name in trained]
    loads = [Task(name, "load", component, tuple(trained)) for name in chosen]
    found = [task for task in work if task.steps]
    return sorted(found, key=lambda task: -task.steps) + [task for task in loads if task.steps]


def components(tasks: Sequence[Task]) -> list[str]:
    """The components of these tasks, in the order of their names."""
    return sorted({task.component for task in tasks if task.component})


def read(tasks: Sequence[Task], folder: Path) -> dict[str, Results]:
    """What the tasks have left, by backend."""
    names = [name for name in (REFERENCE, *BACKENDS) if name in {task.backend for task in tasks}]
    return {
        name: Results.read(*(folder / task.file for task in tasks if task.backend == name))
        for name in names
    }


def theano_environment(task: Task, arguments: argparse.Namespace) -> dict[str, str]:
    """How Theano computes: as Python, unless it is asked to compile every graph."""
    if arguments.compiled:
        # Theano locks its compile directory: processes that share one take turns. Some of its
        # keys hold hashes of strings, which must not change for the compiled code to be found.
        flags = [f"base_compiledir={arguments.theano_cache / (task.component or 'all')}"]
    else:
        flags = ["cxx=", "optimizer=fast_compile", f"base_compiledir={arguments.theano_cache}"]
    flags += filter(None, [os.environ.get("THEANO_FLAGS")])
    return {"THEANO_FLAGS": ",".join(flags), "PYTHONHASHSEED": "0"}


def made(arguments: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """When, where and how a report was made."""
    options = {"component": arguments.component, "backend": arguments.backend}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "options": {name: value for name, value in options.items() if value}
        | {"compiled": arguments.compiled},
        "seconds": round(seconds),
    }


def commit() -> str | None:
    """The commit of this checkout, with a mark when it has been changed; None outside of one."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


if __name__ == "__main__":
    sys.exit(main())
