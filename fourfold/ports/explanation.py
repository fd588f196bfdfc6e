"""Where two implementations differ, whether it matters, and why: the three answers together."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fourfold.agreement import GRADIENT_TOLERANCE, VALUE_TOLERANCE
from fourfold.ports.location import Location, ModulePair, locate, moved, relative, replayed
from fourfold.ports.rounding import Rounding, rounding
from fourfold.ports.sides import NoStandIns, Origin, Side

if TYPE_CHECKING:
    from fourfold.ports.hypotheses import Diagnosis
    from fourfold.ports.in_torch import StandIns

INSTALL = 'pip install "fourfold[torch]"'

# So many differing modules are diagnosed; the others would rarely differ for another reason.
MAX_MODULES = 8


@dataclass(frozen=True)
class Explanation:
    """Why two implementations differ in one case: it prints itself.

    Args:
        a, b: their labels; a is the one that was changed to agree with b.
        case, dtype: what was looked at.
        before: {quantity: error} of the whole, relative to the largest entry.
        diagnoses: what explains it, the simplest first, for each place.
        after: the error of the whole with the first diagnosis of each place; None where nothing
            was found.
        location: the inner modules in pairs.
        note: why nothing could be tried, if so.
    """

    a: str
    b: str
    case: str
    dtype: str
    before: Mapping[str, float]
    diagnoses: tuple[Diagnosis, ...] = ()
    after: float | None = None
    location: Location | None = None
    note: str = ""

    @property
    def traps(self) -> list[str]:
        """The names of the traps that explain the difference, the simplest explanation first."""
        return list(dict.fromkeys(name for one in self.diagnoses for name in one.traps))

    def __bool__(self) -> bool:
        return bool(self.diagnoses)

    def __str__(self) -> str:
        lines = [f"{self.case}, {self.dtype}: {self.a} and {self.b}"]
        if self.note:
            return "\n".join([*lines, f"  {self.note}"])
        lines += [f"  {name}: error {found:.2g}" for name, found in self.before.items()]
        lines += [f"  {one}" for one in self.diagnoses]
        if not self.diagnoses:
            lines.append("  no trap that the tool knows explains the difference")
        if self.after is not None:
            lines.append(f"  with {self.a} changed so, the whole differs by {self.after:.2g}")
        return "\n".join(lines)


def explain(
    origin: Origin,
    a: str,
    b: str,
    case: str,
    dtype: str,
    *,
    names: Mapping[str, str] | None = None,
    tolerance: float | None = None,
) -> Explanation:
    """What explains that two implementations differ in a case: the traps that make them agree.

    A side in PyTorch is changed, where there is one. Otherwise each of the two is, first a, until
    one is explained.

    Args:
        origin: what the comparison was made of.
        a, b: labels.
        case: the name of the case.
        dtype: float64 or float32.
        names: {module of a: module of b}.
        tolerance: the error at which they agree; by default that of the comparison.

    Returns:
        The explanation.
    """
    back = {other: one for one, other in (names or {}).items()}
    orders = [(a, b, names or {}), (b, a, back)]
    orders.sort(key=lambda one: not one[0].startswith("torch"))
    found: list[Explanation] = []
    for original, port, pairs in orders:
        found.append(_explained(origin, original, port, case, dtype, pairs, tolerance))
        last = found[-1]
        if last or not last.before or original.startswith("torch"):
            return last
    tried = [one for one in found if not one.note]
    return tried[0] if tried else found[0]


def _explained(
    origin: Origin,
    a: str,
    b: str,
    case: str,
    dtype: str,
    names: Mapping[str, str],
    tolerance: float | None,
) -> Explanation:
    """What explains the difference, with a as the side that is changed."""
    original, port = (origin.side(label, case, dtype) for label in (a, b))
    value_bound = VALUE_TOLERANCE["model", dtype] if tolerance is None else tolerance
    bound = GRADIENT_TOLERANCE["model", dtype] if tolerance is None else tolerance
    got, wanted = original.quantities(), port.quantities()
    shared = [name for name in wanted if name in got]
    before = {name: relative(wanted[name], got[name]) for name in shared}
    differing = {name: found for name, found in before.items() if found > bound}
    answer = Explanation(a, b, case, dtype, differing)
    if not differing:
        return replace(answer, note="they agree")
    if importlib.util.find_spec("torch") is None:
        return replace(answer, note=f"traps are computed by PyTorch: {INSTALL}")
    from fourfold.ports.in_torch import standing_in

    values = [name for name in differing if name.startswith("value:")]
    kept = values or list(differing)
    location = locate(original, port, names=names, isolated=True, tolerance=value_bound)
    answer = replace(answer, location=location)
    try:
        with standing_in(original) as stand_ins:
            if stand_ins and not values:
                return replace(answer, note=f"gradients alone differ, and {a} is not in PyTorch")
            search = _Search(original, port, wanted, kept, stand_ins)
            diagnoses = search.diagnoses(location, value_bound, bound)
            if diagnoses:
                answer = replace(answer, diagnoses=tuple(diagnoses))
                return replace(answer, after=search.after(diagnoses))
    except NoStandIns as error:
        return replace(answer, note=str(error))
    return _of_another_start(answer, original, port, wanted, kept, bound)


@dataclass(frozen=True)
class _Search:
    """The original, which is run with one trap at a time, and what it is held to."""

    original: Side
    port: Side
    wanted: Mapping[str, np.ndarray]
    kept: list[str]
    stand_ins: StandIns | None

    def diagnoses(self, location: Location, value_bound: float, bound: float) -> list[Diagnosis]:
        """Those of the inner modules that differ; where there are none, those of the whole."""
        found: list[Diagnosis] = []
        places = [pair for pair in location.differing if pair.isolated is not None]
        for pair in places[:MAX_MODULES]:
            found += self.of_module(pair, value_bound)
        return found or self.of_whole(bound)

    def of_module(self, pair: ModulePair, bound: float) -> list[Diagnosis]:
        """The diagnoses of one inner module, on the original's inputs."""
        from fourfold.ports.hypotheses import diagnose

        ours, theirs = (side.recorded() for side in (self.original, self.port))
        call = ours[pair.index_a]
        outputs = replayed(call, theirs[pair.index_b], self.port)
        if outputs is None:
            return []

        def run() -> dict[str, np.ndarray]:
            return {"output": self.original.replayed(pair.a, call.inputs)[0]}

        wanted = {"output": moved(outputs[0], pair.from_b)}
        return diagnose(self.prepared(run), wanted, bound, pair.a)

    def of_whole(self, bound: float) -> list[Diagnosis]:
        """The diagnoses of the whole, where no inner module is to blame."""
        from fourfold.ports.hypotheses import diagnose

        return diagnose(self.whole(), {name: self.wanted[name] for name in self.kept}, bound)

    def whole(self) -> Callable[[], dict[str, np.ndarray]]:
        """The original as a run that gives what is compared."""
        gradients = any(name.startswith("gradient:") for name in self.kept)

        def run() -> dict[str, np.ndarray]:
            got = self.original.quantities(gradients=gradients)
            return {name: got[name] for name in self.kept}

        return self.prepared(run)

    def prepared(self, run: Callable[[], Any]) -> Callable[[], Any]:
        return self.stand_ins.prepared(run) if self.stand_ins else run

    def after(self, found: list[Diagnosis]) -> float | None:
        """The error of the whole, with the first diagnosis of each place.

        None where it cannot be told: calls are numbered within a module, and outside of PyTorch
        nothing tells a module's calls from the others.
        """
        from fourfold.ports.hypotheses import Edited

        firsts: dict[str, Diagnosis] = {}
        for one in found:
            firsts.setdefault(one.module, one)
        edits = [replace(edit, module=one.module) for one in firsts.values() for edit in one.edits]
        inside = [edit for edit in edits if edit.module]
        if any(edit.index is not None or self.stand_ins for edit in inside):
            return None
        run = self.whole()
        with Edited(edits, self.original.target):
            got = run()
        return max((relative(self.wanted[name], got[name]) for name in self.kept), default=math.nan)


