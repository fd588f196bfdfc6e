"""Where two implementations differ: their inner modules in pairs, and the first that differs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fourfold.agreement import GRADIENT_TOLERANCE, VALUE_TOLERANCE, error, largest
from fourfold.ports.protocol import Recorded, Training
from fourfold.ports.sides import Side
from numpy_infer.format.weight_names import words

# The names of one kind of layer in the frameworks, in lower case and without "2d" and the like.
KINDS = (
    {"linear", "dense", "einsumdense"},
    {"conv", "convolution"},
    {"convtranspose", "convtransposed"},
    {"batchnorm", "batchnormalization"},
    {"layernorm", "layernormalization"},
    {"groupnorm", "groupnormalization"},
    {"rmsnorm", "rmsnormalization"},
    {"embedding", "embed"},
    {"gru"},
    {"lstm"},
    {"multiheadattention", "multiheaddotproductattention"},
    {"maxpool", "maxpooling"},
    {"avgpool", "averagepooling"},
    {"dropout"},
    {"relu"},
    {"gelu"},
    {"softmax"},
)
# Two calls are a pair when this much speaks for it: as much as the same kind of layer does.
LIKELY = 1.0


@dataclass(frozen=True)
class ModulePair:
    """A call of an inner module of one side, and its counterpart on the other.

    Args:
        a, b: the names of the modules.
        kind_a, kind_b: the names of their classes.
        index_a, index_b: of the calls, in the order of the calls.
        forward: the error of the outputs, relative to the largest entry.
        backward: the error of the gradients that arrive at the outputs.
        isolated: the error of b's outputs when b is given the inputs of a; None where it was not
            asked for, or could not be tried.
        from_b: (source, destination) of the axis that is moved in b's outputs; None for none.
    """

    a: str
    b: str
    kind_a: str
    kind_b: str
    index_a: int
    index_b: int
    forward: float
    backward: float
    isolated: float | None = None
    from_b: tuple[int, int] | None = None

    def __str__(self) -> str:
        alone = "" if self.isolated is None else f", on the same inputs {self.isolated:.2g}"
        return (
            f"{self.a} ({self.kind_a}) and {self.b} ({self.kind_b}): "
            f"forward {self.forward:.2g}, backward {self.backward:.2g}{alone}"
        )


@dataclass(frozen=True)
class Location:
    """Where two implementations differ in one case.

    Args:
        a, b: their labels.
        case: its name.
        tolerance, gradient_tolerance: what forward and backward errors are held to.
        pairs: in the order of a's calls.
        only_a, only_b: the modules that have no counterpart.
        step: how many steps of training came before.
    """

    a: str
    b: str
    case: str
    tolerance: float
    gradient_tolerance: float
    pairs: tuple[ModulePair, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()
    step: int = 0

    @property
    def first(self) -> ModulePair | None:
        """The first pair whose outputs differ; on the same inputs, where that was tried.

        A module that holds others is not named when one of these differs.
        """
        return next(iter(self.differing), None)

    @property
    def differing(self) -> list[ModulePair]:
        """The pairs whose outputs differ, without those that differ because of an inner one."""
        found = [pair for pair in self.pairs if _deciding(pair) > self.tolerance]
        return [pair for pair in found if not any(one.a.startswith(f"{pair.a}.") for one in found)]

    @property
    def between(self) -> tuple[str, str] | None:
        """The modules of a between whose outputs a difference arises that no module makes.

        The start and the end of the model are empty names. None where a module differs, or nothing.
        """
        if self.first is not None:
            return None
        before = ""
        for pair in self.pairs:
            if pair.forward > self.tolerance:
                return before, pair.a
            before = pair.a
        return None

    @property
    def first_backward(self) -> ModulePair | None:
        """The first pair, from the output backwards, at which other gradients arrive."""
        found = [pair for pair in self.pairs if pair.backward > self.gradient_tolerance]
        return found[-1] if found else None

    def __str__(self) -> str:
        after = f" after {self.step} steps" if self.step else ""
        lines = [f"{self.case}: {self.a} and {self.b}{after}"]
        if not self.pairs:
            lines.append("  no inner modules in pairs")
        first, back = self.first, self.first_backward
        for pair in self.pairs:
            mark = "→" if pair is first else "←" if pair is back else " "
            lines.append(f"{mark} {pair}")
        if self.between:
            before, after = self.between
            lines.append(
                f"  the inner modules agree: what differs stands between "
                f"{before or 'the input'} and {after}"
            )
        lines += [f"  {self.a} alone: {name}" for name in self.only_a]
        lines += [f"  {self.b} alone: {name}" for name in self.only_b]
        return "\n".join(lines)


def _deciding(pair: ModulePair) -> float:
    return pair.forward if pair.isolated is None else pair.isolated


def locate(
    a: Side,
    b: Side,
    *,
    names: Mapping[str, str] | None = None,
    isolated: bool = False,
    tolerance: float | None = None,
) -> Location:
    """The inner modules of two sides in pairs, with their errors.

    Args:
        a: the original.
        b: the port.
        names: {module of a: module of b}; the others are paired by order, name and shape.
        isolated: whether each module of b is also given the inputs of its counterpart, so that
            errors do not add up.
        tolerance: of the outputs; by default that of a layer in the dtype of the case.

    Returns:
        The location.
    """
    recorded_a, recorded_b = (side.recorded() for side in (a, b))
    found = located(recorded_a, recorded_b, (a.label, b.label), a.given.name, names, tolerance)
    if not isolated:
        return found
    pairs = [_isolated(pair, recorded_a, recorded_b, b) for pair in found.pairs]
    return replace(found, pairs=tuple(pairs))


def located(
    a: Sequence[Recorded],
    b: Sequence[Recorded],
    labels: tuple[str, str],
    case: str,
    names: Mapping[str, str] | None = None,
    tolerance: float | None = None,
) -> Location:
    """The location from what was recorded, here or elsewhere.

    Example:
        >>> x = np.array([[1.0, 2.0]])
        >>> original = [Recorded("fc", "Linear", (x,), (2 * x,))]
        >>> port = [Recorded("dense", "Dense", (x,), (3 * x,))]
        >>> located(original, port, ("torch", "keras"), "one").first.b
        'dense'
    """
    arrays = [one for call in (*a, *b) for one in call.outputs if one.dtype.kind == "f"]
    halves = any(one.dtype.itemsize < 8 for one in arrays)
    dtype = "float32" if halves else "float64"
    bound = VALUE_TOLERANCE["model", dtype] if tolerance is None else tolerance
    pairs = [_pair(a, b, i, j) for i, j in paired(a, b, names)]
    taken_a = {pair.index_a for pair in pairs}
    taken_b = {pair.index_b for pair in pairs}
    return Location(
        *labels,
        case,
        bound,
        max(bound, GRADIENT_TOLERANCE["model", dtype]),
        tuple(pairs),
        tuple(dict.fromkeys(call.name for i, call in enumerate(a) if i not in taken_a)),
        tuple(dict.fromkeys(call.name for j, call in enumerate(b) if j not in taken_b)),
    )


def located_in_training(
    a: Side,
    b: Side,
    training: Training,
    *,
    names: Mapping[str, str] | None = None,
    isolated: bool = False,
    tolerance: float | None = None,
) -> Location:
    """The location at the first step of a training at which an inner module differs.

    Both sides take the same steps, each with its own gradients. Where none differs, the location
    after the last step.
    """
    trainers = [side.trainer(training) for side in (a, b)]
    for step in range(training.steps + 1):
        a, b = (
            replace(side, target=trainer.target)
            for side, trainer in zip((a, b), trainers, strict=True)
        )
        options: dict[str, Any] = {"isolated": isolated, "tolerance": tolerance}
        found = replace(locate(a, b, names=names, **options), step=step)
        if found.first is not None or found.first_backward is not None:
            return found
        for side, trainer in zip((a, b), trainers, strict=True):
            trainer.step(side.case)
    return found


def paired(
    a: Sequence[Recorded], b: Sequence[Recorded], names: Mapping[str, str] | None = None
) -> list[tuple[int, int]]:
    """Which call of a is which of b: the order-preserving pairs for which most speaks.

    What is left over is paired out of order when its names or its kinds say so.
    """
    names = names or {}
    for side, calls, known in (("a", a, names), ("b", b, names.values())):
        for name in known:
            if all(call.name != name for call in calls):
                raise ValueError(
                    f"names: expected a module of {side} such as "
                    f"{', '.join(call.name for call in calls[:5])}, got {name!r}"
                )
    score = np.array([[_likeness(one, other, names) for other in b] for one in a])
    score = score.reshape(len(a), len(b))
    best = np.zeros((len(a) + 1, len(b) + 1))  # of what follows calls i and j
    for i in reversed(range(len(a))):
        for j in reversed(range(len(b))):
            pair = score[i, j] + best[i + 1, j + 1] if score[i, j] >= LIKELY else -math.inf
            best[i, j] = max(best[i + 1, j], best[i, j + 1], pair)
    found, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        if score[i, j] >= LIKELY and best[i, j] == score[i, j] + best[i + 1, j + 1]:
            found.append((i, j))
            i, j = i + 1, j + 1
        elif best[i, j] == best[i + 1, j]:
            i += 1
        else:
            j += 1
    rest = [
        (-score[i, j], i, j)
        for i in set(range(len(a))) - {one for one, _ in found}
        for j in set(range(len(b))) - {one for _, one in found}
        if score[i, j] >= LIKELY
    ]
    for _, i, j in sorted(rest):
        if all(i != one and j != other for one, other in found):
            found.append((i, j))
    return sorted(found)


def _likeness(a: Recorded, b: Recorded, names: Mapping[str, str]) -> float:
    """How much speaks for a pair: the user, the kind of layer, the words of the names."""
    if a.name in names or b.name in names.values():
        return 100.0 if names.get(a.name) == b.name else 0.0
    if not a.outputs or not b.outputs:
        return 0.0
    if sorted(a.outputs[0].shape) != sorted(b.outputs[0].shape):
        return 0.0
    kind_a, kind_b = kind_of(a.kind), kind_of(b.kind)
    if kind_a != kind_b and max(kind_a, kind_b) >= 0 and min(kind_a, kind_b) >= 0:
        return 0.0
    alike = 2.0 if kind_a == kind_b >= 0 else 1.0 if a.kind == b.kind else 0.0
    shared = set(words(a.name)) & set(words(b.name))
    every = set(words(a.name)) | set(words(b.name))
    return alike + (1.5 * len(shared) / len(every) if every else 0.0)


def kind_of(name: str) -> int:
    """The number of a kind of layer in `KINDS`; −1 for a class of the user's."""
    plain = re.sub(r"\d+d", "", name.lower())
    return next((index for index, kind in enumerate(KINDS) if plain in kind), -1)


