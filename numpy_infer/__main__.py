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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from numpy_infer import model_file
from numpy_infer.format import weight_listing
from numpy_infer.format.description import describe
from numpy_infer.format.listing import LISTED
from numpy_infer.format.tables import harmless, layer_table, shown, table
from numpy_infer.prediction import predict
from numpy_infer.sparse_projection import SparseMatrix
from numpy_infer.support.layer import Layer

PROGRAM = "python -m numpy_infer"
DESCRIBE = """example, a classifier of 8 x 8 digits:

  {program} describe digits.safetensors --input-shape 64
"""
PREDICT = """example, images.npy holding one image in each row:

  {program} predict digits.safetensors images.npy classes.npy --batch-size 256

words.npz holding the data, indices, indptr and shape of a CSR matrix (as scipy.sparse.save_npz
writes it), of a model with several outputs:

  {program} predict topics.safetensors words.npz levels.npz
"""
CHECK = """example, where the exit status is 1 if any of them is bad:

  {program} check models/*.safetensors
"""
WEIGHTS = """example, a state_dict of PyTorch, read without PyTorch and without running code:

  {program} weights resnet18.pth
"""


class Failure(Exception):
    """Ends the program with 1; its text is the line to print."""


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
    options = _parser(program).parse_args(arguments)
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
    print(json.dumps(found, indent=2) if options.json else _page(found))
    return 0


def _page(found: Mapping[str, Any]) -> str:
    """The description as a table, after one line for the whole file."""
    if "index" in found:
        return "\n".join([_summary(found), "", *_index_table(found)])
    rows = layer_table(found["layers"])
    return "\n".join([_summary(found), "", *rows, *_metadata(found["metadata"])])


def _metadata(values: Mapping[str, Any]) -> list[str]:
    """A line for each of the user's values, cut where it is long."""
    lines = [f"  {name}: {json.dumps(value):.80}" for name, value in values.items()]
    return ["", "metadata", *map(harmless, lines)] if lines else []


def _index_table(found: Mapping[str, Any]) -> list[str]:
    rows = [["array", "shape", "type"]]
    rows += [[name, shown(one["shape"]), one["dtype"]] for name, one in found["arrays"].items()]
    settings = [f"{key}={json.dumps(value)}" for key, value in found["config"].items()]
    return [*table(rows), *(["", f"config: {harmless(', '.join(settings))}"] if settings else [])]


def _summary(found: Mapping[str, Any]) -> str:
    if "index" in found:
        parts = [
            f"{found['index']} of {found['vectors']:,} vectors",
            f"format version {found['version']}",
            f"{found['bytes']:,} bytes",
            f"checksum {found['checksum']}",
        ]
        return harmless(f"{found['file']}: {', '.join(parts)}")
    listed = found["component"] in LISTED
    parts = [
        f"{found['component']} of {len(found['layers'])} layers" if listed else found["component"],
        f"format version {found['version']}",
        f"{found['parameters']:,} parameters of {found['dtype']} in {found['bytes']:,} bytes",
        f"checksum {found['checksum']}",
    ]
    if not found["infers"]:
        parts.append("for a framework: NumPy does not have it")
    return harmless(f"{found['file']}: {', '.join(parts)}")


def _predict(options: argparse.Namespace) -> int:
    if not options.output.endswith((".npy", ".npz")):
        raise Failure(f"{options.output}: expected a name ending in .npy or .npz")
    if os.path.lexists(options.output) and not options.force:
        raise Failure(f"{options.output}: is there already; --force replaces it")
    net = model_file.load_model(options.model)[-1]
    arrays = model_file.read_model(options.model).arrays
    dtype = next((str(array.dtype) for array in arrays.values()), "float32")
    x = _sparse(options.input) if options.input.endswith(".npz") else _mapped(options.input)
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


def _sparse(path: str) -> SparseMatrix:
    """The CSR or CSC matrix in an .npz file."""
    try:
        with np.load(path, allow_pickle=False) as parts:
            layout = parts["format"].item() if "format" in parts else "csr"
            layout = layout.decode() if isinstance(layout, bytes) else layout
            rows, columns = map(int, parts["shape"])
            data, indices, indptr = (parts[name] for name in ("data", "indices", "indptr"))
        return SparseMatrix(data, indices, indptr, (rows, columns), layout)
    except OSError:
        raise
    except Exception as error:  # whatever NumPy meets in a file of another kind
        raise Failure(
            f"{path}: expected an .npz file of data, indices, indptr and shape: {error}"
        ) from error


def _mapped(path: str) -> np.ndarray:
    """The array in an .npy file, not read into memory."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # whatever NumPy meets in a file of another kind
        raise Failure(f"{path}: expected an .npy file of numbers: {error}") from error


def _show(done: int, total: int) -> None:
    end = "\n" if done == total else ""
    print(f"\r{done:,} of {total:,} rows", end=end, file=sys.stderr, flush=True)


def _check(options: argparse.Namespace) -> int:
    status = 0
    for path in options.models:
        try:
            print(f"good: {_summary(describe(path))}")
        except (model_file.ModelFileError, OSError) as error:
            _complain(error, options.program)
            status = 1
    return status


def _weights(options: argparse.Namespace) -> int:
    found = weight_listing.listing(options.file)
    print(json.dumps(found, indent=2) if options.json else weight_listing.page(found))
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        program,
        description="Look into model files, check them, and predict with them, with NumPy alone.",
        epilog=f"`{program} COMMAND --help` has an example of each.",
    )
    parser.set_defaults(program=program)
    version = f"model files of version {model_file.VERSION}, NumPy {np.__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    example = DESCRIBE.format(program=program)
    command = _command(commands, "describe", _describe, "show what is in a model file", example)
    command.add_argument("model", metavar="MODEL")
    command.add_argument("--json", action="store_true", help="for other programs to read")
    command.add_argument(
        "--input-shape",
        type=_sizes,
        metavar="N,N...",
        help="shape of one row of input, as 64 or 1,28,28: shows the shape after each layer",
    )

    example = PREDICT.format(program=program)
    text = "run a model on the rows of an array"
    command = _command(commands, "predict", _predict, text, example)
    command.add_argument("model", metavar="MODEL")
    command.add_argument(
        "input",
        metavar="INPUT",
        help="an .npy file, which may be larger than memory, or an .npz file of the data, indices, "
        "indptr and shape of a CSR matrix",
    )
    command.add_argument(
        "output",
        metavar="OUTPUT",
        help="an .npy file, or for several outputs an .npz file; appears when it is complete",
    )
    command.add_argument(
        "--batch-size", type=_size, default=1024, metavar="N", help="rows at a time (1024)"
    )
    command.add_argument(
        "--cast",
        action="store_true",
        help="convert floating input to the type of the model's arrays",
    )
    command.add_argument("--force", action="store_true", help="replace OUTPUT if it is there")

    example = CHECK.format(program=program)
    command = _command(commands, "check", _check, "say whether files are good models", example)
    command.add_argument("models", metavar="MODEL", nargs="+")

    example = WEIGHTS.format(program=program)
    command = _command(commands, "weights", _weights, "list the arrays of any file", example)
    help_text = "of PyTorch, safetensors, NumPy or Keras, or pickled arrays"
    command.add_argument("file", metavar="FILE", help=help_text)
    command.add_argument("--json", action="store_true", help="for other programs to read")
    return parser


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str, example: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=f"{text.capitalize()}.",
        epilog=example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    return command


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _sizes(text: str) -> list[int]:
    return [_size(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