def _of_another_start(
    answer: Explanation,
    original: Side,
    port: Side,
    wanted: Mapping[str, np.ndarray],
    kept: list[str],
    bound: float,
) -> Explanation:
    """The answer with the diagnosis that the port has other weights, if these make them agree."""
    from fourfold.ports.hypotheses import Diagnosis

    ours = original.port.weights(original.target)
    theirs = {name: one for name, one in (port.kept or {}).items() if name in ours}
    others = [name for name, one in theirs.items() if relative(one, ours[name]) > bound]
    if not others:
        return answer
    moved_there = original.with_weights({**ours, **{name: theirs[name] for name in others}})
    got = moved_there.quantities()
    after = max(relative(wanted[name], got[name]) for name in kept)
    if after > bound:
        return answer
    found = Diagnosis(
        ("another-start",),
        f"it has the port's weights: {', '.join(others)}",
        (),
        max(answer.before[name] for name in kept),
        after,
        bound,
        "copy these weights of the original into the port",
    )
    return replace(answer, diagnoses=(found,), after=after)


def matters(origin: Origin, a: str, b: str, case: str, *, gradients: bool = True) -> list[Rounding]:
    """Whether rounding explains a difference in float32: see `fourfold.ports.rounding`.

    Args:
        origin: what the comparison was made of.
        a: the original's label.
        b: the port's.
        case: the name of the case.
        gradients: whether gradients are looked at too.
    """
    rounded = replace(origin, cases={case: origin.cases[case].cast("float32")})
    original, port = (rounded.side(label, case, "float32") for label in (a, b))
    exact = rounded.side(a, case, "float64")
    weights = {
        name: one.astype(exact_one.dtype)
        for (name, one), exact_one in zip(
            original.port.weights(original.target).items(),
            exact.port.weights(exact.target).values(),
            strict=True,
        )
    }
    if weights:
        exact = exact.with_weights(weights)
    return rounding(exact, original, port.quantities(gradients=gradients), gradients=gradients)
