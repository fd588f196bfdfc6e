"""What the inner modules of an implementation gave, in a file: to be compared elsewhere, later.

    dumps.record(model, case, "original.npz", "torch")          # on one machine
    dumps.record(port, case, "port.npz", "keras")               # on another one
    print(dumps.compare("original.npz", "port.npz"))            # anywhere, with NumPy alone

A file holds arrays and one JSON text. Nothing in it can be code: it is read with
`allow_pickle=False`.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fourfold.agreement import GRADIENT_TOLERANCE, VALUE_TOLERANCE
from fourfold.definition import Case
from fourfold.ports import archive
from fourfold.ports.location import Location, located, relative
from fourfold.ports.protocol import Recorded
from fourfold.ports.sides import side_of

FORMAT = "fourfold-record-1"


@dataclass(frozen=True)
class Dump:
    """What a file holds.

    Args:
        framework: whose adapter recorded it.
        versions: {package: version}.
        case: the name of the case.
        dtype: what it was computed in.
        inputs: of the case, by name.
        quantities: value:NAME and gradient:NAME of the whole.
        calls: of the inner modules, in their order.
    """

    framework: str
    versions: Mapping[str, str]
    case: str
    dtype: str
    inputs: Mapping[str, np.ndarray]
    quantities: Mapping[str, np.ndarray]
    calls: tuple[Recorded, ...] = field(repr=False)


@dataclass(frozen=True)
class DumpComparison:
    """Two files side by side: true when the outputs and the gradients agree.

    Args:
        errors: {quantity: error relative to the largest entry, tolerance}.
        location: the inner modules in pairs.
        reasons: why the files cannot agree, such as other inputs.
    """

    errors: Mapping[str, tuple[float, float]]
    location: Location
    reasons: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything agrees that both files hold, and there is something."""
        within = all(error <= tolerance for error, tolerance in self.errors.values())
        return bool(self.errors) and within and not self.reasons

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        lines = ["agree" if self.ok else "differ", *self.reasons]
        for name, (found, tolerance) in self.errors.items():
            sign = "≤" if found <= tolerance else ">"
            lines.append(f"{name}: error {found:.2g} {sign} {tolerance:.2g}")
        return "\n".join([*lines, str(self.location)])

    def to_json(self) -> str:
        """The whole result."""
        first = self.location.first
        return json.dumps(
            {
                "ok": self.ok,
                "reasons": list(self.reasons),
                "errors": {
                    name: {"error": _finite(found), "tolerance": tolerance}
                    for name, (found, tolerance) in self.errors.items()
                },
                "first": first and [first.a, first.b],
                "modules": [
                    {
                        "a": pair.a,
                        "b": pair.b,
                        "forward": _finite(pair.forward),
                        "backward": _finite(pair.backward),
                    }
                    for pair in self.location.pairs
                ],
                "alone": [list(self.location.only_a), list(self.location.only_b)],
            },
            indent=1,
        )


