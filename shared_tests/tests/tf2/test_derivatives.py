"""Second derivatives of every differentiable operation, by nested tapes, against differences.

All floating inputs and all weights move along one random direction v. The product H·v of their
whole Hessian, which has all mixed derivatives, is held to (g(x + h v) − g(x − h v)) / 2h, for the
first derivatives g that other tests hold to the definition. The table:
`python -m shared_tests.tests.tf2.test_derivatives`.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from fourfold.backends.tf2_backend import build, call, is_dense_float, to_native, weighted
from fourfold.definition import Case, Cell
from fourfold.project import definitions
from shared_tests.backends.tf2_tools import TOOLS
from shared_tests.fixtures import normal
from tf2_impl.fast.soft_nearest_neighbor_loss import NEAR
from tf2_impl.soft_nearest_neighbor_loss import soft_nearest_neighbor_loss

STEP, BOUND = 1e-5, 1e-6


def smooth_cells() -> list[Cell]:
    """The first case of each operation, of each of its distances, and of those with a soft margin.

    Of those whose derivatives the definition does not give by hand.
    """
    found = []
    for definition in definitions():
        for operation in definition.operations:
            if "tf2" not in operation.backends() or not operation.differentiable:
                continue
            first: dict[tuple[str | None, bool], Case] = {}
            for case in () if operation.name in TOOLS else operation.cases:
                if case.differentiate and not case.flat and case.gradients is None:
                    soft = case.options.get("soft_margin", False)
                    first.setdefault((case.options.get("distance"), soft), case)
            found += [
                Cell(definition.component, operation, case, "float64") for case in first.values()
            ]
    return found


class Problem:
    """A case as a function of its floating inputs and its weights, which move together."""

    def __init__(self, cell: Cell) -> None:
        self.case = cell.case.cast("float64")
        self.function = build(cell.component, cell.operation.name, self.case)
        self.inputs = {name: to_native(value) for name, value in self.case.inputs.items()}
        self.names = [name for name, value in self.inputs.items() if is_dense_float(value)]
        variables = getattr(self.function, "trainable_variables", ())  # of a layer
        self.weights = [one.value for one in variables]
        start = [self.inputs[name] for name in self.names] + self.weights
        self.direction = [
            tf.constant(normal(*one.shape, seed=100 + place) / 2) for place, one in enumerate(start)
        ]

    def gradient(self, step: float, tape: tf.GradientTape | None = None) -> list[tf.Tensor]:
        """g at x + step · v; what is differentiated is left in `sources`."""
        inputs = dict(self.inputs)
        for name, one in zip(self.names, self.direction, strict=False):
            inputs[name] = tf.identity(inputs[name] + step * one)
        for weight, one in zip(self.weights, self.direction[len(self.names) :], strict=True):
            weight.assign_add(step * one)
        self.sources = [inputs[name] for name in self.names] + self.weights
        if tape is not None:
            tape.watch(self.sources)
        with tf.GradientTape() as inner:
            inner.watch(self.sources)
            outputs = call(self.function, inputs, self.case)
            total = sum(weighted(one) for one in outputs.values() if one.dtype.is_floating)
        zero = tf.UnconnectedGradients.ZERO
        found = inner.gradient(total, self.sources, unconnected_gradients=zero)
        for weight, one in zip(self.weights, self.direction[len(self.names) :], strict=True):
            weight.assign_sub(step * one)
        return [tf.convert_to_tensor(one) for one in found]

    def by_tapes(self) -> np.ndarray:
        with tf.GradientTape() as outer:
            along = [
                tf.reduce_sum(one * v)
                for one, v in zip(self.gradient(0.0, outer), self.direction, strict=True)
            ]
            total = tf.add_n(along)
        zero = tf.UnconnectedGradients.ZERO
        found = outer.gradient(total, self.sources, unconnected_gradients=zero)
        return joined([tf.convert_to_tensor(one) for one in found])

    def by_differences(self) -> np.ndarray:
        above, below = (joined(self.gradient(step)) for step in (STEP, -STEP))
        return (above - below) / (2 * STEP)


def joined(values: list[tf.Tensor]) -> np.ndarray:
    return np.concatenate([np.ravel(one) for one in values])


def measured(cell: Cell) -> tuple[float, float]:
    """The largest entry of H·v, and the error of the tapes' relative to it (at least 1)."""
    problem = Problem(cell)
    wanted, got = problem.by_differences(), problem.by_tapes()
    largest = np.abs(wanted).max(initial=0)
    return largest, np.abs(got - wanted).max(initial=0) / max(1, largest)


CELLS = smooth_cells()


@pytest.mark.parametrize("second_cell", CELLS, ids=str)
def test_second_derivatives(second_cell):
    _, error = measured(second_cell)
    assert error <= BOUND


@pytest.mark.parametrize("reach", [NEAR / 2, 2 * NEAR], ids=["near", "far"])
@pytest.mark.parametrize("block_size", [None, 3])
@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "graph"])
def test_both_ways_of_soft_nearest_neighbors(reach, block_size, wrap):
    """The fast way has a gradient by hand; the plain way computes its blocks again for it."""
    x, labels = normal(7, 3, seed=1), tf.constant([0, 1, 0, 1, 2, 0, 1])
    x -= x.mean(axis=0)
    x = tf.constant(x * np.sqrt(reach / (x**2).sum(axis=1).max()))
    one = tf.constant(1.0, tf.float64)
    v, w = tf.constant(normal(7, 3, seed=2)), tf.constant(0.3, tf.float64)

    def gradient(x, t):
        with tf.GradientTape() as tape:
            tape.watch([x, t])
            loss = soft_nearest_neighbor_loss(x, labels, temperature=t, block_size=block_size)
        return tape.gradient(loss, [x, t])

    @wrap
    def product(x, t):
        with tf.GradientTape() as tape:
            tape.watch([x, t])
            of_x, of_t = gradient(x, t)
            along = tf.reduce_sum(of_x * v) + of_t * w
        return tape.gradient(along, [x, t])

    pairs = zip(
        gradient(x + STEP * v, one + STEP * w), gradient(x - STEP * v, one - STEP * w), strict=True
    )
    for got, (above, below) in zip(product(x, one), pairs, strict=True):
        wanted = (above - below) / (2 * STEP)
        assert np.abs(wanted).max() > 1e-2
        np.testing.assert_allclose(got, wanted, rtol=0, atol=BOUND)


def main() -> None:
    print("| operation, case | largest of H·v | error |\n|---|---|---|")
    for cell in CELLS:
        largest, error = measured(cell)
        print(f"| {cell.label} | {largest:.2g} | {error:.1e} |")


if __name__ == "__main__":
    main()
