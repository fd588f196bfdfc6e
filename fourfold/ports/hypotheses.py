"""Why two implementations differ: the PyTorch side is run again with one trap at a time.

While the original runs, each of its operations that a trap concerns is noted, with its line in the
user's code. Then it runs again, once for each form of each trap, with that operation computed as
the port may compute it. Where the outputs then agree with the port's, that form is an explanation.
"""

from __future__ import annotations

import inspect
import itertools
import math
import os
import sys
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fourfold.agreement import error, largest
from fourfold.definition import Arrays
from fourfold.ports.traps import TRAPS, Hypothesis, Operation, Trap

Run = Callable[[], Arrays]

# An explanation leaves at most this share of the error.
SHARE = 0.1
# Constants that people write, tried before one is fitted: by as many steps over the interval, and
# then by a ternary search within the best of them.
ROUND = (
    *(1e-16, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2),
    *(0.05, 0.1, 0.2, 0.3, 0.5, 0.9, 0.99, 1.0),
)
STEPS = 24
THIRDS = 50
# A constant counts as small when it is at most this.
SMALL = 0.01
# The original runs at most so often.
MAX_RUNS = 3000

# The names of the arguments, where an operation is no Python function that tells them.
SIGNATURES = {
    **dict.fromkeys(("sqrt", "rsqrt", "log", "sigmoid", "gelu"), "input"),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), "input weight bias stride padding dilation"),
    **dict.fromkeys(
        ("conv_transpose1d", "conv_transpose2d"), "input weight bias stride padding output_padding"
    ),
    **dict.fromkeys(("add", "matmul", "bmm"), "input other"),
    **dict.fromkeys(("mean", "sum"), "input dim keepdim"),
    **dict.fromkeys(("softmax", "log_softmax"), "input dim dtype"),
    **dict.fromkeys(("gru_cell", "lstm_cell"), "input hx w_ih w_hh b_ih b_hh"),
    **dict.fromkeys(
        ("gru", "lstm"),
        "input hx params has_biases num_layers dropout training bidirectional batch_first",
    ),
    **dict.fromkeys(
        ("max_pool1d", "max_pool2d"), "input kernel_size stride padding dilation ceil_mode"
    ),
    "avg_pool1d": "input kernel_size stride padding ceil_mode count_include_pad",
    "avg_pool2d": "input kernel_size stride padding ceil_mode count_include_pad",
    "flatten": "input start_dim end_dim",
    "linear": "input weight bias",
    "scaled_dot_product_attention": "query key value attn_mask dropout_p is_causal scale",
}
ALIASES = {"radd": "add", "iadd": "add", "rmatmul": "matmul"}
DISPATCHED = ("max_pool1d", "max_pool2d")  # functions of (*args, **kwargs)
PACKAGES = str(Path(torch.__file__).parents[1])
# Where the frameworks are, and what calls the user's code on their behalf; and their layers.
FRAMEWORKS = tuple(
    f"{PACKAGES}{os.sep}{name}{os.sep}"
    for name in ("torch", "keras", "tensorflow", "jax", "jaxlib", "flax", "numpy", "optree")
)
LAYERS = tuple(
    f"{PACKAGES}{os.sep}{os.path.join(*path)}{os.sep}"
    for path in (
        *(("torch", "nn", "modules"), ("keras", "src", "layers")),
        *(("flax", "linen"), ("flax", "nnx")),
    )
)
STANDARD = sysconfig.get_path("stdlib") + os.sep
ADAPTERS = str(Path(__file__).parent)
STAND_INS = ADAPTERS + os.sep + "in_torch"
OPERATIONS = frozenset(name for trap in TRAPS for name in trap.operations)


@dataclass(frozen=True)
class Call:
    """A call of an operation in the user's code: its name, and file and line."""

    operation: str
    place: str

    def __str__(self) -> str:
        return f"{self.operation} at {self.place}"


