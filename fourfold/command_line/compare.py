"""`fourfold compare`: prints a table, and its exit status says whether implementations agree."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from fourfold.command_line.failure import DIFFER, UNMEASURED, USAGE, Failure, not_installed
from fourfold.command_line.record import compared_files
from fourfold.ports import FRAMEWORKS
from fourfold.ports.case_file import CaseFile, CaseFileError
from fourfold.ports.comparison import compare as compared
from fourfold.ports.dumps import DumpComparison
from fourfold.ports.elsewhere import Elsewhere
from fourfold.ports.protocol import Training
from fourfold.ports.result import Comparison
from fourfold.report.provenance import made

HELP = """Hold implementations to each other, or to a reference, on the cases of CASE_FILE.

An implementation is MODULE:ATTRIBUTE: a function of arrays, a class that is built with a case's
options, or a module, layer or model. Where a framework occurs twice, name both:
LABEL=MODULE:ATTRIBUTE.

\b
CASE_FILE is Python and assigns
  CASES       fourfold.Case, one or several, or fourfold.cases_from_shapes(...)
  REFERENCE   optional: a float64 function of NumPy arrays, or the label of an implementation
  WEIGHTS     optional: {name: array}, or the label of the implementation that gives its own
  NAMES       optional: {label: {original name: its own name}}
  LAYOUTS, TOLERANCES, TRAINING, KIND   optional: as for fourfold.compare

\b
Examples:
  fourfold compare my_cases.py --torch mylib.focal:FocalLoss --keras mylib_tf.focal:FocalLoss
  fourfold compare my_cases.py --torch old=mylib.v1:Block --torch new=mylib.v2:Block
  fourfold compare my_cases.py --torch mylib:f --theano old:f --python theano=/env/bin/python
  fourfold compare my_cases.py --torch mylib:f --jax mylib_jax:f --training 20 --output result.json
  fourfold compare my_cases.py --torch mylib:model --keras mylib_tf:model --why
  fourfold compare original.npz port.npz     two files of `fourfold record`

\b
Exit status:
  0  they agree
  1  they differ
  2  the command or the case file was not understood
  3  what could be measured agrees, but something could not be
"""
DTYPES = ("float64", "float32", "float16", "bfloat16")


def implementation(framework: str) -> Callable[[Any], Any]:
    """The option of a framework, such as --torch."""
    found: Callable[[Any], Any] = click.option(
        f"--{framework}",
        multiple=True,
        metavar="[LABEL=]MODULE:ATTRIBUTE",
        help=f"An implementation in {framework}.",
    )
    return found


@click.command(help=HELP, short_help="Hold implementations to each other.")
@click.argument("case_file", type=click.Path(path_type=Path))
@click.argument("recorded", required=False, type=click.Path(path_type=Path))
@implementation("torch")
@implementation("keras")
@implementation("tensorflow")
@implementation("jax")
@implementation("theano")
@implementation("numpy")
@click.option(
    "--python",
    multiple=True,
    metavar="LABEL=PATH",
    help="The interpreter that measures an implementation, of another environment. It needs NumPy "
    "and the framework.",
)
@click.option("--timeout", type=click.FloatRange(1), metavar="S", help="Seconds for each --python.")
@click.option("--reference", metavar="LABEL", help="The one that all others are held to.")
@click.option("--case", "only", multiple=True, metavar="NAME", help="Compare this case alone.")
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    type=click.Choice(DTYPES),
    default=DTYPES[:2],
    show_default=True,
    help="May be given several times.",
)
@click.option("--gradients/--no-gradients", default=True, help="Compare gradients too, or not.")
@click.option("--training", type=click.IntRange(1), metavar="N", help="Compare N training steps.")
@click.option(
    "--optimizer",
    "optimizers",
    multiple=True,
    metavar="LABEL=MODULE:ATTRIBUTE",
    help="What takes an implementation's training steps: a function that makes an optimizer of its "
    "framework, or one of (weights, gradients, state). Each implementation needs one then.",
)
@click.option(
    "--why", is_flag=True, help="Where they differ, whether it is more than rounding, and why."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the result: .json for programs, .txt as it is printed, .html as a page.",
)
def compare(
    case_file: Path,
    recorded: Path | None,
    python: tuple[str, ...],
    timeout: float | None,
    reference: str | None,
    only: tuple[str, ...],
    dtypes: tuple[str, ...],
    gradients: bool,
    training: int | None,
    optimizers: tuple[str, ...],
    why: bool,
    as_json: bool,
    output: Path | None,
    **frameworks: tuple[str, ...],
) -> int:
    if output and output.suffix not in (".json", ".txt", ".html"):
        wanted = "a name ending in .json, .txt or .html"
        raise click.UsageError(f"--output: expected {wanted}, got {output}")
    as_page = page_writer() if output and output.suffix == ".html" else None
    if recorded:
        if any(frameworks.values()):
            raise click.UsageError("expected two files, or implementations, got both")
        if as_page:
            raise click.UsageError("--output: expected .json or .txt for two files, got .html")
        files = compared_files(case_file, recorded)
        show(files, as_json, output)
        return 0 if files else DIFFER
    start = time.monotonic()
    targets = labelled(frameworks)
    pythons = paired("--python", python, targets)
    folders = [os.getcwd(), str(case_file.resolve().parent)]
    implementations = {
        label: Elsewhere(target, pythons[label], folders, timeout) if label in pythons else target
        for label, target in targets.items()
    }
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what the user's code prints is no result
            file = CaseFile.read(case_file)
            options = {"dtypes": dtypes, "gradients": gradients, **file.arguments}
            options |= trained(training, paired("--optimizer", optimizers, targets), file.arguments)
            options |= {"reference": reference} if reference else {}
            found = compared(implementations, chosen(file, only), **options)
    except (CaseFileError, ValueError) as error:
        raise Failure(str(error), USAGE) from error
    explanation = explained(found) if why and not found and found.rows else ""
    if as_page and output:
        asked = {"case": list(only), "dtype": list(dtypes), "training": training}
        said = made(asked, time.monotonic() - start, case_file.resolve().parent)
        write(output, as_page(found, said, explanation))
        output = None
    show(found, as_json, output)
    if explanation:
        click.echo(explanation, err=as_json)
    return status(found)


def page_writer() -> Callable[..., str]:
    """The function that makes the page. Without its packages a failure that says the extra."""
    try:
        from fourfold.ports.page import comparison_page
    except ModuleNotFoundError as error:
        raise not_installed("--output", error.name or "") from error
    return comparison_page


def show(found: Comparison | DumpComparison, as_json: bool, output: Path | None) -> None:
    """Print a result, and write it to the file that is asked for."""
    if output:
        write(output, found.to_json() if output.suffix == ".json" else str(found))
    click.echo(found.to_json() if as_json else str(found))


def explained(found: Comparison) -> str:
    """Where two sides differ, whether rounding explains it, and why; or why that is not known."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return "\n".join(map(str, (found.where(), *found.matters(), found.why())))
    except Exception as error:  # of the user's code, which ran before, or of a side elsewhere
        return f"where and why: {type(error).__name__}: {error}"


