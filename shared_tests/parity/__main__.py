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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from shared_tests.definition import cells, definitions
from shared_tests.parity.join import Results, join
from shared_tests.parity.page import write_page
from shared_tests.parity.run import REFERENCE
from shared_tests.parity.table import print_table


def main() -> int:
    arguments = parse()
    console = Console()
    interpreters = dict(pair.split("=", 1) for pair in arguments.python)
    if arguments.backend:
        interpreters = {name: interpreters[name] for name in arguments.backend}
    interpreters = {
        name: path for name, path in interpreters.items() if cells(name, arguments.component)
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = measure(
            {REFERENCE: sys.executable, **interpreters},
            arguments.component,
            Path(folder),
            console,
        )
        report = join(
            {name: Results.read(path) for name, path in paths.items()}, arguments.component
        )
    Path("parity.json").write_text(json.dumps(report, indent=1) + "\n")
    write_page(report, Path("parity.html"))
    print_table(report, console)
    console.print("written: parity.json, parity.html")
    return 0 if report["ok"] else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="parity", description=__doc__)
    parser.add_argument("--python", action="append", required=True, metavar="BACKEND=INTERPRETER")
    parser.add_argument("--component", choices=[one.component for one in definitions()])
    parser.add_argument("--backend", action="append", choices=["torch", "tf2", "theano", "numpy"])
    return parser.parse_args()


def measure(
    interpreters: dict[str, str], component: str | None, folder: Path, console: Console
) -> dict[str, Path]:
    """Run each backend in its own environment, as many at a time as there are cores."""
    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("cases"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:

        def one(name: str) -> Path:
            task = progress.add_task(name, total=None)
            path = folder / f"{name}.npz"
            command = [interpreters[name], "-m", "shared_tests.parity.run", name, str(path)]
            command += ["--component", component] if component else []
            with tempfile.TemporaryFile("w+") as log:
                process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
                assert process.stdout is not None
                for line in process.stdout:
                    if line.startswith("progress "):
                        done, total = map(int, line.split()[1:])
                        progress.update(task, completed=done, total=total)
                if process.wait():
                    log.seek(0)
                    raise SystemExit(f"the {name} backend stopped:\n{log.read()}")
            if not console.is_terminal:
                console.print(f"{name}: done")
            return path

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return dict(zip(interpreters, pool.map(one, interpreters), strict=True))


if __name__ == "__main__":
    sys.exit(main())