# How the axes of an array may be turned: not at all, the channels moved to the front or to the end.
MOVES: tuple[tuple[int, int] | None, ...] = (None, (-1, 1), (1, -1))


def moved(array: np.ndarray, move: tuple[int, int] | None) -> np.ndarray:
    """An array with one axis moved."""
    return array if move is None else np.moveaxis(array, *move)


def _moves(array: np.ndarray, shape: tuple[int, ...]) -> list[tuple[int, int] | None]:
    """The moves that give this shape."""
    return [
        move
        for move in MOVES
        if array.ndim == len(shape)
        and (move is None or array.ndim > 2)
        and moved(array, move).shape == shape
    ]


def relative(got: np.ndarray, wanted: np.ndarray) -> float:
    """The error relative to the largest entry of what is wanted, where that is below 1 too."""
    return error(got, wanted, min(1.0, largest(wanted)) or 1.0)


def _pair(a: Sequence[Recorded], b: Sequence[Recorded], i: int, j: int) -> ModulePair:
    one, other = a[i], b[j]
    wanted, got = one.outputs[0], other.outputs[0]
    moves = _moves(got, wanted.shape)
    errors = {move: relative(moved(got, move), wanted) for move in moves}
    move = min(errors, key=lambda move: errors[move]) if errors else None
    return ModulePair(
        one.name,
        other.name,
        one.kind,
        other.kind,
        i,
        j,
        errors[move] if errors else math.inf,
        _backward(one, other, move),
        from_b=move,
    )