def _finite(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def record(
    target: Any, case: Case, path: str | Path, framework: str, *, dtype: str = "float32"
) -> Dump:
    """Run an implementation and write what it and its inner modules gave to a .npz file.

    Args:
        target: a function, class, module, layer or model, or "module:attribute".
        case: what it is called with.
        path: of the file.
        framework: torch, keras, tensorflow, jax, theano or numpy.
        dtype: float64 or float32.

    Returns:
        What was written.
    """
    side = side_of(target, case, framework, dtype)
    dump = Dump(
        framework,
        side.port.versions(),
        case.name,
        dtype,
        {name: one for name, one in side.given.inputs.items() if isinstance(one, np.ndarray)},
        side.quantities(),
        tuple(side.recorded()),
    )
    save(dump, path)
    return dump


def save(dump: Dump, path: str | Path) -> None:
    """Write a dump; `load` reads it."""
    arrays = {f"input|{name}": one for name, one in dump.inputs.items()}
    arrays |= {f"quantity|{name}": one for name, one in dump.quantities.items()}
    calls = []
    for index, call in enumerate(dump.calls):
        parts = {"inputs": call.inputs, "outputs": call.outputs, "gradients": call.gradients}
        for part, values in parts.items():
            for place, one in enumerate(values):
                if one is not None:
                    arrays[f"{part}|{index}|{place}"] = one
        calls.append([call.name, call.kind, *(len(values) for values in parts.values())])
    header = {
        "format": FORMAT,
        "framework": dump.framework,
        "versions": dict(dump.versions),
        "case": dump.case,
        "dtype": dump.dtype,
        "calls": calls,
    }
    archive.write(path, header, arrays)


def load(path: str | Path) -> Dump:
    """Read what `record` has written.

    Raises:
        ValueError: for a file that is none of these, or is damaged.
    """
    try:
        header, arrays = archive.read(path)
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']!r}")
        calls = []
        for index, (name, kind, *counts) in enumerate(header["calls"]):
            parts = [
                tuple(arrays.get(f"{part}|{index}|{place}") for place in range(count))
                for part, count in zip(("inputs", "outputs", "gradients"), counts, strict=True)
            ]
            if any(one is None for values in parts[:2] for one in values):
                raise ValueError(f"no arrays of {name}")
            calls.append(Recorded(str(name), str(kind), *parts))  # type: ignore[arg-type]
        return Dump(
            str(header["framework"]),
            dict(header["versions"]),
            str(header["case"]),
            str(header["dtype"]),
            _named(arrays, "input"),
            _named(arrays, "quantity"),
            tuple(calls),
        )
    except OSError:
        raise
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: expected a file of fourfold record, got {error}") from error


def _named(arrays: Mapping[str, np.ndarray], part: str) -> dict[str, np.ndarray]:
    start = f"{part}|"
    return {name[len(start) :]: one for name, one in arrays.items() if name.startswith(start)}


def compare(
    a: Dump | str | Path,
    b: Dump | str | Path,
    *,
    names: Mapping[str, str] | None = None,
    tolerance: float | None = None,
) -> DumpComparison:
    """Hold one recorded run to another, as a whole and module by module.

    Args:
        a: the original, or its file.
        b: the port, or its file.
        names: {module of a: module of b}; the others are paired by order, name and shape.
        tolerance: by default that of a model in the coarser of the two dtypes.

    Returns:
        The comparison.

    Raises:
        ValueError: for a file that is none of `record`.
    """
    one, other = (each if isinstance(each, Dump) else load(each) for each in (a, b))
    dtype = "float32" if "float32" in (one.dtype, other.dtype) else "float64"
    reasons = []
    if one.inputs.keys() != other.inputs.keys():
        given = " and ".join(", ".join(each.inputs) for each in (one, other))
        reasons.append(f"inputs: expected the same names, got {given}")
    for name, value in one.inputs.items():
        if name in other.inputs and not _equal(value, other.inputs[name], dtype):
            reasons.append(f"input {name}: expected the same numbers in both files, got others")
    errors = {}
    for name in [
        *one.quantities,
        *(name for name in other.quantities if name not in one.quantities),
    ]:
        gradient = name.startswith("gradient:")
        if name not in one.quantities or name not in other.quantities:
            if not gradient:
                holder = "first" if name in one.quantities else "second"
                reasons.append(f"{name}: expected in both files, got it in the {holder} alone")
            continue
        bound = (GRADIENT_TOLERANCE if gradient else VALUE_TOLERANCE)["model", dtype]
        found = relative(other.quantities[name], one.quantities[name])
        errors[name] = found, bound if tolerance is None else tolerance
    labels = tuple(one.framework if isinstance(each, Dump) else Path(each).stem for each in (a, b))
    location = located(
        one.calls, other.calls, (str(labels[0]), str(labels[1])), one.case, names, tolerance
    )
    return DumpComparison(errors, location, tuple(reasons))


def _equal(a: np.ndarray, b: np.ndarray, dtype: str) -> bool:
    if a.shape != b.shape:
        return False
    if a.dtype.kind == "f" and b.dtype.kind == "f":
        a, b = a.astype(dtype), b.astype(dtype)
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
