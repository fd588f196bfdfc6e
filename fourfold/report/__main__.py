"""Runs the backends side by side, joins their results and reports.

A component is joined, and said to agree or not, as soon as all backends are through with it. Exit
status 0 when every comparison is there and within its tolerance, 1 when not, 2 when there was
nothing to run, 128 and the number of the signal when one has ended it.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":  # Ctrl-C during the imports is no error
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from threading import Lock
from typing import Any, NoReturn

from rich.console import Console

from fourfold.definition import BACKENDS, BROWSER, INFERENCE_ONLY
from fourfold.project import browser_lacks, cells, definitions, registered
from fourfold.report.files import locked, replaced
from fourfold.report.join import Results, combine, join
from fourfold.report.progress import Progress
from fourfold.report.provenance import made
from fourfold.report.run import REFERENCE, REFUSED, Task
from fourfold.report.schedule import TIMEOUT, Schedule, Stopped, Worker
from fourfold.report.table import print_table, verdict
from fourfold.signals import Interrupted, interruptible

FIRST = 3  # components, the smallest, that come before the others, to show something early
COMPILED_TIMEOUT = 1800.0  # seconds without a step when Theano compiles its graphs
SHOWN_LINES = 20  # of what a worker has printed before it stopped
JSON, PAGE = Path("parity.json"), Path("parity.html")


class Unusable(Exception):
    """Arguments with which nothing can be run: why, in one line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Make a report in the current folder. Returns the exit status.

    argv: the arguments, those of the process when it is None.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # a log has room for whole names
    try:
        with interruptible():
            return report(parse(argv), console)
    except Unusable as error:
        print(error, file=sys.stderr)
        return 2
    except Interrupted as error:
        print(f"stopped by {error}: there is no report", file=sys.stderr)
        return error.status


