"""What an adapter of a framework offers to the comparison of other people's ports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from fourfold.definition import Arrays, Case, upstream


@dataclass(frozen=True)
class Measured:
    """What one call of an implementation gave: named arrays.

    Args:
        outputs: the value of each output.
        input_gradients: of the outputs' weighted sum (`fourfold.definition.upstream`), for each
            floating input.
        weight_gradients: the same for each trained weight, by the implementation's own names.
        dtypes: {output: name of its dtype in the framework}. NumPy has no bfloat16: such outputs
            are float32 arrays.
    """

    outputs: dict[str, np.ndarray]
    input_gradients: dict[str, np.ndarray] = field(default_factory=dict)
    weight_gradients: dict[str, np.ndarray] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recorded:
    """One call of an inner module: its path in the model, its class, and what went in and out.

    Args:
        name: the path of the module, such as "encoder.layers.0.norm".
        kind: the name of its class, such as "LayerNorm".
        inputs: its array arguments, in their order.
        outputs: its array results, in their order.
        gradients: of the outputs' weighted sum of the whole model, for each output of the module;
            None where none arrived.
    """

    name: str
    kind: str
    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]
    gradients: tuple[np.ndarray | None, ...] = ()


@dataclass(frozen=True)
class Trained:
    """A training run.

    Args:
        losses: the loss before each step, (steps,).
        weights: after each step, {name: array}.
        says: what took the steps, with its constants.
    """

    losses: np.ndarray
    weights: tuple[Arrays, ...]
    says: str


@dataclass(frozen=True)
class Optimizer:
    """What takes the steps of a training, with weights and a state of its own.

    Args:
        says: its name and its constants, for the report.
        step: takes {name: gradient}, moves the weights once, and gives {name: weight}.
    """

    says: str
    step: Callable[[Arrays], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Training:
    """A training that every implementation runs from the same start on the same batches.

    Each implementation takes its steps with its own gradients. "sgd" is gradient descent,
    θ ← θ − rate·∂loss/∂θ, which asks no framework. Otherwise each side names its optimizer:

    - torch: a function of a list of parameters, such as `partial(torch.optim.Adam, lr=0.001)`;
    - keras, tensorflow: a function without arguments, such as `partial(keras.optimizers.Adam,
      0.001)`, or an optimizer, whose configuration is taken;
    - jax: a transformation of optax, such as `optax.adam(0.001)`, or a function without arguments
      that makes one;
    - any: a function of `(weights, gradients, state)`, {name: NumPy array} and what it returned
      last, at first None, that returns `(weights, state)`.

    Args:
        steps: how many.
        rate: the learning rate of "sgd"; an optimizer has its own.
        loss: "upstream", the outputs' sum weighted by fixed numbers that are all different;
            "squares", half the mean of the outputs' squares; or "output", the output itself, which
            is then a scalar.
        optimizer: "sgd"; {implementation or framework: optimizer}; or one function of
            `(weights, gradients, state)` for all. An optimizer may be named "module:attribute",
            as another environment needs it.
        batches: inputs that replace those of the case, taken in turn; the case's own if empty.
        kept: "every", the weights after every step are compared, (steps, *shape); or "last", those
            at the end, for models of which so many copies do not fit.

    Raises:
        ValueError: for values that are none of these.

    Example:
        >>> Training(steps=5, rate=0.1, loss="squares").steps
        5
    """

    steps: int = 10
    rate: float = 0.01
    loss: str = "squares"
    optimizer: Any = "sgd"
    batches: Sequence[Mapping[str, Any]] = ()
    kept: str = "every"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps: expected at least 1, got {self.steps}")
        if self.loss not in ("upstream", "squares", "output"):
            raise ValueError(f"loss: expected upstream, squares or output, got {self.loss!r}")
        if self.kept not in ("every", "last"):
            raise ValueError(f"kept: expected every or last, got {self.kept!r}")
        for one in self.optimizers().values():
            if isinstance(one, str) and one != "sgd" and ":" not in one:
                raise ValueError(f"optimizer: expected sgd or module:attribute, got {one!r}")

    def optimizers(self) -> Mapping[str, Any]:
        """{implementation or framework: optimizer}; the empty name stands for all."""
        return self.optimizer if isinstance(self.optimizer, Mapping) else {"": self.optimizer}

    def optimizer_of(self, label: str) -> Any:
        """The optimizer of an implementation. ValueError where none is named for it."""
        named = self.optimizers()
        for name in (label, label.partition(":")[0], ""):
            if name in named:
                return named[name]
        raise ValueError(f"optimizer: expected one for {label}, got those of {', '.join(named)}")


@dataclass(frozen=True)
class WithWeights:
    """What takes its weights from outside, and these weights.

    Args:
        function: a function that takes {name: array} as its first argument, or a module of which
            the adapter knows how it is given weights.
        weights: by the implementation's own names.
    """

    function: Any
    weights: Arrays


class Port(Protocol):
    """The adapter of a framework; its module is `fourfold.ports.<framework>_port`.

    A target is what the user names: a function, a class that is built with the case's options, or a
    module, layer or model. `build` makes of it what the other methods take; they leave what the
    user has passed as it was.
    """

    framework: str
    # The dtypes that it computes in, and whether it has gradients.
    dtypes: Sequence[str]
    differentiates: bool

    def versions(self) -> dict[str, str]:
        """The framework and what it computes with, as {package: version}."""
        ...

    def holds_weights(self, target: Any) -> bool:
        """Whether the user's target has weights of its own: no function, and no class."""
        ...

    def build(self, target: Any, case: Case, dtype: str) -> Any:
        """The target ready to be called, a copy, with its weights in this dtype."""
        ...

    def call(
        self,
        target: Any,
        case: Case,
        *,
        gradients: bool,
        dtype: str | None = None,
        loss: str = "upstream",
    ) -> Measured:
        """Call what was built with the case's inputs.

        Args:
            target: from `build`.
            case: its arrays are given as they are, or in `dtype`. Its `channels` are those outputs
                whose channels are last here.
            gradients: whether to differentiate too.
            dtype: a half precision, in which the floating inputs are given.
            loss: what is differentiated, as in `Training`.
        """
        ...

    def weights(self, target: Any) -> dict[str, np.ndarray]:
        """The weights of what was built, by its own names, in the order of their definition.

        With what is not trained, such as running statistics; empty for a function without weights.
        """
        ...

    def with_weights(self, target: Any, arrays: Arrays) -> Any:
        """What was built with these weights, by its own names, in the place of its weights."""
        ...

    def optimizer(self, optimizer: Any, weights: Arrays) -> Optimizer:
        """The framework's optimizer for these weights. TypeError for what is none."""
        ...

    def record(self, target: Any, case: Case) -> list[Recorded]:
        """The calls of the inner modules, in their order, with the gradients of their outputs."""
        ...

    def replay(
        self, target: Any, name: str, inputs: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, ...]:
        """The outputs of an inner module for these inputs."""
        ...


