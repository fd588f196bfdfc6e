"""What Theano-PyMC 1.1.2 needs before it runs on Python 3.11.

Imported by the package's `__init__`, so `theano_impl` comes before `theano` in an import list.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

# Left unset, Theano asks NumPy for a build description that NumPy no longer keeps. Empty makes
# it use NumPy's own BLAS, at NumPy's speed.
_flags = os.environ.get("THEANO_FLAGS", "")
if "blas__ldflags" not in _flags:
    os.environ["THEANO_FLAGS"] = ",".join(filter(None, [_flags, "blas__ldflags="]))

import theano  # noqa: E402
import theano.sparse  # noqa: E402
from theano.graph.op import COp, ExternalCOp  # noqa: E402

# The C code of scan's inner loop does not compile against Python 3.11. Without this module,
# scan runs the same loop in Python.
sys.modules["theano.scan.scan_perform_ext"] = None  # type: ignore[assignment]


def _keep_compiled(op: type[COp]) -> None:
    """Theano takes `__props__ = ()` for an op without a version: it would be compiled again, half
    a second each, in every process that uses it. What else hangs on the name has been made."""
    for one in op.__subclasses__():
        if vars(one).get("__props__") == ():
            del one.__props__
        _keep_compiled(one)


_keep_compiled(COp)


def _read_once(load: Callable[[ExternalCOp, list[str]], None]) -> Callable[..., None]:
    """Theano reads an op's files of C code whenever one is made, as by each broadcast: that takes a
    tenth of the time of making a graph. What was read for a class and its files is kept."""
    kept: dict[tuple[object, ...], tuple[list[str], dict[str, str]]] = {}

    def load_c_code(op: ExternalCOp, func_files: list[str]) -> None:
        key = (type(op), *func_files)
        if key not in kept:
            load(op, func_files)
            kept[key] = op.func_codes, op.code_sections
        op.func_codes, op.code_sections = kept[key]

    return load_c_code


ExternalCOp.load_c_code = _read_once(ExternalCOp.load_c_code)

__all__ = ["theano"]
