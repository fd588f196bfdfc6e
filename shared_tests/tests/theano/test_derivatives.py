"""Second derivatives of every differentiable operation, by T.grad of T.grad, against differences.

All floating inputs and all weights move along one random direction v. The product H·v of their
whole Hessian, which has all mixed derivatives, is held to (g(x + h v) − g(x − h v)) / 2h, for the
first derivatives g that other tests hold to the definition. The table:
`python -m shared_tests.tests.theano.test_derivatives`.
"""

from __future__ import annotations

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split
from typing import Any

import numpy as np
import pytest
import theano
import theano.tensor as T
from theano.graph.basic import Variable

from fourfold.backends.theano_backend import (
    PYTHON,
    build_graph,
    is_array,
    is_dense_float,
    parameters,
    symbol,
    to_native,
    weighted,
)
from fourfold.definition import Case, Cell
from fourfold.project import definitions, package_module, registered
from shared_tests.backends.theano_tools import TOOLS
from shared_tests.fixtures import normal
from theano_impl.fast.soft_nearest_neighbor_loss import NEAR
from theano_impl.layers.recurrent import gru, lstm
from theano_impl.soft_nearest_neighbor_loss import soft_nearest_neighbor_loss

STEP, BOUND = 1e-5, 1e-6


def smooth_cells() -> list[Cell]:
    """The first case of each operation, of each of its distances, and of those with a soft margin.

    Of those whose derivatives the definition does not give by hand. A layer without weights has the
    graph of its function, whose cases are in its place.
    """
    found = []
    for definition in definitions():
        seen: set[tuple[Any, ...]] = set()
        for operation in definition.operations:
            if "theano" not in operation.backends() or not operation.differentiable:
                continue
            first: dict[tuple[str | None, bool], Case] = {}
            for case in () if operation.name in TOOLS else operation.cases:
                if case.differentiate and not case.flat and case.gradients is None:
                    soft = case.options.get("soft_margin", False)
                    first.setdefault((case.options.get("distance"), soft), case)
            for kind, case in first.items():
                graph = (operation.reference, case.weights is None, *kind)
                if case.weights is not None or graph not in seen:
                    found.append(Cell(definition.component, operation, case, "float64"))
                seen.add(graph)
    return found


class Problem:
    """A case as a function of its floating inputs and its weights, which move together."""

    def __init__(self, cell: Cell) -> None:
        case = cell.case.cast("float64")
        layered = cell.component == registered().layered  # its models come from no component's file
        module = None if layered else package_module("theano", cell.component)
        arguments = {
            name: symbol(name, value) if is_array(value) else value
            for name, value in case.inputs.items()
        }
        symbols = {name: one for name, one in arguments.items() if isinstance(one, Variable)}
        model, outputs = build_graph(module, cell.component, cell.operation.name, case, arguments)
        self.weights = [] if model is None else list(parameters(model).values())
        self.inputs = {name: to_native(case.inputs[name]) for name in symbols}
        self.names = [name for name, one in symbols.items() if is_dense_float(one)]
        self.start = [self.inputs[name] for name in self.names]
        self.start += [weight.get_value() for weight in self.weights]
        self.direction = [
            normal(*one.shape, seed=100 + place) / 2 for place, one in enumerate(self.start)
        ]
        sources = [symbols[name] for name in self.names] + self.weights
        total = sum(weighted(one) for one in outputs.values() if one.dtype in T.float_dtypes)
        first = gradients(total, sources)
        along = sum(T.sum(one * v) for one, v in zip(first, self.direction, strict=True))
        self.function = theano.function(
            list(symbols.values()),
            [joined(first), joined(gradients(along, sources))],
            on_unused_input="ignore",
            mode=PYTHON,
        )

    def derivatives(self, step: float) -> list[np.ndarray]:
        """g and H·v, at x + step · v."""
        moved = [one + step * v for one, v in zip(self.start, self.direction, strict=True)]
        inputs = self.inputs | dict(zip(self.names, moved, strict=False))
        for weight, value in zip(self.weights, moved[len(self.names) :], strict=True):
            weight.set_value(value)
        return self.function(*inputs.values())


def gradients(of: Variable, sources: list[Variable]) -> list[Variable]:
    return T.grad(of, sources, disconnected_inputs="ignore")


def joined(values: list[Variable]) -> Variable:
    return T.concatenate([T.flatten(one) for one in values])