def no_optimizer(framework: str, wanted: str, got: Any) -> TypeError:
    """The error for an optimizer that a framework cannot use."""
    either = f"{wanted} or a function" if wanted else "a function"
    return TypeError(
        f"optimizer: expected {either} of (weights, gradients, state) for {framework}, got {got!r}"
    )


def listed(name: str, constants: Mapping[str, Any]) -> str:
    """An optimizer's name and its constants in one line, without those that are off.

    Example:
        >>> listed("Adam", {"lr": 0.001, "eps": 1e-08, "amsgrad": False})
        'Adam, lr 0.001, eps 1e-08'
    """
    kept = {key: one for key, one in constants.items() if isinstance(one, float | tuple) and one}
    values = (f"{one:.6g}" if isinstance(one, float) else str(one) for one in kept.values())
    return ", ".join([name, *(f"{key} {one}" for key, one in zip(kept, values, strict=True))])


def is_array(value: Any) -> bool:
    """Whether an input of a case is an array."""
    return isinstance(value, np.ndarray)


def is_float_array(value: Any) -> bool:
    """Whether an input of a case is differentiated: a floating array."""
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def flattened(outputs: Any, name: str = "output") -> Mapping[str, Any]:
    """Outputs by name: `output`, `output 0`, the keys of a mapping, the fields of a named tuple.

    What is nested is joined with dots; None, such as attention weights not asked for, is no output.
    """
    if outputs is None:
        return {}
    if isinstance(outputs, tuple) and hasattr(outputs, "_asdict"):
        outputs = outputs._asdict()
    if isinstance(outputs, Mapping):
        parts = {str(key): value for key, value in outputs.items()}
    elif isinstance(outputs, list | tuple):
        parts = {f"{name} {index}": value for index, value in enumerate(outputs)}
    else:
        return {name: outputs}
    return {
        inner: value for key, part in parts.items() for inner, value in flattened(part, key).items()
    }


def output_gradient(output: np.ndarray, loss: str, *, last: bool = False) -> np.ndarray:
    """The loss's derivative by one output: "upstream", "squares" or "output", as in `Training`.

    last: the channels of this output are last; its entries are weighted as if they were second.
    """
    if loss == "squares":
        return np.asarray(output / max(output.size, 1))
    if loss == "output":
        return np.ones_like(output)
    if last:
        first = np.moveaxis(output, -1, 1)
        return np.moveaxis(upstream(first.shape), 1, -1).astype(output.dtype)
    return upstream(output.shape).astype(output.dtype)


def loss_value(outputs: Mapping[str, np.ndarray], loss: str) -> float:
    """The loss of these outputs."""
    floats = [one.astype(np.float64) for one in outputs.values() if one.dtype.kind == "f"]
    if loss == "squares":
        return float(sum((one**2).mean() / 2 for one in floats))
    factors = [output_gradient(one, loss) for one in floats]
    return float(sum((one * factor).sum() for one, factor in zip(floats, factors, strict=True)))


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """{"dense/kernel": w} as {"dense": {"kernel": w}}: how functions of nested weights want it."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *path, end = name.split("/")
        inner = tree
        for part in path:
            inner = inner.setdefault(part, {})
        inner[end] = value
    return tree


def unnested(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """{"dense": {"kernel": w}} as {"dense/kernel": w}."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{path}{key}"
        found |= unnested(value, f"{name}/") if isinstance(value, Mapping) else {name: value}
    return found
