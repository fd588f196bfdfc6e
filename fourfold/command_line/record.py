"""`fourfold record`, and the comparison of what it has written: sides that never meet."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from fourfold.command_line.failure import UNMEASURED, USAGE, Failure
from fourfold.ports import FRAMEWORKS, dumps
from fourfold.ports.case_file import CaseFile, CaseFileError

HELP = """Run one implementation, and keep what it and its inner modules gave in a .npz file.

CASE_FILE is that of `fourfold compare`; its first case is run, or the one that --case names.
`fourfold compare ORIGINAL.npz PORT.npz` holds two such files to each other, on any machine, on any
day, with NumPy alone: the outputs, the gradients of the inputs, and the inner modules in pairs.

\b
Examples:
  fourfold record my_cases.py --torch mylib:model --output original.npz
  fourfold record my_cases.py --keras mylib_tf:model --output port.npz --case ordinary
  fourfold compare original.npz port.npz

Nothing in a file can be code.
"""


@click.command(help=HELP, short_help="Keep what an implementation gave in a file.")
@click.argument("case_file", type=click.Path(path_type=Path))
@click.option("--torch", metavar="MODULE:ATTRIBUTE")
@click.option("--keras", metavar="MODULE:ATTRIBUTE")
@click.option("--tensorflow", metavar="MODULE:ATTRIBUTE")
@click.option("--jax", metavar="MODULE:ATTRIBUTE")
@click.option("--theano", metavar="MODULE:ATTRIBUTE")
@click.option("--numpy", metavar="MODULE:ATTRIBUTE")
@click.option("--case", "name", metavar="NAME", help="The case to run; by default the first.")
@click.option(
    "--dtype", type=click.Choice(("float64", "float32")), default="float32", show_default=True
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE.npz",
    help="The file to write.",
)
def record(
    case_file: Path,
    name: str | None,
    dtype: str,
    output: Path,
    **frameworks: str | None,
) -> int:
    given = {one: target for one in FRAMEWORKS if (target := frameworks[one])}
    if len(given) != 1:
        names = ", ".join(f"--{one}" for one in FRAMEWORKS)
        raise click.UsageError(f"expected one implementation, by {names}, got {len(given)}")
    ((framework, target),) = given.items()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what the user's code prints is no result
            cases = {case.name: case for case in CaseFile.read(case_file).cases}
        if name is not None and name not in cases:
            raise ValueError(f"--case: expected one of {', '.join(cases)}, got {name!r}")
        case = cases[name] if name is not None else next(iter(cases.values()))
    except (CaseFileError, ValueError) as error:
        raise Failure(str(error), USAGE) from error
    try:
        with contextlib.redirect_stdout(sys.stderr):
            dump = dumps.record(target, case, output, framework, dtype=dtype)
    except Exception as error:
        raise Failure(f"{framework}: {type(error).__name__}: {error}", UNMEASURED) from error
    click.echo(
        f"{output}: {case.name}, {dtype}, {len(dump.quantities)} outputs and gradients, "
        f"{len(dump.calls)} calls of inner modules"
    )
    return 0


def compared_files(a: Path, b: Path) -> dumps.DumpComparison:
    """Hold two files of `fourfold record` to each other."""
    try:
        return dumps.compare(a, b)
    except (OSError, ValueError) as error:
        raise Failure.of(error, USAGE) from error