def _backward(a: Recorded, b: Recorded, move: tuple[int, int] | None) -> float:
    if not a.gradients or not b.gradients:
        return 0.0
    wanted, got = a.gradients[0], b.gradients[0]
    if wanted is None or got is None:
        return 0.0 if wanted is got else math.inf
    return relative(moved(got, move), wanted)


def _isolated(
    pair: ModulePair, a: Sequence[Recorded], b: Sequence[Recorded], side: Side
) -> ModulePair:
    """The pair with the error of b's module on the inputs of a's."""
    outputs = replayed(a[pair.index_a], b[pair.index_b], side)
    if outputs is None:
        return pair
    wanted = a[pair.index_a].outputs[0]
    return replace(pair, isolated=relative(moved(outputs[0], pair.from_b), wanted))


def replayed(a: Recorded, b: Recorded, side: Side) -> tuple[np.ndarray, ...] | None:
    """The outputs of b's module on the inputs of a's; None where these do not fit."""
    inputs = []
    if len(a.inputs) < len(b.inputs):
        return None
    for given, own in zip(a.inputs, b.inputs, strict=False):
        moves = _moves(given, own.shape)
        if not moves:
            return None
        turned = [moved(given, move) for move in moves]
        nearest = min(turned, key=lambda one: relative(one, own))
        inputs.append(np.ascontiguousarray(nearest).astype(own.dtype))
    return side.replayed(b.name, inputs)
