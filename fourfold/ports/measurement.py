"""What one implementation makes of the cases, in its own environment: kept in a file if asked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fourfold.definition import Arrays, Case
from fourfold.ports import archive
from fourfold.ports import port as load_port
from fourfold.ports.calling import resolved
from fourfold.ports.protocol import Measured, Port, Training, WithWeights, is_float_array
from fourfold.ports.training import train
from numpy_infer.format.weight_map import WeightMap, given, linked
from numpy_infer.format.weight_proposal import propose

HALVES = ("float16", "bfloat16")
LAST = "channels last"  # the layout of an input or output that is (batch, *space, channels)
CHANNELS_LAST = ("keras", "tensorflow")  # as a case's channels are, where nothing else is said

Layouts = Mapping[str, str | Callable[..., Any]]
Point = tuple[str, str]  # case and dtype


@dataclass
class Measurement:
    """The quantities of one implementation.

    Args:
        label: what the user calls it.
        framework: whose adapter ran it.
        versions: {package: version}.
        quantities: {(case, dtype): {quantity: array}}; for half precisions also what the
            implementation gives in float32 on the rounded input, as dtype "float32 on float16".
        dtypes: {(case, dtype): {quantity: the framework's dtype}}.
        errors: {(case, dtype): what was raised}.
        weights: {case: {name: array}}, where the weights of this implementation are the original.
        proposals: the lines of its map of weights.
        choices: {original: other layouts that its array would fit in}.
        notes: what was not compared, and why.
        differentiates: whether it has gradients.
    """

    label: str
    framework: str
    versions: dict[str, str] = field(default_factory=dict)
    quantities: dict[Point, dict[str, np.ndarray]] = field(default_factory=dict)
    dtypes: dict[Point, dict[str, str]] = field(default_factory=dict)
    errors: dict[Point, str] = field(default_factory=dict)
    weights: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    proposals: list[str] = field(default_factory=list)
    choices: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    differentiates: bool = True

    def save(self, path: str | Path) -> None:
        """Write it to a .npz file; `load` reads it in any environment with NumPy."""
        arrays: dict[str, np.ndarray] = {}
        points = list(self.quantities)
        for index, point in enumerate(points):
            for name, array in self.quantities[point].items():
                arrays[f"quantity|{index}|{name}"] = array
        for case, weights in self.weights.items():
            for name, array in weights.items():
                arrays[f"weight|{case}|{name}"] = array
        header = {
            "label": self.label,
            "framework": self.framework,
            "versions": self.versions,
            "points": points,
            "dtypes": [[*point, names] for point, names in self.dtypes.items()],
            "errors": [[*point, error] for point, error in self.errors.items()],
            "proposals": self.proposals,
            "choices": self.choices,
            "notes": self.notes,
            "differentiates": self.differentiates,
        }
        archive.write(path, header, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Measurement:
        """Read what `save` has written."""
        header, arrays = archive.read(path)
        points = [(case, dtype) for case, dtype in header.pop("points")]
        quantities: dict[Point, dict[str, np.ndarray]] = {point: {} for point in points}
        weights: dict[str, dict[str, np.ndarray]] = {}
        for key, array in arrays.items():
            what, _, rest = key.partition("|")
            owner, _, name = rest.partition("|")
            if what == "quantity":
                quantities[points[int(owner)]][name] = array
            elif what == "weight":
                weights.setdefault(owner, {})[name] = array
        header["dtypes"] = {(case, dtype): names for case, dtype, names in header["dtypes"]}
        header["errors"] = {(case, dtype): error for case, dtype, error in header["errors"]}
        return cls(quantities=quantities, weights=weights, **header)


def measure(
    target: Any,
    cases: Sequence[Case],
    *,
    framework: str,
    label: str | None = None,
    dtypes: Sequence[str] = ("float64", "float32"),
    gradients: bool = True,
    training: Training | None = None,
    names: Mapping[str, str] | None = None,
    layouts: Layouts | None = None,
    originals: Mapping[str, Arrays] | None = None,
    carry: bool = False,
) -> Measurement:
    """Run one implementation on all cases; what raises costs its own case and dtype alone.

    Args:
        target: the implementation, or "module:attribute".
        cases: what it is called with.
        framework: torch, keras, tensorflow, jax, theano or numpy.
        label: what it is called in the result.
        dtypes: float64, float32, float16, bfloat16.
        gradients: whether to differentiate.
        training: what to train, if anything.
        names: {original name: its own name} of weights, inputs and outputs.
        layouts: {name: layout}.
        originals: {case: {name: array}}, the weights of another implementation, for cases that
            have none of their own.
        carry: whether a module is given these too, and does not keep its own.

    Returns:
        The measurement.

    Example:
        >>> case = Case("one", {"x": np.array([1.0, 2.0])})
        >>> measure(np.exp, [case], framework="numpy").errors
        {}
    """
    found = Measurement(label or framework, framework)
    try:
        port = load_port(framework)
        target = resolved(target)
    except Exception as error:
        reason = said(error)
        found.errors = {(case.name, dtype): reason for case in cases for dtype in dtypes}
        return found
    found.versions = port.versions()
    found.differentiates = port.differentiates
    run = Run(found, port, target, dict(names or {}), dict(layouts or {}), originals or {}, carry)
    for case in cases:
        for dtype in dtypes:
            if dtype not in port.dtypes:
                note = f"{found.label}: {dtype} is not supported"
                found.notes += [note] if note not in found.notes else []
                continue
            try:
                run.measure(case, dtype, gradients and port.differentiates and case.differentiate)
                if training and dtype == dtypes[0]:
                    run.train(case, dtype, training)
            except Exception as error:
                found.errors[case.name, dtype] = said(error)
    return found


def said(error: BaseException) -> str:
    """An exception in one line."""
    first = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {first[0]}"


@dataclass
class Run:
    """One implementation in its framework, and what is found about it."""

    found: Measurement
    port: Port
    target: Any
    names: dict[str, str]
    layouts: dict[str, Any]
    originals: Mapping[str, Arrays]
    carry: bool = False

    def measure(self, case: Case, dtype: str, gradients: bool) -> None:
        """The quantities of a case in a dtype."""
        point = (case.name, dtype)
        if dtype not in HALVES:
            self.keep(point, self.called(case.cast(dtype), dtype, gradients))
            return
        rounded = rounded_to(case, dtype)
        exact = self.called(rounded, "float32", gradients, dtype, None)
        self.keep((case.name, f"float32 on {dtype}"), exact)
        self.keep(point, self.called(rounded, dtype, gradients, dtype, dtype))

    def keep(self, point: Point, found: tuple[dict[str, np.ndarray], dict[str, str]]) -> None:
        self.found.quantities[point], self.found.dtypes[point] = found

    def called(
        self,
        case: Case,
        dtype: str,
        gradients: bool,
        half: str | None = None,
        given_in: str | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """{quantity: array} and {quantity: dtype} under the names of the case.

        half: the precision that weights are rounded to; given_in: that of the call itself.
        """
        adapted = self.adapted(case)
        built, weights = self.built(case, adapted, dtype, half)
        measured = self.port.call(built, adapted, gradients=gradients, dtype=given_in)
        quantities = self.named(measured)
        dtypes = {f"value:{name}": value for name, value in self.renamed(measured.dtypes).items()}
        for name, value in weights.gradients(measured).items():
            quantities[f"gradient:{name}"] = value
        if weights.kept is not None:
            own = {name: one for name, one in weights.kept.items() if name not in case.fixed}
            quantities |= {f"weight:{name}": value for name, value in own.items()}
        return quantities, dtypes

    def named(self, measured: Measured) -> dict[str, np.ndarray]:
        """value:NAME of the outputs and gradient:NAME of the inputs, as the case names them."""
        kinds = (("value", measured.outputs), ("gradient", measured.input_gradients))
        return {
            f"{kind}:{name}": self.moved(name, value, 1)
            for kind, values in kinds
            for name, value in self.renamed(values).items()
        }

    def train(self, case: Case, dtype: str, training: Training) -> None:
        """The losses of a training, and the weights after it."""
        cast = case.cast(dtype)
        batches = [
            self.adapted(replace(cast, inputs={**cast.inputs, **inputs}).cast(dtype))
            for inputs in training.batches or [{}]
        ]
        built, weights = self.built(cast, batches[0], dtype)
        if not self.port.differentiates:
            return
        trained = train(self.port, built, batches, training, self.found.label)
        quantities = self.found.quantities[case.name, dtype]
        quantities["training:losses"] = trained.losses
        steps = [weights.back(one) for one in trained.weights]
        for name in steps[-1]:
            values = np.stack([one[name] for one in steps])  # (steps, *shape)
            quantities[f"training:{name}"] = values if training.kept == "every" else values[-1]
        if training.optimizer != "sgd":
            note = f"{self.found.label}: trained by {trained.says}"
            self.found.notes += [note] if note not in self.found.notes else []

    def adapted(self, case: Case) -> Case:
        """The case with the implementation's names and layouts of inputs."""
        inputs = {
            self.names.get(name, name): self.moved(name, value, -1, case)
            for name, value in case.inputs.items()
        }
        self.channels = set(case.channels)
        fixed = {self.names.get(name, name) for name in case.fixed}
        last = [
            self.names.get(name, name)
            for name in {*self.channels, *self.layouts}
            if self.has_channels_last(name, self.channels)
        ]
        return replace(case, inputs=inputs, fixed=fixed, channels=last)

    def has_channels_last(self, name: str, channels: Collection[str]) -> bool:
        """Whether an input or output has its channels last in this implementation."""
        default = LAST if name in channels and self.port.framework in CHANNELS_LAST else "same"
        return bool(self.layouts.get(name, default) == LAST)

    def moved(self, name: str, value: Any, to: int, case: Case | None = None) -> Any:
        """An input with its channels where the implementation wants them, or an output back."""
        channels = self.channels if case is None else case.channels
        if not isinstance(value, np.ndarray) or not self.has_channels_last(name, channels):
            return value
        return np.moveaxis(value, 1, -1) if to == -1 else np.moveaxis(value, -1, 1)

    def renamed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Under the names of the case."""
        back = {own: name for name, own in self.names.items()}
        return {back.get(name, name): value for name, value in values.items()}

    def built(
        self, case: Case, adapted: Case, dtype: str, half: str | None = None
    ) -> tuple[Any, Weights]:
        """The implementation with its weights, and how they follow from the originals."""
        built = self.port.build(self.target, adapted, dtype)
        own = self.port.weights(built)
        loaded = case.weights is not None
        originals = case.weights if loaded else self.originals.get(case.name)
        if originals is not None and not loaded:
            originals = {name: cast(one, dtype, half) for name, one in originals.items()}
        if originals is None:
            if not own:
                return built, Weights({}, WeightMap(()), None)
            kept = self.found.weights.get(case.name) or self.start(own)
            self.found.weights[case.name] = kept
            arrays = {name: cast(one, dtype, half) for name, one in kept.items()}
            return self.port.with_weights(built, arrays), Weights(
                arrays, given(arrays, {}, {}), arrays
            )
        if not own:
            if not loaded and not takes_weights(built, adapted):
                return built, Weights({}, WeightMap(()), None)
            links = given(originals, self.names, self.layouts)
            return self.port.with_weights(built, links.forward(originals)), Weights(
                originals, links, None
            )
        links = propose(originals, own, self.names, self.layouts)
        self.found.proposals = links.lines()
        if not loaded and not self.carry and self.port.holds_weights(self.target):
            self.found.proposals += not_turned(links, originals, own)
            return built, Weights(originals, links, links.back(own, originals))
        self.found.choices = {
            link.originals[0]: list(link.others) for link in links.links if link.others
        }
        if links.unmatched_targets:
            missing = ", ".join(links.unmatched_targets)
            raise ValueError(
                f"weights: expected an original for each of its own, got none for {missing}"
            )
        return self.port.with_weights(built, links.forward(originals)), Weights(
            originals, links, None
        )

    def start(self, own: Arrays) -> dict[str, np.ndarray]:
        """The weights of a module as they are; those of a new one so that all are different."""
        exact = {name: one.astype(np.float64) for name, one in own.items()}
        return exact if self.port.holds_weights(self.target) else started(exact)


@dataclass(frozen=True)
class Weights:
    """The originals, how the implementation's weights follow, and what it keeps of its own."""

    originals: Arrays
    links: WeightMap
    kept: dict[str, np.ndarray] | None

    def gradients(self, measured: Measured) -> dict[str, np.ndarray]:
        return self.links.gradients(measured.weight_gradients, self.originals)

    def back(self, weights: Arrays) -> dict[str, np.ndarray]:
        return self.links.back(weights, self.originals) if self.originals else {}


def not_turned(links: WeightMap, originals: Arrays, own: Arrays) -> list[str]:
    """A line for each array that a module holds in another layout than it should."""
    lines = []
    for link in links.links:
        if not link.others:
            continue
        (name,) = link.originals
        kept = own[link.target]
        wanted = links.forward(originals)[link.target]
        for layout in link.others:
            shapes = {name: originals[name].shape}
            other = linked(shapes, (name,), link.target, kept.shape, layout)
            if other is None or np.allclose(kept, wanted):
                continue
            if np.allclose(kept, WeightMap((other,)).forward(originals)[link.target]):
                lines.append(
                    f"{link.target}: holds {name} as {layout!r}, expected {link.layout!r}: "
                    "its shape does not show that it was not turned"
                )
    return lines


def takes_weights(function: Any, case: Case) -> bool:
    """Whether a function needs one argument more than the case has inputs."""
    if isinstance(function, WithWeights) or not callable(function):
        return False
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    needed = [one for one in parameters if one.default is one.empty and one.kind in (0, 1)]
    return len(needed) > len(case.inputs)


def started(own: Arrays, seed: int = 0) -> dict[str, np.ndarray]:
    """Seeded weights of the size of a new module's, none like another; no zeros and ones.

    What is constant in a new module, such as a bias or a scale, moves by up to a half upwards, so
    that variances stay positive.
    """
    generator = np.random.default_rng(seed)
    arrays = {}
    for name, one in own.items():
        if one.size == 0 or np.ptp(one) == 0:
            arrays[name] = one + generator.uniform(0.1, 0.5, one.shape)
        else:
            scale = 2.0 ** np.round(np.log2(one.std()))
            arrays[name] = scale * generator.normal(size=one.shape)
    return arrays


def rounded_to(case: Case, dtype: str) -> Case:
    """The case in float32, with every floating number rounded to a half precision."""

    def rounded(value: Any) -> Any:
        return half(value, dtype) if is_float_array(value) else value

    inputs = {name: rounded(value) for name, value in case.inputs.items()}
    weights = case.weights and {name: rounded(value) for name, value in case.weights.items()}
    return replace(case, inputs=inputs, weights=weights)


def cast(array: np.ndarray, dtype: str, to_half: str | None) -> np.ndarray:
    """A weight in a dtype, or as float32 rounded to a half precision."""
    return half(array, to_half) if to_half else array.astype(dtype)


def half(array: np.ndarray, dtype: str) -> np.ndarray:
    """float32 numbers that float16 or bfloat16 holds, the nearest ones, ties to even."""
    with np.errstate(over="ignore"):
        if dtype == "float16":
            return array.astype(np.float16).astype(np.float32)
        bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
        shortened = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
        found = shortened.astype(np.uint32).view(np.float32).reshape(array.shape)
    return np.where(np.isnan(array), np.float32(np.nan), found)
