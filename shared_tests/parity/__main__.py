"""Runs the backends side by side, joins their results and reports.

Exit status 0 when every cell is there and within its tolerance, 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from shared_tests.defaults import variants
from shared_tests.definition import INFERENCE_ONLY, PACKAGES, cells, definitions
from shared_tests.parity.join import Results, join
from shared_tests.parity.page import write_page
from shared_tests.parity.run import DONE, REFERENCE, journeys
from shared_tests.parity.table import print_table
from shared_tests.trainings import training_runs


@dataclass(frozen=True)
class Job:
    """A process that leaves a backend's results on a component, or on all, in a file."""

    backend: str
    component: str | None
    path: Path
    interpreter: str
    loads: tuple[str, ...] | None = None  # whose models it loads, once they are saved
    defaults: bool = False  # whether it shows what the framework's own defaults cost

    def command(self) -> list[str]:
        narrowed = ["--component", self.component] if self.component else []
        loads = [] if self.loads is None else ["--load", *self.loads]
        places = [self.backend, str(self.path), str(self.path.parent)]
        options = [*narrowed, *loads, *(["--defaults"] if self.defaults else [])]
        return [self.interpreter, "-m", "shared_tests.parity.run", *places, *options]

    def steps(self) -> int:
        """How many lines it will print."""
        if self.defaults:
            return len(variants(self.backend))
        if self.loads is not None:
            return len(journeys(self.backend, self.component, self.loads))
        if self.backend == REFERENCE:
            return len(cells(component=self.component))
        trained = training_runs(self.backend, self.component)
        return len(cells(self.backend, self.component)) + len(trained)

    def done(self) -> str:
        """What to say when it has ended."""
        if self.defaults:
            return f"{self.backend}: trained with its own defaults"
        what = "measured" if self.loads is None else "loaded the models of the others"
        return f"{self.backend}, {self.component or 'all components'}: {what}"

    def environment(self, theano_cache: Path) -> dict[str, str]:
        # Theano locks its compile directory: processes that share one take turns. Some of its
        # keys hold hashes of strings, which must not change for the compiled code to be found.
        flags = [f"base_compiledir={theano_cache / (self.component or 'all')}"]
        flags += filter(None, [os.environ.get("THEANO_FLAGS")])
        return {"THEANO_FLAGS": ",".join(flags), "PYTHONHASHSEED": "0"}


def main() -> int:
    arguments = parse()
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # a log has room for whole names
    interpreters = dict(pair.split("=", 1) for pair in arguments.python)
    chosen = {
        name: path
        for name, path in interpreters.items()
        if name in (arguments.backend or interpreters) and cells(name, arguments.component)
    }
    if not chosen:
        console.print(f"{', '.join(arguments.backend)}: nothing to do in {arguments.component}")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        jobs = plan({REFERENCE: sys.executable, **chosen}, arguments.component, Path(folder))
        if not arguments.component:
            jobs += plan_defaults(chosen, Path(folder))
        travels = plan(chosen, arguments.component, Path(folder), loads=tuple(chosen))
        run_all([jobs, travels], arguments.theano_cache, console)
        jobs += travels
        results = {
            name: Results.read(*(job.path for job in jobs if job.backend == name))
            for name in (REFERENCE, *chosen)
        }
    report = join(results, arguments.component)
    Path("parity.json").write_text(json.dumps(report, indent=1) + "\n")
    write_page(report, Path("parity.html"))
    print_table(report, console)
    console.print("written: parity.json, parity.html")
    return 0 if report["ok"] else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="parity", description=__doc__)
    parser.add_argument("--python", action="append", required=True, metavar="BACKEND=INTERPRETER")
    parser.add_argument("--theano-cache", type=Path, required=True, help="for its compiled code")
    parser.add_argument("--component", choices=[one.component for one in definitions()])
    parser.add_argument("--backend", action="append", choices=list(PACKAGES))
    return parser.parse_args()


def plan(
    interpreters: dict[str, str],
    component: str | None,
    folder: Path,
    loads: tuple[str, ...] | None = None,
) -> list[Job]:
    """One process per backend; Theano, which compiles each graph, gets one per component.

    The longest come first: the small ones then keep all cores busy to the end.
    """
    components = [component] if component else [one.component for one in definitions()]
    kind = "measured" if loads is None else "loaded"
    planned = [(name, component, name) for name in interpreters if name != "theano"]
    if "theano" in interpreters:
        planned += [("theano", one, f"theano-{one}") for one in components]
    jobs = [
        Job(name, part, folder / f"{file}-{kind}.npz", interpreters[name], loads)
        for name, part, file in planned
    ]
    return sorted(filter(Job.steps, jobs), key=Job.steps, reverse=True)


def plan_defaults(interpreters: dict[str, str], folder: Path) -> list[Job]:
    """A process for each framework."""
    return [
        Job(name, None, folder / f"{name}-defaults.npz", interpreter, defaults=True)
        for name, interpreter in interpreters.items()
        if name not in INFERENCE_ONLY
    ]


def run_all(rounds: list[list[Job]], theano_cache: Path, console: Console) -> None:
    """Run the jobs, as many at a time as there are cores, and show how far they are."""
    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("cases"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        tasks = {}
        for name in dict.fromkeys(job.backend for jobs in rounds for job in jobs):
            steps = [job.steps() for jobs in rounds for job in jobs if job.backend == name]
            tasks[name] = progress.add_task(name, total=sum(steps))

        def run(job: Job) -> None:
            start = time.perf_counter()
            with tempfile.TemporaryFile("w+") as log:
                process = subprocess.Popen(
                    job.command(),
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env={**os.environ, **job.environment(theano_cache)},
                )
                assert process.stdout is not None
                for line in process.stdout:
                    progress.advance(tasks[job.backend], line == DONE + "\n")
                if process.wait():
                    log.seek(0)
                    raise SystemExit(f"the {job.backend} backend stopped:\n{log.read()}")
            if not console.is_terminal:
                console.print(f"{job.done()}, {time.perf_counter() - start:.0f} s")

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for jobs in rounds:
                list(pool.map(run, jobs))


if __name__ == "__main__":
    sys.exit(main())