def labelled(frameworks: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """{label: MODULE:ATTRIBUTE} of what the options name."""
    found: dict[str, str] = {}
    for framework in FRAMEWORKS:
        given = list(frameworks[framework])
        for text in given:
            name, equals, target = text.rpartition("=")
            if len(given) > 1 and not equals:
                raise click.UsageError(
                    f"--{framework}: expected LABEL=MODULE:ATTRIBUTE where there are several, "
                    f"got {text!r}"
                )
            label = f"{framework}:{name}" if name else framework
            if label in found:
                raise click.UsageError(
                    f"--{framework}: expected labels that differ, got {name!r} twice"
                )
            module, colon, attribute = target.partition(":")
            if not (module and colon and attribute):
                raise click.UsageError(f"--{framework}: expected MODULE:ATTRIBUTE, got {target!r}")
            found[label] = target
    if not found:
        names = ", ".join(f"--{one}" for one in FRAMEWORKS)
        raise click.UsageError(f"expected implementations, by {names}, got none")
    return found


def paired(option: str, texts: Iterable[str], labels: Iterable[str]) -> dict[str, str]:
    """{label: value} of an option LABEL=VALUE; a label may be given without its framework."""
    found = {}
    short = {label.partition(":")[2] or label: label for label in labels}
    for text in texts:
        name, equals, value = text.partition("=")
        label = name if name in labels else short.get(name)
        if not equals or label is None:
            known = ", ".join(labels)
            wanted = "LABEL=MODULE:ATTRIBUTE" if option == "--optimizer" else "LABEL=PATH"
            raise click.UsageError(
                f"{option}: expected {wanted} with a label of {known}, got {text!r}"
            )
        found[label] = value
    return found


def trained(
    steps: int | None, optimizers: Mapping[str, str], given: Mapping[str, Any]
) -> dict[str, Training]:
    """The training that is asked for: that of the case file, with these steps and optimizers."""
    stated = given.get("training", steps)
    if stated is None:
        if optimizers:
            raise click.UsageError("--optimizer: expected --training N with it, got none")
        return {}
    found = stated if isinstance(stated, Training) else Training(steps=stated)
    found = replace(found, steps=steps) if steps else found
    return {"training": replace(found, optimizer=optimizers) if optimizers else found}


def chosen(file: CaseFile, only: tuple[str, ...]) -> list[Any]:
    """The cases that are asked for. ValueError for a name that none has."""
    names = [case.name for case in file.cases]
    if unknown := [name for name in only if name not in names]:
        raise ValueError(f"--case: expected one of {', '.join(names)}, got {unknown[0]!r}")
    return [case for case in file.cases if not only or case.name in only]


def status(found: Comparison) -> int:
    """The exit status that says how a comparison came out."""
    if found:
        return 0
    return DIFFER if found.differing else UNMEASURED


def write(path: Path, text: str) -> None:
    """Write a file that is whole or not there."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise Failure.of(error, USAGE) from error