@dataclass(frozen=True)
class Edit:
    """A form of a trap, its constant, and which call it replaces; None stands for all of them.

    module: the name of the inner module within which it holds; empty for everywhere.
    """

    trap: Trap
    hypothesis: Hypothesis
    value: float = math.nan
    index: int | None = None
    module: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What explains a difference.

    Args:
        traps: the names of the traps.
        says: completes "agrees when …".
        calls: the operations of the original that were computed otherwise.
        before: the error without it, relative to the largest entry.
        after: the error with it.
        tolerance: what it was held to.
        advice: what to do about it.
        module: the inner module that it was found in; empty for the whole.
    """

    traps: tuple[str, ...]
    says: str
    calls: tuple[Call, ...]
    before: float
    after: float
    tolerance: float
    advice: str
    module: str = ""
    edits: tuple[Edit, ...] = ()

    def __str__(self) -> str:
        place = f"{self.module}: " if self.module else ""
        calls = ", ".join(map(str, self.calls))
        where = f" ({calls})" if calls else ""
        return (
            f"{place}agrees when {self.says}{where}: error {self.before:.2g} → "
            f"{self.after:.2g}, tolerance {self.tolerance:.2g}. {self.advice[0].upper()}"
            f"{self.advice[1:]}."
        )

    def to_json(self) -> dict[str, Any]:
        """The diagnosis as plain values."""
        return {
            "traps": list(self.traps),
            "says": self.says,
            "calls": [str(call) for call in self.calls],
            "before": self.before,
            "after": self.after,
            "tolerance": self.tolerance,
            "advice": self.advice,
            "module": self.module,
        }


class Edited(TorchFunctionMode):  # type: ignore[misc]  # torch has no types here
    """While it lasts, calls of operations are noted, and computed as the edits say."""

    def __init__(self, edits: Sequence[Edit] = (), target: Any = None) -> None:
        """target: the module whose inner modules the edits name, if they name any."""
        super().__init__()
        self.edits = edits
        self._inside: Counter[str] = Counter()
        self._hooks = [
            hook
            for name in {edit.module for edit in edits if edit.module}
            for hook in self._watched(target.get_submodule(name), name)
        ]
        self.calls: list[Call] = []
        self.replaced: list[Call] = []
        # {id of v + ε: (v + ε, v, ε)}; the sum is kept so that its id is not given again.
        self._sums: dict[int, tuple[Tensor, Tensor, float]] = {}

    def _watched(self, module: torch.nn.Module, name: str) -> Iterator[Any]:
        def enter(*_: Any) -> None:
            self._inside[name] += 1

        def leave(*_: Any) -> None:
            self._inside[name] -= 1

        yield module.register_forward_pre_hook(enter)
        yield module.register_forward_hook(leave)

    def __exit__(self, *exception: Any) -> None:
        for hook in self._hooks:
            hook.remove()
        super().__exit__(*exception)

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = operation_name(function)
        place = user_line() if name in OPERATIONS else None
        if place is None:
            return function(*args, **kwargs)
        operation = self._bound(name, function, args, kwargs)
        index, call = len(self.calls), Call(name, place)
        self.calls.append(call)
        result = None
        for edit in self.edits:
            inside = not edit.module or self._inside[edit.module]
            if inside and edit.index in (None, index) and name in edit.trap.operations:
                result = edit.hypothesis.change(operation, edit.value)
            if result is not None:
                self.replaced.append(call)
                break
        result = function(*args, **kwargs) if result is None else result
        if name == "add" and operation.sum_of is not None:
            self._sums[id(result)] = (result, *operation.sum_of)
        return result

    def _bound(self, name: str, function: Any, args: Any, kwargs: Any) -> Operation:
        named, call = bound(name, function, args, kwargs)
        x, other = named.get("input"), named.get("other")
        sum_of: tuple[Tensor, float] | None = None
        if name in ("sqrt", "rsqrt") and id(x) in self._sums:
            sum_of = self._sums[id(x)][1:]
        elif name == "add" and isinstance(other, float) and 0 < other <= SMALL:
            sum_of = x, other
        return Operation(name, call, named, sum_of)


def operation_name(function: Any) -> str:
    """`add` for `Tensor.__add__`, `Tensor.add_` and `torch.add`."""
    name = getattr(function, "__name__", "").strip("_")
    return ALIASES.get(name, name)


def bound(
    name: str, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[dict[str, Any], Callable[..., Any]]:
    """The arguments by name, and the operation as a function of arguments by name."""
    if name in ("reshape", "view"):
        return {"input": args[0]}, lambda input: function(input, *args[1:], **kwargs)
    if name in ("var", "std"):
        return _bound_variance(name, args, kwargs)
    if name == "add" and args and not isinstance(args[0], Tensor):
        args = (args[1], args[0])
    names = SIGNATURES.get(name, "").split()
    if inspect.isfunction(function) and name not in DISPATCHED:
        given = inspect.signature(function).bind(*args, **kwargs)
        given.apply_defaults()
        return dict(given.arguments), lambda **named: function(**named)
    count = len(args)
    positional = names[:count]
    named = dict(zip(positional, args, strict=False)) | dict(kwargs)
    if not isinstance(kwargs.get("input", args[0] if args else None), Tensor):
        return {"input": None}, lambda **_: function(*args, **kwargs)

    def call(**changed: Any) -> Any:
        first = [changed.pop(one) for one in positional]
        return function(*first, *args[len(positional) :], **changed)

    return named, call


def _bound_variance(
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[dict[str, Any], Callable[..., Any]]:
    """`var` and `std` are called with an axis or without, with `unbiased` or `correction`."""
    values = dict(kwargs)
    names = ["input", "dim", "unbiased", "keepdim"]
    if len(args) > 1 and isinstance(args[1], bool):
        names.remove("dim")
    values |= dict(zip(names, args, strict=False))
    values.setdefault("input", values.pop("self", None))
    values.setdefault("dim", values.pop("axis", None))
    plain = torch.var if name == "var" else torch.std

    def call(input: Tensor, dim: Any, correction: int, keepdim: bool) -> Tensor:
        return plain(input, dim, correction=correction, keepdim=keepdim)

    return values, call


def user_line() -> str | None:
    """File and line of the call in the user's code; the class of a framework's own layer that an
    adapter calls; None where the adapter itself makes the call.
    """
    frame, layer = sys._getframe(2), None
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(LAYERS) and layer is None and "self" in frame.f_locals:
            layer = f"{type(frame.f_locals['self']).__name__}.{frame.f_code.co_name}"
        if file != __file__ and not file.startswith(STAND_INS):
            if file.startswith(ADAPTERS):
                return layer
            if not is_framework(file):
                return f"{Path(file).name}:{frame.f_lineno}"
        if frame.f_back is None:
            return layer
        frame = frame.f_back
    return layer


def is_framework(file: str) -> bool:
    """Whether a file belongs to a framework or to Python itself."""
    outside = file.startswith(STANDARD) and not file.startswith(PACKAGES)
    return outside or file.startswith((*FRAMEWORKS, "<"))


def worst(got: Arrays, wanted: Arrays, flips: float = 0.0) -> float:
    """The largest error over the arrays, each relative to its largest entry, or 1 if that is more.

    Outputs that one side alone has make it infinite. flips: the share of the entries of each array
    that do not count, those that differ most.
    """
    if got.keys() != wanted.keys():
        return math.inf
    found = 0.0
    for name, b in wanted.items():
        a = np.asarray(got[name])
        if flips and a.shape == b.shape and a.size:
            distances = np.abs(a.astype(np.float64) - b)
            chosen = distances <= np.quantile(distances, 1 - flips)
            a, b = a[chosen], b[chosen]
        found = max(found, error(a, b, min(1.0, largest(b)) or 1.0))
    return found


def diagnose(run: Run, wanted: Arrays, tolerance: float, module: str = "") -> list[Diagnosis]:
    """What explains that an original in PyTorch gives other arrays than a port.

    Args:
        run: runs the original and returns its arrays, by the names of `wanted`.
        wanted: the port's, in the original's layout.
        tolerance: the error at which they agree.
        module: the name of the inner module that is run, for the report.

    Returns:
        The explanations, the simplest first; none when they agree already, or when no form of a
        trap explains the difference.

    Example:
        >>> x = torch.linspace(-2, 2, 5, dtype=torch.float64)
        >>> port = {"output": torch.nn.functional.gelu(x, approximate="tanh").numpy()}
        >>> original = lambda: {"output": torch.nn.functional.gelu(x).numpy()}
        >>> [found.says for found in diagnose(original, port, 1e-12)]
        ['GELU is approximated with a tanh']
    """
    attempts = _Attempts(run, wanted)
    before = attempts.error([])
    if before <= tolerance:
        return []
    limit = min(tolerance, SHARE * before) if math.isfinite(before) else tolerance
    attempts.limit = limit
    tried: list[tuple[float, tuple[Edit, ...]]] = []
    found: list[tuple[float, tuple[Edit, ...]]] = []
    for edits in candidates(attempts.calls):
        for edit in edits:
            after, fitted = attempts.fitted(edit, before)
            tried.append((after, (fitted,)))
        found = [one for one in tried if one[0] <= limit]
        if found:
            break
    if not found:
        tried.sort(key=lambda one: one[0])
        able = [edit for after, (edit,) in tried if math.isfinite(after) or math.isinf(before)]
        pairs = itertools.combinations(range(len(able)), 2)
        for i, j in sorted(pairs, key=sum):  # those first that come nearest alone
            after, both = attempts.pair(able[i], able[j])
            if after <= limit:
                found = [(after, both)]
                break
    found.sort(key=lambda one: one[0] > SHARE**3 * limit)
    return [
        Diagnosis(
            tuple(dict.fromkeys(edit.trap.name for edit in edits)),
            " and ".join(_said(edit) for edit in edits),
            tuple(dict.fromkeys(attempts.replaced(edits))),
            before,
            after,
            tolerance,
            "; ".join(dict.fromkeys(edit.trap.advice for edit in edits)),
            module,
            tuple(edits),
        )
        for after, edits in found
    ]


def candidates(calls: Sequence[Call]) -> Iterator[list[Edit]]:
    """The forms of the traps that concern the calls, the simplest first.

    1. Without a constant, in all calls; 2. with one; 3. and 4. the same in one of several calls.
    """
    concerned = {
        trap: [i for i, call in enumerate(calls) if call.operation in trap.operations]
        for trap in TRAPS
    }
    for alone in (False, True):
        for fitted in (False, True):
            yield [
                Edit(trap, hypothesis, index=index)
                for trap, indices in concerned.items()
                for hypothesis in trap.hypotheses
                if (hypothesis.interval is not None) == fitted
                for index in (indices if alone and len(indices) > 1 else [None] * (not alone))
                if indices
            ]


def _said(edit: Edit) -> str:
    return edit.hypothesis.says.replace("{value}", f"{edit.value:.4g}")


class _Attempts:
    """Runs of the original with edits, held to the port's arrays."""

    def __init__(self, run: Run, wanted: Arrays) -> None:
        self.run, self.wanted = run, wanted
        self.calls: list[Call] = []
        self.runs = 0
        self.limit = math.inf  # the error at which the arrays agree

    def error(self, edits: Sequence[Edit]) -> float:
        """Infinite where the original cannot be run so, or has been run often enough."""
        mode = Edited(edits)
        self.runs += 1
        if self.runs > MAX_RUNS:
            return math.inf
        try:
            with mode:
                got = self.run()
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):
            if not edits:
                raise
            return math.inf
        if not edits:
            self.calls = mode.calls
        elif not mode.replaced:
            return math.inf
        flips = max((edit.hypothesis.flips for edit in edits), default=0.0)
        return worst(got, self.wanted, flips)

    def replaced(self, edits: Sequence[Edit]) -> list[Call]:
        mode = Edited(edits)
        with mode:
            self.run()
        return mode.replaced

    def pair(self, one: Edit, other: Edit) -> tuple[float, tuple[Edit, ...]]:
        """Both edits, with the constant of one of them fitted again."""
        if other.hypothesis.interval is None:
            one, other = other, one
        after, fitted = self.fitted(other, self.error([one]), [one])
        return after, (one, fitted)

    def fitted(self, edit: Edit, before: float, others: Sequence[Edit] = ()) -> tuple[float, Edit]:
        """The edit, beside others, with the constant that leaves the least error."""
        if edit.hypothesis.interval is None:
            return self.error([*others, edit]), edit
        lowest, highest = edit.hypothesis.interval

        def at(value: float) -> float:
            return self.error([*others, replace(edit, value=value)])

        first = at(lowest)
        if math.isinf(first) and math.isinf(at(highest)):
            return math.inf, edit  # it does not apply
        enough = SHARE**3 * before
        for value in ROUND:
            if lowest <= value <= highest and (after := at(value)) <= min(enough, self.limit):
                return after, replace(edit, value=value)
        grid = np.geomspace(lowest, highest, STEPS)
        errors = [at(float(one)) for one in grid]
        best = int(np.argmin(errors))
        if not errors[best] < before:
            return math.inf, edit
        low, high = np.log(grid[max(best - 1, 0)]), np.log(grid[min(best + 1, STEPS - 1)])
        for _ in range(THIRDS):  # the error falls, and then rises
            third = (high - low) / 3
            if at(math.exp(low + third)) <= at(math.exp(high - third)):
                high -= third
            else:
                low += third
        value = math.exp((low + high) / 2)
        after = at(value)
        for digits in range(4):
            rounded = float(f"{value:.{digits}e}")
            if (there := at(rounded)) <= 2 * after:
                return there, replace(edit, value=rounded)
        return after, replace(edit, value=value)
