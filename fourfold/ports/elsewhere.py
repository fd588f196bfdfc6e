"""An implementation that is measured by another environment's Python.

`python -m fourfold.ports.elsewhere ORDER RESULT` is the worker: it reads what to measure from one
file and leaves a `Measurement` in the other. NumPy and the framework are all that it imports.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fourfold.definition import Case, SparseInput
from fourfold.ports import archive
from fourfold.ports.measurement import Measurement, measure
from fourfold.ports.protocol import Training

PACKAGE = Path(__file__).parents[1]
PACKAGES = (PACKAGE, PACKAGE.parent / "numpy_infer")  # which knows how weights are turned
TRAVELLING = ("name", "inputs", "options", "weights", "differentiate", "fixed", "channels")


@dataclass(frozen=True)
class Elsewhere:
    """An implementation of `fourfold.compare` that another interpreter imports and runs.

    Args:
        target: "module:attribute".
        python: the interpreter, which has NumPy and the framework; it needs no fourfold.
        folders: where modules are looked for, besides the interpreter's own places.
        timeout: seconds that it may take; no limit without it.

    Example:
        >>> target = Elsewhere("numpy:exp", sys.executable)
        >>> found = target.measure([Case("one", {"x": np.array([0.0, 1.0])})], framework="numpy")
        >>> found.quantities["one", "float64"]["value:output"].tolist()
        [1.0, 2.718281828459045]
    """

    target: str
    python: str
    folders: Sequence[str] = ()
    timeout: float | None = None

    def measure(
        self,
        cases: Sequence[Case],
        *,
        framework: str,
        label: str | None = None,
        dtypes: Sequence[str] = ("float64", "float32"),
        training: Training | None = None,
        **options: Any,
    ) -> Measurement:
        """What `fourfold.ports.measurement.measure` gives, with the same arguments.

        An interpreter that is not there, crashes, is killed or takes too long costs this
        implementation's quantities, and no others.
        """
        if training:  # of the optimizers its own travels alone, by its name
            training = replace(training, optimizer=training.optimizer_of(label or framework))
        arguments = {"framework": framework, "label": label, "dtypes": list(dtypes), **options}
        order = {
            "target": self.target,
            "folders": list(self.folders),
            "arguments": arguments,
            "training": training and {one: getattr(training, one) for one in vars(training)},
            "cases": [{name: getattr(case, name) for name in TRAVELLING} for case in cases],
        }
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            try:
                write(folder / "order.npz", order)
                self.run(folder)
                return Measurement.load(folder / "result.npz")
            except (OSError, TypeError, Failed) as error:
                text = f"{type(error).__name__}: {error}" if isinstance(error, TypeError) else error
                errors = {(case.name, dtype): str(text) for case in cases for dtype in dtypes}
                return Measurement(label or framework, framework, errors=errors)

    def run(self, folder: Path) -> None:
        """The worker, on the order in a folder. Failed when it leaves no result."""
        # A folder with these packages alone: the worker has its own packages beside it.
        (folder / "path").mkdir()
        for one in PACKAGES:
            (folder / "path" / one.name).symlink_to(one)
        path = os.pathsep.join(filter(None, [str(folder / "path"), os.environ.get("PYTHONPATH")]))
        command = [self.python, "-m", "fourfold.ports.elsewhere"]
        try:
            done = subprocess.run(
                [*command, str(folder / "order.npz"), str(folder / "result.npz")],
                env=os.environ | {"PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=self.timeout,
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{self.python}: no result after {self.timeout:g} s") from error
        except OSError as error:
            raise Failed(f"{self.python}: {error.strerror}") from error
        if done.returncode < 0:
            raise Failed(f"{self.python}: killed by {signal.Signals(-done.returncode).name}")
        if done.returncode:
            last = done.stdout.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise Failed(f"{self.python}: exit status {done.returncode}: {last[0]}")


class Failed(Exception):
    """An interpreter left no result."""


def write(path: Path, order: Mapping[str, Any]) -> None:
    """Write an order: a tree of what JSON can say, and arrays. Nothing in the file can be code."""
    arrays: list[np.ndarray] = []
    header = packed(order, arrays, "order")
    archive.write(path, header, {f"a{index}": array for index, array in enumerate(arrays)})


def read(path: Path) -> Any:
    """What `write` has written."""
    return unpacked(*archive.read(path))


def packed(value: Any, arrays: list[np.ndarray], place: str) -> Any:
    """A value as JSON, with its arrays in a list. TypeError for what is neither."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufUS":
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        arrays.append(np.asarray(value))
        return {"scalar": len(arrays) - 1}
    if isinstance(value, SparseInput):
        return {"sparse": packed(value.array, arrays, place), "layout": value.layout}
    if isinstance(value, Mapping):
        return {"keys": [*value], "values": [packed(value[one], arrays, f"{one}") for one in value]}
    if isinstance(value, list | tuple | set | frozenset):
        kind = type(value).__name__
        return {"kind": kind, "items": [packed(one, arrays, place) for one in value]}
    raise TypeError(
        f"{place}: expected arrays, numbers and text for another Python, got {value!r:.99}"
    )


def unpacked(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The value again."""
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[f"a{value['array']}"]
    if "scalar" in value:
        return arrays[f"a{value['scalar']}"][()]
    if "sparse" in value:
        return SparseInput(unpacked(value["sparse"], arrays), value["layout"])
    if "keys" in value:
        inside = (unpacked(one, arrays) for one in value["values"])
        return dict(zip(value["keys"], inside, strict=True))
    kinds = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
    return kinds[value["kind"]](unpacked(one, arrays) for one in value["items"])


def main(order_path: str, result_path: str) -> None:
    """Measure what the order says."""
    order = read(Path(order_path))
    sys.path[:0] = order["folders"]
    training = order["training"] and Training(**order["training"])
    cases = [Case(**one) for one in order["cases"]]
    found = measure(order["target"], cases, training=training, **order["arguments"])
    draft = Path(result_path).with_suffix(".part")
    found.save(draft)
    draft.replace(result_path)


if __name__ == "__main__":
    main(*sys.argv[1:])
