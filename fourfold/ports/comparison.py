"""Holds implementations to each other, or to a reference, on the same cases."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from fourfold import measure as definitions
from fourfold.agreement import (
    DIFFERENCE_TOLERANCE,
    GRADIENT_TOLERANCE,
    LARGE_ENOUGH,
    TRAINING_TOLERANCE,
    VALUE_TOLERANCE,
    largest,
)
from fourfold.definition import Arrays, Case, Operation
from fourfold.ports.calling import arguments
from fourfold.ports.difference import Difference, difference
from fourfold.ports.elsewhere import Elsewhere
from fourfold.ports.measurement import (
    HALVES,
    Layouts,
    Measurement,
    measure,
    rounded_to,
    said,
)
from fourfold.ports.protocol import Training
from fourfold.ports.result import Comparison
from fourfold.ports.rows import Missing, Row
from fourfold.ports.sides import Origin
from fourfold.ports.turning import turned

REFERENCE = "reference"
# A half precision has this many rounding errors of its largest entry: 2⁻¹¹ and 2⁻⁸ for one.
HALF_TOLERANCE = {"float16": 4 * 2.0**-11, "bfloat16": 4 * 2.0**-8}
# A quantity that is at most so many roundings of 1 in every case is zero.
ROUNDINGS = 4
# Trainings in float32 drift as far as their rounding lets them.
FLOAT32_TRAINING_TOLERANCE = 1e-3


def compare(
    implementations: Mapping[str, Any],
    cases: Case | Sequence[Case],
    reference: Callable[..., Any] | str | None = None,
    *,
    dtypes: Sequence[str] = ("float64", "float32"),
    gradients: bool = True,
    training: Training | int | None = None,
    names: Mapping[str, Mapping[str, str]] | None = None,
    layouts: Mapping[str, Layouts] | None = None,
    tolerances: Mapping[str, float] | None = None,
    kind: str = "layer",
    weights: Arrays | str | None = None,
) -> Comparison:
    """Whether implementations agree: values, gradients, dtypes, on request a training.

    Weights: those of the case; where it has none, those of the first implementation that has some,
    or of the one that `reference` names. A class is built with the case's options and gets these
    weights; a module keeps its own, which are then compared too.

    Args:
        implementations: {framework: implementation}; "torch:original" where a framework occurs
            twice. An implementation is a function of arrays, a class, a module, layer or model, a
            pair (function or flax module, weights), "module:attribute", or an `Elsewhere`. A
            function of a case with weights takes them as its first argument, {name: array}.
        cases: one or several, by hand or from `cases_from_shapes`.
        reference: a float64 function of the inputs; or the name of the implementation that all
            others are held to. Without it every pair is compared.
        dtypes: float64, float32, float16, bfloat16; a half precision is held to float32 on the
            rounded input.
        gradients: whether gradients of inputs and weights are compared.
        training: the number of steps, or a `Training`.
        names: {implementation: {original name: its own}} of weights, inputs and outputs.
        layouts: {implementation: {name: layout}}; a layout is a name of
            `numpy_infer.format.weight_map.LAYOUTS`, a function of the array, or "channels last" for
            an input or output.
        tolerances: {pattern: tolerance}, where a pattern is a dtype, or "QUANTITY DTYPE" such as
            "gradient:* float32". The last one that fits counts.
        kind: "layer" or "model", for the tolerances.
        weights: {name: array} for the cases that have none; or the name of the implementation
            whose weights all others are given, modules too.

    Returns:
        The comparison.

    Raises:
        ValueError: for fewer than two sides, repeated names of cases, or names that are no
            implementation's.

    Example:
        >>> case = Case("one", {"x": np.array([[1.0, 2.0, 4.0]])})
        >>> bool(compare({"numpy": np.exp, "numpy:other": lambda x: np.e**x}, case))
        True
    """
    chosen = [cases] if isinstance(cases, Case) else list(cases)
    _check(implementations, chosen, reference, dtypes, names, layouts, kind)
    if isinstance(weights, str) and weights not in implementations:
        raise ValueError(f"weights: expected one of {', '.join(implementations)}, got {weights!r}")
    if weights is not None and not isinstance(weights, str):
        chosen = [replace(one, weights=one.weights or dict(weights)) for one in chosen]
    steps = Training(steps=training) if isinstance(training, int) else training
    if steps is not None:
        _check_optimizers(steps, implementations)
    original = weights if isinstance(weights, str) else reference
    order = sorted(implementations, key=lambda label: label != original)  # the original first
    measurements: dict[str, Measurement] = {}
    originals: dict[str, Arrays] = {}
    known = {label: dict(one) for label, one in (layouts or {}).items()}
    for label in order:
        target = implementations[label]
        run = partial(
            target.measure if isinstance(target, Elsewhere) else partial(measure, target),
            framework=label.partition(":")[0],
            label=label,
            gradients=gradients,
            names=(names or {}).get(label),
            originals=originals,
            carry=isinstance(weights, str),
        )
        turns = known.get(label, {})
        found = run(chosen, dtypes=dtypes, training=steps, layouts=turns)
        if measurements and found.choices:

            def again(more: Mapping[str, str], run: Any = run, turns: Any = turns) -> Measurement:
                once: Measurement = run(chosen[:1], dtypes=dtypes[:1], layouts={**turns, **more})
                return once

            shown, lines = turned(again, found, measurements[order[0]])
            if lines:
                known[label] = {**turns, **shown}
                found = run(chosen, dtypes=dtypes, training=steps, layouts=known[label])
                found.proposals += lines
        measurements[label] = found
        originals = {**found.weights, **originals}
    result = join(
        list(measurements.values()),
        chosen,
        reference,
        dtypes=dtypes,
        gradients=gradients,
        tolerances=tolerances,
        kind=kind,
    )
    by_name = {case.name: case for case in chosen}
    origin = Origin(
        implementations, by_name, names or {}, known, originals, carry=isinstance(weights, str)
    )
    return replace(result, origin=origin)


def _check(
    implementations: Mapping[str, Any],
    cases: Sequence[Case],
    reference: Callable[..., Any] | str | None,
    dtypes: Sequence[str],
    names: Mapping[str, Any] | None,
    layouts: Mapping[str, Any] | None,
    kind: str,
) -> None:
    if len(implementations) + callable(reference) < 2:
        raise ValueError(
            f"implementations: expected two, or a reference, got {len(implementations)}"
        )
    if isinstance(reference, str) and reference not in implementations:
        raise ValueError(
            f"reference: expected one of {', '.join(implementations)}, got {reference!r}"
        )
    if not cases:
        raise ValueError("cases: expected at least one, got none")
    titles = [case.name for case in cases]
    if repeated := [name for name in titles if titles.count(name) > 1]:
        raise ValueError(f"cases: expected names that differ, got {repeated[0]!r} twice")
    for dtype in dtypes:
        if dtype not in ("float64", "float32", *HALVES):
            raise ValueError(
                f"dtypes: expected float64, float32, float16 or bfloat16, got {dtype!r}"
            )
    for argument, value in (("names", names), ("layouts", layouts)):
        for label in value or {}:
            if label not in implementations:
                raise ValueError(
                    f"{argument}: expected one of {', '.join(implementations)}, got {label!r}"
                )
    if kind not in ("layer", "model"):
        raise ValueError(f"kind: expected layer or model, got {kind!r}")


def _check_optimizers(training: Training, implementations: Mapping[str, Any]) -> None:
    """Every side that can be trained has an optimizer, and every optimizer a side."""
    labels = {*implementations, *(label.partition(":")[0] for label in implementations), ""}
    for name in training.optimizers():
        if name not in labels:
            raise ValueError(
                f"optimizer: expected one of {', '.join(implementations)}, got {name!r}"
            )
    for label in implementations:
        if label.partition(":")[0] != "numpy":  # which has no gradients
            training.optimizer_of(label)


def join(
    measurements: Sequence[Measurement],
    cases: Sequence[Case],
    reference: Callable[..., Any] | str | None = None,
    *,
    dtypes: Sequence[str] = ("float64", "float32"),
    gradients: bool = True,
    tolerances: Mapping[str, float] | None = None,
    kind: str = "layer",
) -> Comparison:
    """The comparison of what was measured, here or elsewhere.

    Args:
        measurements: from `measure`, or read from a file with `Measurement.load`.
        cases: those that were measured.
        reference, dtypes, gradients, tolerances, kind: as for `compare`.

    Returns:
        The comparison.

    Example:
        >>> case = Case("one", {"x": np.array([1.0, 2.0])})
        >>> found = measure(np.exp, [case], framework="numpy")
        >>> bool(join([found], [case], lambda x: np.e**x))
        True
    """
    sides = {one.label: one for one in measurements}
    joined = _Join(sides, tolerances or {}, kind, REFERENCE if callable(reference) else reference)
    if callable(reference):
        known = referenced(reference, cases, dtypes, gradients, kind)
        sides = {REFERENCE: known, **sides}
        joined.sides = sides
    for case in cases:
        for dtype in dtypes:
            joined.add(case, dtype)
    return joined.comparison()


def referenced(
    reference: Callable[..., Any],
    cases: Sequence[Case],
    dtypes: Sequence[str],
    gradients: bool,
    kind: str,
) -> Measurement:
    """What a float64 function gives, with its gradients by differences, on inputs as rounded."""
    found = Measurement(REFERENCE, "numpy", definitions_versions())
    for case in cases:
        for dtype in dtypes:
            rounded = rounded_to(case, dtype) if dtype in HALVES else case.cast(dtype)
            exact = rounded.cast("float64")
            try:
                quantities = _expected(reference, exact, gradients and case.differentiate)
            except Exception as error:
                found.errors[case.name, dtype] = said(error)
                continue
            found.quantities[case.name, dtype] = quantities
            found.quantities[case.name, f"float32 on {dtype}"] = quantities
    return found


def definitions_versions() -> dict[str, str]:
    return {"numpy": np.__version__}


def _expected(reference: Callable[..., Any], case: Case, gradients: bool) -> dict[str, np.ndarray]:
    def by_signature(*weights: Any, **values: Any) -> Any:
        inputs = {name: values.pop(name) for name in case.inputs}
        positional, keyword = arguments(reference, inputs, skip=len(weights))
        return reference(*weights, *positional, **keyword, **values)

    operation = Operation("reference", by_signature, [case])
    outputs = definitions.reference_outputs(operation, case)
    quantities = {f"value:{name}": value for name, value in outputs.items()}
    if gradients:
        by_hand = case.gradients(case) if callable(case.gradients) else case.gradients
        found = by_hand or definitions.differences(operation, case, outputs)
        quantities |= {f"gradient:{name}": value for name, value in found.items()}
    return quantities


class Point(NamedTuple):
    """What a row compares."""

    case: Case
    quantity: str
    dtype: str
    a: str
    b: str


@dataclass
class _Join:
    """The rows of a comparison while they are collected."""

    sides: Mapping[str, Measurement]
    tolerances: Mapping[str, float]
    kind: str
    reference: str | None
    points: list[Point] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    def add(self, case: Case, dtype: str) -> None:
        """The rows of a case in a dtype."""
        point = (case.name, dtype)
        present = {}
        for label, side in self.sides.items():
            if point in side.errors:
                error = side.errors[point]
                self.missing.append(Missing(case.name, "everything", dtype, label, error))
            elif point in side.quantities:
                present[label] = side
        for quantity in dict.fromkeys(
            name for side in present.values() for name in side.quantities[point]
        ):
            holders = [label for label in present if self.owes(label, quantity)]
            for label in holders:
                if quantity not in present[label].quantities[point]:
                    known = ", ".join(present[label].quantities[point])
                    reason = f"not among what it gives: {known}"
                    self.missing.append(Missing(case.name, quantity, dtype, label, reason))
            found = [one for one in holders if quantity in present[one].quantities[point]]
            pairs = self.pairs(found, quantity, dtype)
            self.points += [Point(case, quantity, dtype, a, b) for a, b in pairs]

    def owes(self, label: str, quantity: str) -> bool:
        """Whether a side has to give this quantity."""
        if quantity.startswith(("weight:", "training:")):
            return label != REFERENCE and any(
                quantity in found for found in self.sides[label].quantities.values()
            )
        return not quantity.startswith("gradient:") or self.sides[label].differentiates

    def pairs(self, labels: Sequence[str], quantity: str, dtype: str) -> list[tuple[str, str]]:
        """Which sides are held to which: the first of a pair is what is wanted."""
        others = combinations(labels, 2)
        if self.reference is None or self.reference == REFERENCE:
            found = list(others)
        else:
            found = [(a, b) for a, b in others if self.reference in (a, b)]
            found = [(a, b) if a == self.reference else (b, a) for a, b in found]
        if dtype in HALVES and not quantity.startswith("weight:"):  # each also to itself in float32
            found += [(label, label) for label in labels if label != REFERENCE]
        return found

    def wanted(self, case: Case, quantity: str, dtype: str, a: str) -> np.ndarray:
        """What another side is held to: in half precision the result in float32."""
        kept = f"float32 on {dtype}" if dtype in HALVES else dtype
        return self.sides[a].quantities[case.name, kept][quantity]

    def too_small(self) -> set[int]:
        """Where a quantity is largest, of those that are too small to differ in every case.

        Elsewhere small entries may be rounding alone; but one case must be able to fail.
        """
        chosen: dict[tuple[str, ...], tuple[float, int]] = {}
        for index, (case, quantity, dtype, a, b) in enumerate(self.points):
            wanted = self.wanted(case, quantity, dtype, a)
            enough = LARGE_ENOUGH * self.tolerance(quantity, dtype, a == REFERENCE)
            declared = any(
                fnmatch(quantity, one) for one in (*case.vanishing, *case.cancelling)
            ) or quantity.startswith(("weight:", "training:"))
            size = largest(wanted) if wanted.dtype.kind == "f" and not declared else math.inf
            if not np.isfinite(wanted).all():
                size = math.inf
            key = (quantity, dtype, a, b)
            share = size / enough
            if key not in chosen or share > chosen[key][0]:
                chosen[key] = (share, index)
        return {index for share, index in chosen.values() if share < 1}

    def is_zero(self, point: Point) -> bool:
        """Whether both sides are zero, but for a few roundings of 1."""
        case, quantity, dtype, a, b = point
        got = self.sides[b].quantities[case.name, dtype][quantity]
        rounding = ROUNDINGS * (HALF_TOLERANCE.get(dtype) or np.finfo(dtype).eps)
        return bool(max(largest(self.wanted(case, quantity, dtype, a)), largest(got)) <= rounding)

    def row(self, case: Case, quantity: str, dtype: str, a: str, b: str, small: bool) -> Row:
        """Two sides of one quantity; what is too small to differ relative to its largest entry."""
        wanted = self.wanted(case, quantity, dtype, a)
        got = self.sides[b].quantities[case.name, dtype][quantity]
        bound = self.tolerance(quantity, dtype, a == REFERENCE)
        size = largest(wanted)
        vanishes = any(fnmatch(quantity, pattern) for pattern in case.vanishing)
        relative = vanishes or (small and not self.is_zero(Point(case, quantity, dtype, a, b)))
        found = difference(wanted, got, bound, 0.0 if relative else 1.0)
        slip = self.dtype_slip(case, quantity, dtype, a, b)
        if slip:
            found = Difference(math.inf, slip)
        note = f"too small to differ in any case, at most {size:.3g}" if small else ""
        title = f"{a} in float32" if dtype in HALVES and a != REFERENCE else a
        return Row(
            case.name, quantity, dtype, title, b, found.error, bound, found.error <= bound,
            found.reason, found.first, found.worst, note,
        )  # fmt: skip

    def dtype_slip(self, case: Case, quantity: str, dtype: str, a: str, b: str) -> str:
        """What is said when an output is of another dtype than the inputs."""
        for label in (a, b):
            kept = self.sides[label].dtypes.get((case.name, dtype), {}).get(quantity, dtype)
            # A loss may compute in float32 what it is given in half.
            allowed = (dtype, "float32") if dtype in HALVES else (dtype,)
            if "float" in kept and kept not in allowed:
                return f"dtype: expected {dtype}, {label} gives {kept}"
        return ""

    def tolerance(self, quantity: str, dtype: str, reference: bool) -> float:
        """How large an error may be."""
        bound = _tolerance(quantity, dtype, self.kind, reference)
        for pattern, value in self.tolerances.items():
            if pattern == dtype or fnmatch(f"{quantity} {dtype}", pattern):
                bound = value
        return bound

    def comparison(self) -> Comparison:
        """The result."""
        small = self.too_small()
        rows = [self.row(*point, index in small) for index, point in enumerate(self.points)]
        zeros = dict.fromkeys(
            f"{quantity}, {dtype}: zero in every case, so that zeros pass for it; where that is "
            f"right, say case.cancels({quantity!r})"
            for index, (_, quantity, dtype, *_) in enumerate(self.points)
            if index in small and self.is_zero(self.points[index])
        )
        return Comparison(
            tuple(rows),
            tuple(dict.fromkeys(self.missing)),
            {label: side.versions for label, side in self.sides.items()},
            {label: side.proposals for label, side in self.sides.items() if side.proposals},
            tuple(note for side in self.sides.values() for note in side.notes),
            tuple(zeros),
            dict(self.sides),
        )


def _tolerance(quantity: str, dtype: str, kind: str, reference: bool) -> float:
    if dtype in HALVES:
        return HALF_TOLERANCE[dtype]
    if quantity.startswith("training:"):
        return TRAINING_TOLERANCE if dtype == "float64" else FLOAT32_TRAINING_TOLERANCE
    if quantity.startswith("gradient:"):
        bound = GRADIENT_TOLERANCE[kind, dtype]
        return max(bound, DIFFERENCE_TOLERANCE) if reference else bound
    return VALUE_TOLERANCE[kind, dtype]
