"""The command line that all programs have."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click

from examples.support import results
from examples.support.options import FRAMEWORKS, Options, Report
from examples.support.progress import TrainingProgress

Run = Callable[[Options, Report], results.Quality]


def command(
    program: str, run: Run, *, data: str | None = None, frameworks: tuple[str, ...] = FRAMEWORKS
) -> click.Command:
    """The command of a program: it runs, prints its quality and says what it has written.

    Args:
        program: the name of its folder.
        run: what it does with the options.
        data: what the user may give as data; None when the program takes none.
        frameworks: those that it trains in, the first is the default; none where NumPy does all.
    """

    def main(
        seed: int,
        output: Path,
        data: Path | None,
        quick: bool,
        plots: bool,
        framework: str = "numpy",
        start: Path | None = None,
    ) -> None:
        begin = time.monotonic()
        output.mkdir(parents=True, exist_ok=True)
        options = Options(framework, seed, output, data, start, quick, plots)
        with TrainingProgress(program) as progress:
            quality = run(options, progress)
        results.show(f"{program}, {framework}", quality)
        results.write(output, quality)
        click.echo(f"{time.monotonic() - begin:.0f} s; wrote {', '.join(written(output))}")

    existing = click.Path(exists=True, path_type=Path)
    parameters: list[click.Parameter] = [
        click.Option(
            ["--seed"], type=click.IntRange(0), default=1, show_default=True, help="Of everything."
        ),
        click.Option(
            ["--output"],
            type=click.Path(file_okay=False, path_type=Path),
            default=f"results/{program}",
            show_default=True,
            help="Folder of the model file, the plots and results.json.",
        ),
        click.Option(["--data"], type=existing, help=data, hidden=data is None),
        click.Option(["--quick"], is_flag=True, help="Little data and few steps, to try it out."),
        click.Option(["--plots/--no-plots"], default=True, show_default=True, help="Draw."),
    ]
    if frameworks:
        choice = click.Choice(frameworks)
        shown = {"default": frameworks[0], "show_default": True, "help": "What trains."}
        again = "A model file of an earlier run, of any framework, to go on from."
        parameters += [
            click.Option(["--framework"], type=choice, **shown),
            click.Option(["--start"], type=existing, help=again),
        ]
    name, text = f"python -m examples.{program}", run.__doc__
    return click.Command(name, callback=guarded(main), params=parameters, help=text)


def guarded(main: Callable[..., None]) -> Callable[..., None]:
    """A command whose bad input is one line and the exit status 1, not a traceback."""

    def run(**arguments: object) -> None:
        try:
            main(**arguments)
        except (OSError, ValueError) as error:
            raise click.ClickException(str(error)) from error

    return run


def written(folder: Path) -> list[str]:
    """The files of a folder, sorted."""
    return sorted(str(path) for path in folder.iterdir() if path.is_file())
