"""The arguments of the command line: its commands, their options and their help texts."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from numpy_infer import model_file

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


def parser(
    program: str, runs: Mapping[str, Callable[[argparse.Namespace], int]]
) -> argparse.ArgumentParser:
    """The parser of the arguments; runs: by the name of a command, what runs it.

    program: what the user has called, as help and errors name it.
    """
    top = argparse.ArgumentParser(
        program,
        description="Look into model files, check them, and predict with them, with NumPy alone.",
        epilog=f"`{program} COMMAND --help` has an example of each.",
    )
    top.set_defaults(program=program)
    version = f"model files of version {model_file.VERSION}, NumPy {np.__version__}"
    top.add_argument("--version", action="version", version=version)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    example = DESCRIBE.format(program=program)
    command = _command(commands, "describe", runs, "show what is in a model file", example)
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
    command = _command(commands, "predict", runs, text, example)
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
    command = _command(commands, "check", runs, "say whether files are good models", example)
    command.add_argument("models", metavar="MODEL", nargs="+")

    example = WEIGHTS.format(program=program)
    command = _command(commands, "weights", runs, "list the arrays of any file", example)
    help_text = "of PyTorch, safetensors, NumPy or Keras, or pickled arrays"
    command.add_argument("file", metavar="FILE", help=help_text)
    command.add_argument("--json", action="store_true", help="for other programs to read")
    return top


def _command(
    commands: Any,
    name: str,
    runs: Mapping[str, Callable[[argparse.Namespace], int]],
    text: str,
    example: str,
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=f"{text.capitalize()}.",
        epilog=example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=runs[name])
    return command


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _sizes(text: str) -> list[int]:
    return [_size(part) for part in text.split(",")]
