"""A user's file of cases: it assigns `CASES`, and what else `fourfold.compare` takes."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from fourfold.definition import Case

# What a file may assign besides CASES, and the argument of `fourfold.compare` for it.
ARGUMENTS = {
    "REFERENCE": "reference",
    "WEIGHTS": "weights",
    "NAMES": "names",
    "LAYOUTS": "layouts",
    "TOLERANCES": "tolerances",
    "TRAINING": "training",
    "KIND": "kind",
}


class CaseFileError(ValueError):
    """A file that cannot be run, or assigns no cases: the message says what is wrong with it."""


@dataclass(frozen=True)
class CaseFile:
    """What a file assigns.

    Args:
        cases: those of `CASES`.
        arguments: further arguments of `fourfold.compare`.
    """

    cases: list[Case]
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> CaseFile:
        """Run a file.

        It can import what lies beside it and in the folder where the program was started; so can
        the names of implementations, "module:attribute".

        Raises:
            CaseFileError: the file is not there, raises an error, or assigns no cases.
        """
        assigned = vars(_imported(path))
        cases = assigned.get("CASES")
        listed = [cases] if isinstance(cases, Case) else cases
        if not isinstance(listed, list | tuple) or not listed:
            got = "nothing" if cases is None else repr(cases)[:99]
            raise CaseFileError(f"{path}: CASES: expected a Case or several, got {got}")
        for case in listed:
            if not isinstance(case, Case):
                raise CaseFileError(f"{path}: CASES: expected Cases only, got {case!r:.99}")
        found = {ARGUMENTS[name]: value for name, value in assigned.items() if name in ARGUMENTS}
        return cls(list(listed), found)


def _imported(path: Path) -> ModuleType:
    """The file as a module."""
    for folder in (Path.cwd(), path.resolve().parent):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise CaseFileError(f"{path}: expected a file of Python, its name ending in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # for implementations in the same file
    try:
        spec.loader.exec_module(module)
    except FileNotFoundError as error:
        if error.filename == spec.origin:
            raise CaseFileError(f"{path}: {error.strerror}") from error
        raise CaseFileError(f"{path}: {_said(error)}") from error
    except (Exception, SystemExit) as error:  # whatever the user's file raises
        raise CaseFileError(f"{path}: {_said(error)}") from error
    return module


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