def report(arguments: argparse.Namespace, console: Console) -> int:
    interpreters = dict(pair.split("=", 1) for pair in arguments.python)
    in_browser = interpreters.pop(BROWSER, None)
    chosen = choose(arguments, interpreters)
    not_run = browser_not_run(arguments, in_browser)
    if in_browser and not not_run:
        interpreters[BROWSER] = in_browser
    arguments.device = devices(arguments.device, interpreters)
    start = time.perf_counter()
    interpreters[REFERENCE] = sys.executable
    with locked(Path()) as free:
        if not free:
            raise Unusable(
                f"another report is being made in {Path.cwd()}: expected it to end first"
            )
        for path in (JSON, PAGE):
            path.unlink(missing_ok=True)  # or an old one would be taken for this one's
        with tempfile.TemporaryDirectory() as folder:
            found = run(arguments, interpreters, chosen, Path(folder), console)
        options = {name: getattr(arguments, name) for name in ("component", "backend", "device")}
        narrowed = {name: value for name, value in options.items() if value}
        asked = narrowed | {"compiled": arguments.compiled}
        found["browser"] = not_run or "run"
        found["made"] = made(asked, time.perf_counter() - start, registered().root)
        with replaced(JSON) as path:
            path.write_text(json.dumps(found, indent=1) + "\n")
        console.print("writing parity.html")
        from fourfold.report.page import write_page  # it imports matplotlib, which takes a second

        with replaced(PAGE) as path:
            write_page(found, path)
    print_table(found, console)
    console.print("written: parity.json, parity.html")
    return 0 if found["ok"] else 1


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise Unusable(message)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = Parser(prog="nox -s parity --", description=__doc__)
    parser.add_argument("--project", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--python", action="append", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--theano-cache", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--component", action="append", help="one of them, or again for more")
    parser.add_argument("--backend", action="append", help="one of them, or again for more")
    parser.add_argument(
        "--compiled",
        action="store_true",
        help="let Theano compile every graph with g++: the first time takes most of an hour",
    )
    parser.add_argument(
        "--browser",
        action="store_true",
        help="load the models in a browser too, where Chromium and Node.js are there",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="without a step, after which a backend is killed: "
        f"{TIMEOUT:g}, or {COMPILED_TIMEOUT:g} with --compiled",
    )
    parser.add_argument(
        "--device",
        action="append",
        default=[],
        metavar="BACKEND=DEVICE",
        help="where a backend computes, such as torch=cuda; the CPU when left out",
    )
    arguments = parser.parse_args(argv)
    importlib.import_module(arguments.project)
    if arguments.timeout is None:
        arguments.timeout = COMPILED_TIMEOUT if arguments.compiled else TIMEOUT
    return arguments


def choose(arguments: argparse.Namespace, interpreters: Mapping[str, str]) -> list[str]:
    """The backends to run. Unusable where a name or an interpreter is no good."""
    known = [one.component for one in definitions()]
    check_names("component", arguments.component or (), known)
    check_names("backend", arguments.backend or (), BACKENDS)
    asked = arguments.backend or list(interpreters)
    chosen = [
        name
        for name in asked
        if any(cells(name, component) for component in arguments.component or [None])
    ]
    for name in chosen:
        path = interpreters.get(name, "none")
        if shutil.which(path) is None:
            raise Unusable(f"python: expected an interpreter for {name}, got {path}")
    if not chosen:
        raise Unusable(
            f"backend: expected one that has {', '.join(arguments.component)}, "
            f"got {', '.join(asked)}"
        )
    return chosen


def browser_not_run(arguments: argparse.Namespace, interpreter: str | None) -> str:
    """Why no model is loaded in a browser, in one line; empty where they are."""
    if not arguments.browser:
        return "not run: not asked for, by --browser"
    if lacks := browser_lacks():
        return f"not run: {lacks}"
    return "" if interpreter else "not run: python: expected an interpreter for browser, got none"


def devices(pairs: Sequence[str], interpreters: Mapping[str, str]) -> dict[str, str]:
    """{backend: device} of pairs BACKEND=DEVICE. Unusable where a backend does not have its own."""
    found = {}
    for pair in pairs:
        name, _, device = pair.partition("=")
        if name not in interpreters or not device:
            known = " or ".join(interpreters)
            raise Unusable(f"device: expected {known}, = and a device, got {pair}")
        command = [interpreters[name], "-m", "fourfold.report.run", registered().name, name, "."]
        command += ["--device", device]
        tried = subprocess.run(command, capture_output=True, text=True, input="", check=False)
        if tried.returncode == REFUSED:
            raise Unusable(f"{name}: {tried.stderr.strip()}")
        found[name] = device
    return found


def check_names(argument: str, names: Sequence[str], known: Collection[str]) -> None:
    """Unusable for a name that is not known, or is there twice."""
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise Unusable(f"{argument}: expected one of {', '.join(known)}, got {name}{hint}")
        if names.count(name) > 1:
            raise Unusable(f"{argument}: expected each name once, got {name} twice or more")


def run(
    arguments: argparse.Namespace,
    interpreters: Mapping[str, str],
    chosen: Sequence[str],
    folder: Path,
    console: Console,
) -> dict[str, Any]:
    """Run all tasks, say of each component whether it agrees, and return the report."""
    tasks = plan(chosen, arguments.component, in_browser=BROWSER in interpreters)
    parts: dict[str, dict[str, Any]] = {}
    left = {one: [task for task in tasks if task.component == one] for one in components(tasks)}
    stopped: dict[Task, Stopped] = {}
    lock = Lock()
    steps = Counter[str]()
    for task in tasks:
        steps[task.backend] += task.steps
    with Progress(console, steps, "steps") as progress:

        def start(task: Task) -> Worker:
            environment = theano_environment(task, arguments)
            path = interpreters[task.backend]
            device = arguments.device.get(task.backend)
            return Worker(path, task.backend, folder, environment, arguments.timeout, device)

        def ended(task: Task, reason: Stopped | None) -> None:
            """Join the component if this was its last task."""
            if reason:
                with lock:
                    said = str(reason) in map(str, stopped.values())
                    stopped[task] = reason
                if not said:
                    progress.say(f"{task.backend}, {task.component or task.work}: {reason}")
                    progress.show(reason.output.splitlines()[-SHOWN_LINES:])
            elif task.component is None:
                progress.say(f"{task.backend}: trained with its own defaults")
            if task.component is None:
                return
            with lock:
                left[task.component].remove(task)
                is_last = not left[task.component]
            if is_last:
                done = [one for one in tasks if one.component == task.component]
                part = parts[task.component] = join(read(done, folder, stopped), task.component)
                progress.say(f"{task.component}: {verdict(part)}")

        def keep(task: Task) -> bool:
            """Whether the worker may go on: one that compiles has a cache for the component."""
            return not (arguments.compiled and task.backend == "theano")

        def step(task: Task) -> None:
            progress.advance(task.backend)

        Schedule(tasks, start, step, ended, keep=keep).run()
    with_defaults = read([task for task in tasks if task.work == "defaults"], folder, stopped)
    return combine([parts[name] for name in components(tasks)], with_defaults)


def plan(
    chosen: Sequence[str], narrowed: Sequence[str] | None, *, in_browser: bool = False
) -> list[Task]:
    """The tasks in the order in which they should start; narrowed: to these components.

    A few small components come first, so that soon something can be said. Then come the frameworks'
    own defaults and the other components, the longest first: the small ones keep all cores busy to
    the end.
    """
    trained = [name for name in chosen if name not in INFERENCE_ONLY]
    known = narrowed or [one.component for one in definitions()]
    named = [one for one in known if any(cells(name, one) for name in chosen)]
    loaders = [*chosen, BROWSER] if in_browser else chosen
    tasks = {name: component_tasks(name, chosen, trained, loaders) for name in named}
    ordered = sorted(named, key=lambda name: sum(task.steps for task in tasks[name]))
    first, others = ordered[:FIRST], ordered[FIRST:][::-1]
    defaults = [] if narrowed else [Task(name, "defaults") for name in trained]
    return [
        *(task for name in first for task in tasks[name]),
        *defaults,
        *(task for name in others for task in tasks[name]),
    ]


def component_tasks(
    component: str, chosen: Sequence[str], trained: Sequence[str], loaders: Sequence[str]
) -> list[Task]:
    """All that has to be done for a component, the longest first; loading comes last."""
    work = [Task(name, "measure", component) for name in (REFERENCE, *chosen)]
    work += [Task(name, "train", component) for name in trained]
    loads = [Task(name, "load", component, tuple(trained)) for name in loaders]
    found = [task for task in work if task.steps]
    return sorted(found, key=lambda task: -task.steps) + [task for task in loads if task.steps]


def components(tasks: Sequence[Task]) -> list[str]:
    """The components of these tasks, in the order of their names."""
    return sorted({task.component for task in tasks if task.component})


def read(
    tasks: Sequence[Task], folder: Path, stopped: Mapping[Task, Stopped]
) -> dict[str, Results]:
    """What the tasks have left, by backend."""
    there = {task.backend for task in tasks}
    names = [name for name in (REFERENCE, *BACKENDS, BROWSER) if name in there]
    return {
        name: Results.read([task for task in tasks if task.backend == name], folder, stopped)
        for name in names
    }


def theano_environment(task: Task, arguments: argparse.Namespace) -> dict[str, str]:
    """How Theano computes: as Python, unless it is asked to compile every graph."""
    if arguments.compiled:
        # Theano locks its compile directory: processes that share one take turns. Some of its
        # keys hold hashes of strings, which must not change for the compiled code to be found.
        flags = [f"base_compiledir={arguments.theano_cache / (task.component or 'all')}"]
    else:
        # Most graphs run once: rewriting one takes longer than it saves, and so does noting for
        # every node which line made it. Equal nodes are merged; graphs within a graph unpacked.
        flags = ["cxx=", "optimizer=merge", "optimizer_including=inline_ofg_expansion"]
        flags += ["traceback__limit=0", f"base_compiledir={arguments.theano_cache}"]
    flags += filter(None, [os.environ.get("THEANO_FLAGS")])
    return {"THEANO_FLAGS": ",".join(flags), "PYTHONHASHSEED": "0"}


if __name__ == "__main__":
    sys.exit(main())
