"""The command line: `python -m numpy_infer describe | predict | check | weights`.

`describe` and `check` know the files of models and of indexes, predict those of models, and
`weights` those of other tools too.

It ends with 0 when all is well, with 1 and one line that says what is wrong with a file, and with
2 for a command that it does not understand.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from numpy_infer import model_file
from numpy_infer.format import weight_listing
from numpy_infer.format.description import describe
from numpy_infer.format.page import page, summary
from numpy_infer.format.tables import harmless, shown
from numpy_infer.prediction import predict
from numpy_infer.sparse_projection import SparseMatrix
from numpy_infer.support.command_parser import parser
from numpy_infer.support.input_files import Failure, mapped_array, sparse_matrix
from numpy_infer.support.layer import Layer

PROGRAM = "python -m numpy_infer"


class Converted(Layer):
    """A net whose floating input is converted first, batch by batch."""

    def __init__(self, net: Layer, dtype: str) -> None:
        super().__init__(net)
        self.dtype = dtype

    def __call__(self, value: Any) -> Any:
        if isinstance(value, SparseMatrix):
            return self.previous[0](replace(value, data=value.data.astype(self.dtype)))
        floating = np.issubdtype(value.dtype, np.floating)  # ids stay what they are
        return self.previous[0](value.astype(self.dtype) if floating else value)


def main(arguments: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run the command that the arguments ask for; the exit status.

    program: what the user has called, as help and errors name it.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by `>&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    options = parser(program, RUNS).parse_args(arguments)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `describe ... | head`; what Python flushes at its end goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except (Failure, model_file.ModelFileError, OSError, MemoryError, ImportError) as error:
        _complain(error, program)
        return 1


def _complain(error: Exception, program: str) -> None:
    """One line on stderr, which begins with the program's last word."""
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    print(f"{program.split()[-1]}: {harmless(' '.join(text.split()))}", file=sys.stderr)


def _describe(options: argparse.Namespace) -> int:
    try:
        found = describe(options.model, options.input_shape)
    except model_file.ModelFileError:
        raise
    except (TypeError, ValueError) as error:
        shape = ",".join(map(str, options.input_shape))
        raise Failure(f"{options.model}: cannot run on rows of shape {shape}: {error}") from error
    print(json.dumps(found, indent=2) if options.json else page(found))
    return 0


def _predict(options: argparse.Namespace) -> int:
    if not options.output.endswith((".npy", ".npz")):
        raise Failure(f"{options.output}: expected a name ending in .npy or .npz")
    if os.path.lexists(options.output) and not options.force:
        raise Failure(f"{options.output}: is there already; --force replaces it")
    net = model_file.load_model(options.model)[-1]
    arrays = model_file.read_model(options.model).arrays
    dtype = next((str(array.dtype) for array in arrays.values()), "float32")
    x = (
        sparse_matrix(options.input)
        if options.input.endswith(".npz")
        else mapped_array(options.input)
    )
    try:
        done = predict(
            Converted(net, dtype) if options.cast else net,
            x,
            batch_size=options.batch_size,
            output=options.output,
            progress=_show if sys.stderr.isatty() else None,
        )
    except (TypeError, ValueError) as error:
        hint = ""
        given = x.data.dtype if isinstance(x, SparseMatrix) else x.dtype
        floating = np.issubdtype(given, np.floating)
        if floating and not options.cast and given != dtype and "expected float" in str(error):
            hint = f"; --cast converts it to {dtype}"
        raise Failure(f"{options.input}: {error}{hint}") from error
    if isinstance(done, np.ndarray):
        print(f"{options.output}: {shown(done.shape)} of {done.dtype}")
        return 0
    with done:
        for name, array in done.items():
            print(f"{options.output}: {name} {shown(array.shape)} of {array.dtype}")
    return 0


def _show(done: int, total: int) -> None:
    end = "\n" if done == total else ""
    print(f"\r{done:,} of {total:,} rows", end=end, file=sys.stderr, flush=True)


def _check(options: argparse.Namespace) -> int:
    status = 0
    for path in options.models:
        try:
            print(f"good: {summary(describe(path))}")
        except (model_file.ModelFileError, OSError) as error:
            _complain(error, options.program)
            status = 1
    return status


def _weights(options: argparse.Namespace) -> int:
    found = weight_listing.listing(options.file)
    print(json.dumps(found, indent=2) if options.json else weight_listing.page(found))
    return 0


RUNS = {"describe": _describe, "predict": _predict, "check": _check, "weights": _weights}


if __name__ == "__main__":
    sys.exit(main())
