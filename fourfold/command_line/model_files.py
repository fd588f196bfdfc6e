"""`fourfold describe`, `predict`, `check`, `weights`, `convert`: what can be done with model files.

All but the last are those of `python -m numpy_infer`, which needs nothing but NumPy.
"""

from __future__ import annotations

import importlib
import os
import warnings
from pathlib import Path
from typing import Any

import click

from fourfold.command_line.failure import Failure

# The endings of files of weights alone that are written.
PLAIN = (".pt", ".pth", ".npz", ".safetensors")
# What the user types after the command's name goes on as it is, `--help` too.
PASSED_ON: dict[str, Any] = {
    "add_help_option": False,
    "context_settings": {"ignore_unknown_options": True, "allow_extra_args": True},
}
CONVERT = """Change the dtype of a model file, or carry it to and from a framework's own format.

\b
The names' endings say what is read and what is written:
  .safetensors  a model file, as docs/model_files.md describes it
  .keras        Keras's own file: architecture and weights
  .pt           PyTorch's state_dict, for torch.load(..., weights_only=True)
  .npz          the arrays by their canonical names

\b
Examples:
  fourfold convert model.safetensors half_the_size.safetensors --dtype float32
  fourfold convert model.safetensors model.keras
  fourfold convert model.keras model.safetensors
  fourfold convert model.safetensors weights.pt
  fourfold convert state_dict.pth weights.safetensors --dtype bfloat16

A file of weights alone (.pt, .pth, .npz, .weights.h5, pickled arrays, or .safetensors of another
tool) becomes .pt, .npz or .safetensors with the same names; no code of it is run.

Your own metadata goes from model file to model file alone. The other way from PyTorch is
interchange.save_model(model, path): a state_dict does not say what the model computes.
"""


def pass_on(name: str, summary: str) -> click.Command:
    """A command that `numpy_infer` carries out."""

    def run(context: click.Context) -> None:
        program = importlib.import_module("numpy_infer.__main__")
        context.exit(program.main([name, *context.args], "fourfold"))

    callback = click.pass_context(run)
    return click.Command(name, callback=callback, short_help=summary, **PASSED_ON)


describe = pass_on("describe", "Show what is in a model file.")
check = pass_on("check", "Say whether files are good models.")
weights = pass_on("weights", "List the arrays of a file of weights, of any framework.")
predict = pass_on("predict", "Run a model on the rows of an array, with NumPy alone.")


@click.command(help=CONVERT, short_help="Change a model file's dtype or format.")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64", "float16", "bfloat16"]),
    help="Of the arrays written; the halves in files of weights alone.",
)
@click.option("--force", is_flag=True, help="Replace TARGET if it is there.")
def convert(source: Path, target: Path, dtype: str | None, force: bool) -> None:
    ways = {
        (".safetensors", ".safetensors"): to_model_file,
        (".safetensors", ".keras"): to_keras,
        (".safetensors", ".pt"): to_state_dict,
        (".safetensors", ".npz"): to_arrays,
        (".keras", ".safetensors"): from_keras,
    }
    way = ways.get((source.suffix, target.suffix))
    if target.suffix in PLAIN and source.suffix != ".keras" and not is_model_file(source):
        way = to_weights
    elif dtype in ("float16", "bfloat16"):
        raise click.UsageError("--dtype: expected float32 or float64 for a model, got a half")
    if way is None:
        known = ", ".join([*(f"{a} to {b}" for a, b in ways), "weights to .pt, .npz, .safetensors"])
        raise click.UsageError(
            f"expected one of {known}, got {source.suffix or source} to {target.suffix or target}"
        )
    if way is from_keras and dtype:
        raise click.UsageError("--dtype: expected a model file as the source, got a .keras file")
    if os.path.lexists(target) and not force:
        raise Failure(f"{target}: is there already; --force replaces it")
    try:
        way(source, target, dtype)
    except (ImportError, OSError, TypeError, ValueError) as error:
        raise Failure.of(error) from error
    click.echo(f"{target}: {target.stat().st_size:,} bytes")


def read(source: Path, dtype: str | None) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Component, configuration and arrays of a model file, in another dtype if asked for."""
    component, config, arrays = importlib.import_module("numpy_infer.model_file").read_model(source)
    if dtype:
        arrays = {name: array.astype(dtype) for name, array in arrays.items()}
    return component, config, arrays


def to_model_file(source: Path, target: Path, dtype: str | None) -> None:
    """The same model in another dtype, with the user's metadata."""
    model_file = importlib.import_module("numpy_infer.model_file")
    model_file.write_model(target, *read(source, dtype), model_file.read_metadata(source))


def is_model_file(source: Path) -> bool:
    """Whether a file is a model's, not of weights alone; what reads models refuses a bad one."""
    if source.suffix != ".safetensors":
        return False
    try:
        canonical: bool = importlib.import_module("numpy_infer.format.weight_files").read(source)[1]
    except (OSError, ValueError):
        return True
    return canonical


def to_weights(source: Path, target: Path, dtype: str | None) -> None:
    """The arrays by the names that they have."""
    weights = importlib.import_module("numpy_infer.weights")
    weights.save_weights(target, weights.load_weights(source, dtype=dtype))


def to_arrays(source: Path, target: Path, dtype: str | None) -> None:
    """The arrays alone, for numpy.load."""
    numpy = importlib.import_module("numpy")
    arrays = read(source, dtype)[2]
    with replacing(target) as file:
        numpy.savez(file, **arrays)


def to_keras(source: Path, target: Path, dtype: str | None) -> None:
    """Keras's own file, which `keras.saving.load_model` reads where tf2_impl is imported."""
    interchange = importlib.import_module("tf2_impl.interchange")
    saving = importlib.import_module("keras").saving
    component, config, arrays = read(source, dtype)
    model = interchange.from_arrays(component, config, arrays)
    with replacing(target) as file:
        draft = Path(file.name + target.suffix)  # Keras asks for the ending
        try:
            with warnings.catch_warnings():  # that it has not been called: its weights are there
                warnings.simplefilter("ignore", UserWarning)
                saving.save_model(model, draft)
            kept = interchange.to_arrays(saving.load_model(draft, compile=False))
            if any((kept[name] != array).any() for name, array in arrays.items()):
                raise ValueError(f"{target}: expected the weights of {source} again, got others")
            draft.replace(file.name)
        finally:
            draft.unlink(missing_ok=True)


def from_keras(source: Path, target: Path, dtype: str | None) -> None:
    """A model file of what Keras has saved: a Sequential, a functional model or a component."""
    interchange = importlib.import_module("tf2_impl.interchange")
    keras = importlib.import_module("keras")
    interchange.save_model(keras.saving.load_model(source, compile=False), target)


def to_state_dict(source: Path, target: Path, dtype: str | None) -> None:
    """PyTorch's names and layouts of the weights."""
    model = importlib.import_module("pytorch_impl.interchange").from_arrays(*read(source, dtype))
    with replacing(target) as file:
        importlib.import_module("torch").save(model.state_dict(), file)


def replacing(target: Path) -> Any:
    """The target as a file that appears when it is complete."""
    return importlib.import_module("numpy_infer.format.atomic_file").replacing(target)