def measured(cell: Cell) -> tuple[float, float]:
    """The largest entry of H·v, and the error of T.grad's relative to it (at least 1)."""
    problem = Problem(cell)
    _, got = problem.derivatives(0.0)
    (above, _), (below, _) = (problem.derivatives(step) for step in (STEP, -STEP))
    wanted = (above - below) / (2 * STEP)
    largest = np.abs(wanted).max(initial=0)
    return largest, np.abs(got - wanted).max(initial=0) / max(1, largest)


CELLS = smooth_cells()


@pytest.mark.parametrize("second_cell", CELLS, ids=str)
def test_second_derivatives(second_cell):
    _, error = measured(second_cell)
    assert error <= BOUND


@pytest.mark.parametrize("block_size", [None, 3])
def test_both_ways_of_soft_nearest_neighbors(block_size):
    """The fast way has a gradient by hand; the plain way computes its blocks again for it."""
    labels = T.constant(np.array([0, 1, 0, 1, 2, 0, 1]))
    points, v, w = normal(7, 3, seed=1), normal(7, 3, seed=2), 0.3
    points -= points.mean(axis=0)
    x, t = T.dmatrix(), T.dscalar()
    loss = soft_nearest_neighbor_loss(x, labels, temperature=t, block_size=block_size)
    first = T.grad(loss, [x, t])
    along = T.sum(first[0] * v) + first[1] * w
    derivatives = theano.function([x, t], [*first, *T.grad(along, [x, t])], mode=PYTHON)
    for reach in (NEAR / 2, 2 * NEAR):
        start = points * np.sqrt(reach / (points**2).sum(axis=1).max())
        above, below = (derivatives(start + step * v, 1 + step * w)[:2] for step in (STEP, -STEP))
        for got, high, low in zip(derivatives(start, 1.0)[2:], above, below, strict=True):
            wanted = (high - low) / (2 * STEP)
            assert np.abs(wanted).max() > 1e-2
            np.testing.assert_allclose(got, wanted, rtol=0, atol=BOUND)


def test_three_derivatives_of_soft_nearest_neighbors():
    labels, v = T.constant(np.array([0, 1, 0, 1, 2, 0, 1])), normal(7, 3, seed=2)
    x = T.dmatrix()
    along = [soft_nearest_neighbor_loss(x, labels)]
    for _ in range(3):
        along.append(T.sum(T.grad(along[-1], x) * v))
    derivatives = theano.function([x], along[2:], mode=PYTHON)
    for start in (normal(7, 3, seed=1) / 2, 3 * normal(7, 3, seed=1)):
        (above, _), (below, _) = (derivatives(start + step * v) for step in (STEP, -STEP))
        wanted = (above - below) / (2 * STEP)
        assert abs(wanted) > 1e-2
        assert derivatives(start)[1] == pytest.approx(wanted, rel=1e-5)


RECURRENCES = {
    "gru": lambda x: gru(x, *recurrent_arrays(3, 3)),
    "gru, backward and masked": lambda x: gru(
        x, *recurrent_arrays(3, 3), backward=True, mask=T.constant([[1, 1, 0, 0], [1, 1, 1, 1]])
    ),
    "lstm": lambda x: lstm(x, *recurrent_arrays(3, 4)),
    "gru of an lstm": lambda x: gru(
        lstm(x, *recurrent_arrays(3, 4), backward=True), *recurrent_arrays(5, 3)
    ),
}


def recurrent_arrays(width: int, gates: int) -> list[Variable]:
    """Input and hidden weights for states of 5, and the bias."""
    shapes = ((width, 5 * gates), (5, 5 * gates), (5 * gates,))
    return [T.constant(normal(*shape, seed=seed)) for seed, shape in enumerate(shapes)]


@pytest.mark.parametrize("name", RECURRENCES)
def test_second_derivatives_of_all_states(name):
    """Theano's own are wrong where more than the last state is used: see docs/porting.md."""
    x, start, v = T.dtensor3(), normal(2, 4, 3, seed=1), normal(2, 4, 3, seed=2)
    first = T.grad(T.sum(RECURRENCES[name](x) ** 2 * normal(2, 4, 5, seed=3)), x)
    derivatives = theano.function([x], [first, T.grad(T.sum(first * v), x)], mode=PYTHON)
    above, below = (derivatives(start + step * v)[0] for step in (STEP, -STEP))
    wanted = (above - below) / (2 * STEP)
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(derivatives(start)[1], wanted, rtol=0, atol=BOUND)


def main() -> None:
    print("| operation, case | largest of H·v | error |\n|---|---|---|")
    for cell in CELLS:
        largest, error = measured(cell)
        print(f"| {cell.label} | {largest:.2g} | {error:.1e} |")


if __name__ == "__main__":
    main()
