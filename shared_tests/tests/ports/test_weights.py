"""The map of weights: paired by names, shapes and order; turned, cut, joined; gates of cells."""

import keras
import numpy as np
import pytest
import torch
from flax import linen
from torch import nn

import fourfold
from numpy_infer.format.weight_proposal import propose

ROWS = fourfold.cases_from_shapes({"x": (5, 7)})
SEQUENCES = fourfold.cases_from_shapes({"x": (3, 5, 7)})[:1]


def lines(originals, targets, **options):
    def arrays(shapes):
        return {name: np.zeros(shape) for name, shape in shapes.items()}

    return propose(arrays(originals), arrays(targets), **options).lines()


def test_names_decide_where_shapes_do_not():
    found = lines(
        {"q.weight": (4, 4), "k.weight": (4, 4), "q.bias": (4,), "k.bias": (4,)},
        {"k/bias": (4,), "k/kernel": (4, 4), "q/bias": (4,), "q/kernel": (4, 4)},
    )
    assert found == [
        "k.bias → k/bias",
        "k.weight → k/kernel, transpose",
        "q.bias → q/bias",
        "q.weight → q/kernel, transpose",
    ]


def test_order_decides_where_names_do_not():
    found = lines(
        {"fc1.weight": (3, 3), "fc2.weight": (3, 3)},
        {"dense/kernel": (3, 3), "dense_1/kernel": (3, 3)},
    )
    assert found == [
        "fc1.weight → dense/kernel, transpose",
        "fc2.weight → dense_1/kernel, transpose",
    ]


def test_squares_are_turned_as_their_neighbours_are():
    found = lines(
        {"a.weight": (3, 5), "b.weight": (5, 5)}, {"a/kernel": (3, 5), "b/kernel": (5, 5)}
    )
    assert found == ["a.weight → a/kernel", "b.weight → b/kernel"]


def test_convolutions_and_what_has_no_partner():
    found = lines(
        {"conv.weight": (8, 3, 5, 5), "extra": (2,)}, {"conv/kernel": (5, 5, 3, 8), "other": (9,)}
    )
    assert found == [
        "conv.weight → conv/kernel, kernel last",
        "extra: no array of the implementation matches",
        "other: no original matches",
    ]


def test_names_and_layouts_of_the_user_count():
    found = lines(
        {"a": (3, 3), "b": (3, 3)},
        {"x": (3, 3), "y": (3, 3)},
        names={"a": "y"},
        layouts={"a": "transpose"},
    )
    assert found == ["b → x", "a → y, transpose"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": {"a": "z"}}, "names: expected one of x, got 'z'"),
        ({"layouts": {"a": "turned"}}, "layouts: expected one of same, .*, got 'turned'"),
        ({"layouts": {"a": "same"}}, r"layouts: expected one that makes a \(2, 3\) a x \(3, 2\)"),
    ],
)
def test_what_does_not_fit_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        lines({"a": (2, 3)}, {"x": (3, 2)}, **options)


def test_the_way_back_is_the_transpose_of_the_way_there():
    generator = np.random.default_rng(0)
    originals = {
        "rnn.weight_ih_l0": generator.normal(size=(9, 2)),
        "rnn.weight_hh_l0": generator.normal(size=(9, 3)),
        "rnn.bias_ih_l0": generator.normal(size=9),
        "rnn.bias_hh_l0": generator.normal(size=9),
    }
    shapes = {
        f"cell/{side}{gate}/kernel": (2 if side == "i" else 3, 3) for side in "ih" for gate in "rzn"
    }
    shapes |= {f"cell/{name}/bias": (3,) for name in ("ir", "iz", "in", "hn")}
    links = propose(originals, {name: np.zeros(shape) for name, shape in shapes.items()})
    assert len(links.links) == len(shapes)
    there = links.forward(originals)
    given = {name: generator.normal(size=one.shape) for name, one in there.items()}
    back = links.gradients(given, originals)
    by_target = sum(np.vdot(there[name], given[name]) for name in there)
    by_original = sum(np.vdot(originals[name], back[name]) for name in originals)
    assert by_target == pytest.approx(by_original)
    again = links.back(there, originals)
    assert all(np.array_equal(again[name], originals[name]) for name in originals)


class TorchRecurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cell = {"gru": nn.GRU, "lstm": nn.LSTM}[kind](7, 4, batch_first=True)

    def forward(self, x):
        return self.cell(x)[0]


class KerasRecurrent(keras.Layer):
    def __init__(self, kind, **options):
        super().__init__(**options)
        layer = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}[kind]
        self.cell = layer(4, return_sequences=True)

    def call(self, x):
        return self.cell(x)


class LinenRecurrent(linen.Module):
    kind: str

    @linen.compact
    def __call__(self, x):
        cell = {"gru": linen.GRUCell, "lstm": linen.OptimizedLSTMCell}[self.kind]
        return linen.RNN(cell(4))(x)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_gates_in_every_order(kind):
    """In float32: flax's recurrent layers start from zeros in the dtype of their options."""
    cases = fourfold.cases_from_shapes({"x": (3, 5, 7)}, options={"kind": kind})[:1]
    found = fourfold.compare(
        {"torch": TorchRecurrent, "keras": KerasRecurrent, "jax": LinenRecurrent},
        cases,
        reference="torch",
        dtypes=("float32",),
    )
    assert found, str(found)
    gates = "gates rzn of torch to zrn of keras" if kind == "gru" else "gates ifgo of torch"
    assert found.proposals["keras"][0].startswith(f"cell.weight_ih_l0 → {kind}/{kind}_cell/kernel")
    assert gates in found.proposals["keras"][0]
    gradients = {row.quantity for row in found.rows if row.quantity.startswith("gradient:cell")}
    assert len(gradients) == 4


class Untransposed(nn.Module):
    """A layer of a project that keeps its weight as (in, out), under PyTorch's name for it."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(7, 7))

    def forward(self, x):
        return x @ self.weight


def test_values_show_how_a_square_array_is_laid_out():
    layer = keras.layers.Dense(7, use_bias=False)
    found = fourfold.compare({"torch": Untransposed, "keras": layer}, ROWS[:1], dtypes=("float64",))
    assert found, str(found)
    assert "weight: same, as the values show" in found.proposals["keras"]


def test_a_module_that_holds_a_square_array_unturned_is_told_so():
    linear, dense = nn.Linear(7, 7), keras.layers.Dense(7)
    dense.build((None, 7))
    dense.set_weights([one.detach().numpy() for one in linear.parameters()])
    found = fourfold.compare({"torch": linear, "keras": dense}, ROWS[:1], dtypes=("float32",))
    assert not found
    told = "kernel: holds weight as 'same', expected 'transpose'"
    assert any(line.startswith(told) for line in found.proposals["keras"])
    assert fourfold.compare(
        {"torch": linear, "keras": dense}, ROWS[:1], dtypes=("float32",), weights="torch"
    )


def test_one_mapping_for_all():
    generator = np.random.default_rng(0)
    weights = {"weight": generator.normal(size=(3, 7)), "bias": generator.normal(size=3)}
    found = fourfold.compare(
        {
            "torch": nn.Linear(7, 3),
            "keras": keras.layers.Dense(3),
            "jax": linen.Dense(3),
            "numpy": lambda w, x: x @ w["weight"].T + w["bias"],
        },
        ROWS[:1],
        lambda w, x: x @ w["weight"].T + w["bias"],
        weights=weights,
    )
    assert found, str(found)
    assert {"gradient:weight", "gradient:bias"} <= {row.quantity for row in found.rows}
