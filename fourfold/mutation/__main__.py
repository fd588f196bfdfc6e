"""python -m fourfold.mutation --project NAME BACKEND --edits 150 --seed 1

Tries a sample of the edits of a package's files and says which the tests did not see.
Outcomes are kept in a file: an edit is not tried again while the definition around it stays as it
is, unless it survived and --survivors asks for those. So a run may be stopped and taken up again.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import time
import tomllib
from collections import Counter
from functools import cache, partial
from pathlib import Path
from typing import Any

from fourfold.definition import BACKENDS
from fourfold.mutation.edits import Edit, edits
from fourfold.mutation.runner import outcome, passes_without_the_edit, preload, prepare
from fourfold.project import package, registered, tests_module


@cache
def all_edits(backend: str) -> list[Edit]:
    """Every edit of the files of a package."""
    root = registered().root
    paths = [path for path in (root / package(backend)).rglob("*.py") if path.stem[0] != "_"]
    files = sorted(path.relative_to(root).as_posix() for path in paths)
    return [one for file in files for one in edits(file, (root / file).read_text())]


def sample(found: list[Edit], count: int, seed: int) -> list[Edit]:
    """As many edits, drawn by their names: another version of the files keeps most of them."""

    def draw(edit: Edit) -> str:
        return hashlib.sha256(f"{seed} {edit.name}".encode()).hexdigest()

    # File by file, so that a file's tests are timed once.
    return sorted(sorted(found, key=draw)[:count], key=lambda edit: (edit.file, edit.line))


def equivalents() -> dict[str, str]:
    """{name of an edit: why no test can see it}."""
    known = tomllib.loads(tests_module().EQUIVALENT.read_text())["equivalent"]
    return {one["edit"]: one["why"] for one in known}


class Outcomes:
    """What became of the edits, in a file that is written after each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def of(self, edit: Edit) -> str | None:
        """caught, timeout or survived; None if it has not been tried as it is now."""
        found = self.kept.get(edit.name)
        return found["outcome"] if found and found["scope"] == edit.scope else None

    def keep(self, edit: Edit, what: str) -> None:
        self.kept[edit.name] = {"outcome": what, "scope": edit.scope}
        partial = self.path.with_suffix(".part")
        partial.write_text(json.dumps(self.kept, indent=1, ensure_ascii=False, sort_keys=True))
        os.replace(partial, self.path)


def run(backend: str, chosen: list[Edit], outcomes: Outcomes, again: bool, quick: bool) -> None:
    """Try those that have no outcome yet, or survived and are to be tried again."""
    known = equivalents()
    pending = [
        edit
        for edit in chosen
        if edit.name not in known
        and (outcomes.of(edit) is None or (again and outcomes.of(edit) == "survived"))
    ]
    preload(backend)
    right: set[tuple[tuple[str, ...], str]] = set()  # the tests that pass without an edit
    for number, edit in enumerate(pending, start=1):
        prepare(backend, edit)
        limit = partial(longest, backend, edit.file, quick)
        found = outcome(backend, edit.file, edit, quick, limit)
        failure = (found.arguments, found.test)
        if found.what == "caught" and failure not in right:
            if not passes_without_the_edit(found):
                raise SystemExit(f"{found.test} fails as {edit.file} is")
            right.add(failure)
        outcomes.keep(edit, found.what)
        by = f" by {found.test}" if found.test else ""
        print(
            f"{number}/{len(pending)} {found.what}, {found.seconds:.0f} s: {edit.name}{by}",
            flush=True,
        )


@cache
def longest(backend: str, file: str, quick: bool) -> float:
    """How many seconds the tests of a file may take with an edit, by what they take without."""
    as_it_is = outcome(backend, file, None, quick)
    if as_it_is.what != "survived":
        raise SystemExit(f"{as_it_is.test} fails as {file} is")
    return 4 * as_it_is.seconds


def report(backend: str, chosen: list[Edit], outcomes: Outcomes) -> None:
    known = equivalents()
    counts = Counter(
        "equivalent" if edit.name in known else outcomes.of(edit) or "not tried" for edit in chosen
    )
    seen = counts["caught"] + counts["timeout"]
    tried = seen + counts["survived"] + counts["equivalent"]
    share = (seen + counts["equivalent"]) / max(tried, 1)
    print(
        f"{package(backend)}: {tried} edits, {seen} caught ({counts['timeout']} by the clock), "
        f"{counts['equivalent']} equivalent, {counts['survived']} survived: {share:.1%}"
    )
    for edit in chosen:
        if outcomes.of(edit) == "survived" and edit.name not in known:
            print(f"  {edit.file}:{edit.line} {edit.name.partition(' ')[2]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", required=True, help="the module that registers the project")
    parser.add_argument("backend", choices=BACKENDS)
    parser.add_argument("--edits", type=int, default=150, help="how many, of each package")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    parser.add_argument("--component", help="of this file alone")
    parser.add_argument("--survivors", action="store_true", help="try those again that survived")
    parser.add_argument("--quick", action="store_true", help="without the tests that are slow")
    parser.add_argument("--report", action="store_true", help="try nothing, say what is known")
    parser.add_argument("--outcomes", type=Path, required=True, help="the folder of what is known")
    arguments = parser.parse_args()
    importlib.import_module(arguments.project)
    backend = arguments.backend
    found = [
        one for one in all_edits(backend) if arguments.component in (None, Path(one.file).stem)
    ]
    chosen = sample(found, arguments.edits, arguments.seed)
    arguments.outcomes.mkdir(parents=True, exist_ok=True)
    outcomes = Outcomes(arguments.outcomes / f"{backend}.json")
    begin = time.monotonic()
    if not arguments.report:
        print(f"{package(backend)}: {len(chosen)} of {len(found)} edits", flush=True)
        run(backend, chosen, outcomes, arguments.survivors, arguments.quick)
        print(f"{time.monotonic() - begin:.0f} s")
    report(backend, chosen, outcomes)


if __name__ == "__main__":
    main()
