"""What the frameworks' own defaults cost: one training, pinned, and with the defaults let in.

A digit is the bag of its 17 darkest pixels, and a small network says which digit it is:

    bag → Embedding(64, 13), mean → LayerNorm(13) → Linear(13, 23) → tanh → BatchNorm(23)
        → Linear(23, 10) → cross entropy

Pinned, every framework starts from the same arrays, has the same constants and the same update
rule, and the losses agree. A variant leaves one of these to the framework, the last one all of
them. Every step sees the whole batch; after it the network is evaluated on other digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared_tests.fixtures import digits

STEPS = 100
PIXELS, DARKEST, WIDTH, HIDDEN, CLASSES = 64, 17, 13, 23, 10
FRAMEWORKS = ("torch", "tf2", "theano")
NONE = "none"  # nothing built in: by hand, and so as it is pinned

# What a run gives: the loss of each step, and after it that of the other digits.
Run = Mapping[str, np.ndarray]


def bags(n: int, skip: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The darkest pixels of n digits, (n, 17), the lower of equal ones first, and (n,) labels."""
    pixels, labels = digits(n, skip)
    return np.argsort(-pixels, axis=1, kind="stable")[:, :DARKEST], labels


BATCH = bags(67)
OTHERS = bags(29, skip=67)

# Momentum is 0.9 where there is one; its rate falls after half of the steps.
MOMENTUM_RATES = np.repeat([0.03, 0.003], STEPS // 2)
DECAY = 0.1
# Where Adam's epsilon is not the trap: so small that its place does not matter.
SMALL = 1e-16


def start() -> dict[str, np.ndarray]:
    """The pinned start: a table of about unit vectors, Glorot uniform matrices, biases zero."""
    rng = np.random.default_rng(0)

    def matrix(rows: int, columns: int) -> np.ndarray:
        bound = np.sqrt(6 / (rows + columns))
        return rng.uniform(-bound, bound, size=(rows, columns))

    return {
        "table": rng.normal(size=(PIXELS, WIDTH)) * WIDTH**-0.5,
        "hidden.weight": matrix(WIDTH, HIDDEN),
        "hidden.bias": np.zeros(HIDDEN),
        "output.weight": matrix(HIDDEN, CLASSES),
        "output.bias": np.zeros(CLASSES),
    }


@dataclass(frozen=True)
class Trap:
    """A default, and what each framework has for it, in words.

    optimizer: whose pinned run it starts from. shown: which losses show it.
    """

    name: str
    title: str
    optimizer: str
    torch: str
    tf2: str
    theano: str = NONE
    shown: str = "losses"

    def words(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in FRAMEWORKS}

    @property
    def pinned(self) -> str:
        return pinned(self.optimizer)


TRAPS = (
    Trap(
        "generator",
        "generator of the start",
        "sgd",
        "its own numbers for the same seed and distributions",
        "its own numbers for the same seed and distributions",
    ),
    Trap(
        "linear-initialization",
        "start of the linear layers",
        "sgd",
        "uniform in ±1/√in, biases too",
        "Glorot uniform, biases 0",
    ),
    Trap(
        "embedding-initialization",
        "start of the embedding",
        "sgd",
        "normal, deviation 1",
        "uniform in ±0.05",
    ),
    Trap("layer-norm-epsilon", "epsilon of layer normalization", "sgd", "1e-5", "1e-3"),
    Trap("batch-norm-epsilon", "epsilon of batch normalization", "sgd", "1e-5", "1e-3", "1e-4"),
    Trap(
        "batch-norm-running",
        "running statistics, evaluated",
        "sgd",
        "0.1 of the new; variance unbiased",
        "0.01 of the new; variance biased",
        "0.1 of the new; variance unbiased",
        "evaluation",
    ),
    Trap("default-dtypes", "dtype", "sgd", "float32", "float32", "float64"),
    Trap("sgd-rate", "learning rate of SGD", "sgd", "0.001", "0.01"),
    Trap(
        "sgd-momentum",
        "momentum under a falling rate",
        "momentum",
        "the rate scales the whole velocity",
        "the rate scales the new gradient",
    ),
    Trap(
        "adam-epsilon",
        "epsilon of Adam",
        "adam",
        "1e-8, after the correction of the bias",
        "1e-7, before it",
    ),
    Trap(
        "python-float",
        "dtype of Adam's constants",
        "adam",
        "that of the weights",
        "float32, beside float64 weights too",
    ),
    Trap(
        "repeated-rows",
        "an embedding's repeated rows in Adam",
        "adam",
        "their gradients summed, then squared",
        "squared one by one, then summed",
    ),
    Trap(
        "rmsprop",
        "RMSprop",
        "rmsprop",
        "rate 0.01, memory 0.99, epsilon 1e-8 outside the root",
        "rate 0.001, memory 0.9, epsilon 1e-7 inside the root",
    ),
    Trap(
        "rmsprop-epsilon",
        "epsilon of RMSprop alone",
        "rmsprop",
        "1e-8 outside the root",
        "1e-7 inside the root",
    ),
    Trap(
        "adagrad",
        "Adagrad",
        "adagrad",
        "rate 0.01, sum from 0, epsilon 1e-10 outside the root",
        "rate 0.001, sum from 0.1, epsilon 1e-7 inside the root",
    ),
    Trap(
        "weight-decay",
        "weight decay of Adam",
        "decay",
        "in the gradient",
        "decoupled",
    ),
    Trap(
        "all",
        "all at once, with Adam",
        "adam",
        "all of its defaults",
        "all of its defaults",
        "epsilon 1e-4 in batch normalization",
    ),
)
TRAP = {trap.name: trap for trap in TRAPS}
OPTIMIZERS = tuple(dict.fromkeys(trap.optimizer for trap in TRAPS))


def pinned(optimizer: str) -> str:
    """The name of the pinned run with an optimizer."""
    return "pinned" if optimizer == "sgd" else f"pinned {optimizer}"


def variants(framework: str) -> tuple[str, ...]:
    """What a framework can run: the pinned trainings, and each trap for which it has a default."""
    own = [trap.name for trap in TRAPS if trap.words()[framework] != NONE]
    return (*map(pinned, OPTIMIZERS), *own)


@dataclass(frozen=True)
class Variant:
    """A training by its name: pinned, with one trap, or with all of them."""

    name: str

    @property
    def optimizer(self) -> str:
        if self.name in TRAP:
            return TRAP[self.name].optimizer
        return self.name.removeprefix("pinned").strip() or "sgd"

    def has(self, *traps: str) -> bool:
        """Whether one of these is left to the framework."""
        return self.name == "all" or self.name in traps

    def pin(self, *traps: str, **settings: Any) -> dict[str, Any]:
        """The settings; none where one of the traps is let in: there the framework's own hold."""
        return {} if self.has(*traps) else settings
