"""The comparison of ports finds what is planted, says where it is, and passes what is right."""

import keras
import numpy as np
import pytest
import torch
from torch import nn

import fourfold
from fourfold.definition import Case
from fourfold.ports.measurement import Measurement

CASES = fourfold.cases_from_shapes({"x": (5, 7), "y": (5, 7)})


def original(x, y):
    return ((x.softmax(-1) - y) ** 2).mean(-1)


def port(x, y):
    return keras.ops.mean((keras.ops.softmax(x, -1) - y) ** 2, -1)


def reference(x, y):
    e = np.exp(x - x.max(-1, keepdims=True))
    return ((e / e.sum(-1, keepdims=True) - y) ** 2).mean(-1)


def compared(changed, **options):
    return fourfold.compare({"torch": original, "torch:port": changed}, CASES[0], **options)


def test_right_ports_agree():
    found = fourfold.compare({"torch": original, "keras": port}, CASES, reference)
    assert found, str(found)
    assert {row.quantity for row in found.rows} == {"value:output", "gradient:x", "gradient:y"}
    assert found.worst.share < 1
    assert str(found).endswith("0 out of tolerance, 0 missing")


def test_a_planted_difference_is_found_at_its_index():
    found = compared(lambda x, y: original(x, y) + 1e-9 * (torch.arange(5) == 3))
    assert not found
    assert found.first_difference.index == (3,)
    assert found.first_difference.b - found.first_difference.a == pytest.approx(1e-9)
    assert [row.quantity for row in found.differing] == ["value:output"]  # in float64 alone


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (lambda x, y: original(x, y).double(), "dtype: expected float32, torch:port gives float64"),
        (lambda x, y: original(x, y)[:, None], "shapes (5,) and (5, 1)"),
        (lambda x, y: original(x, y) / (torch.arange(5) != 2), "NaN or infinity"),
        (lambda x, y: original(x, y) > 0, "kinds of number float64 and bool"),
    ],
)
def test_what_differs_besides_values_is_named(changed, reason):
    found = compared(changed)
    assert not found
    assert reason in {row.reason for row in found.differing}


def test_a_gradient_that_is_cut_off_is_found():
    found = compared(lambda x, y: original(x, y.detach()))
    assert {row.quantity for row in found.differing} == {"gradient:y"}


def test_a_gradient_that_is_zero_everywhere_is_no_agreement():
    cut = fourfold.compare(
        {"torch": lambda x: x.detach() ** 2, "torch:port": lambda x: x.detach() ** 2},
        Case("one", {"x": np.array([1.0, 2.0])}),
    )
    assert not cut.differing
    assert not cut
    assert "gradient:x, float64: zero in every case" in cut.vacuous[0]


def test_an_exception_costs_the_cells_of_its_implementation_alone():
    def fails_on_one_row(x, y):
        if len(x) == 1:
            raise RuntimeError("expected several rows")
        return original(x, y)

    found = fourfold.compare(
        {"torch": original, "torch:b": fails_on_one_row, "keras": port}, CASES, dtypes=("float64",)
    )
    assert not found
    (missing,) = found.missing
    assert (missing.case, missing.implementation) == ("one row", "torch:b")
    assert missing.reason == "RuntimeError: expected several rows"
    pairs = {(row.a, row.b) for row in found.rows if row.case == "one row"}
    assert pairs == {("torch", "keras")}
    assert not found.differing


class TorchBlock(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.norm = nn.LayerNorm(d)
        self.wide = nn.Linear(d, h)
        self.square = nn.Linear(h, h)

    def forward(self, x):
        return self.square(torch.tanh(self.wide(self.norm(x))))


class KerasBlock(keras.Layer):
    def __init__(self, d, h, **options):
        super().__init__(**options)
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5)
        self.wide = keras.layers.Dense(h, activation="tanh")
        self.square = keras.layers.Dense(h)

    def call(self, x):
        return self.square(self.wide(self.norm(x)))


BLOCK_CASES = fourfold.cases_from_shapes({"x": (5, 7)}, options={"d": 7, "h": 3})[:2]


def test_weights_travel_from_the_first_implementation_turned_as_they_must_be():
    found = fourfold.compare({"torch": TorchBlock, "keras": KerasBlock}, BLOCK_CASES, training=3)
    assert found, str(found)
    assert found.proposals["keras"] == [
        "norm.weight → layer_normalization/gamma",
        "norm.bias → layer_normalization/beta",
        "wide.weight → dense/kernel, transpose",
        "wide.bias → dense/bias",
        "square.weight → dense_1/kernel, transpose",
        "square.bias → dense_1/bias",
    ]
    trained = {row.quantity for row in found.rows if row.quantity.startswith("training:")}
    assert {"training:losses", "training:square.weight"} <= trained


def test_modules_keep_their_weights_and_these_are_compared():
    model = TorchBlock(7, 3)
    layer = KerasBlock(7, 3)
    layer(np.zeros((1, 7), "float32"))
    arrays = [one.detach().numpy() for one in model.parameters()]
    cases = fourfold.cases_from_shapes({"x": (5, 7)})[:1]
    turned = [one.T for one in arrays]
    layer.set_weights(turned)
    assert fourfold.compare({"torch": model, "keras": layer}, cases, dtypes=("float32",))
    layer.set_weights([*turned[:4], arrays[4], turned[5]])  # the square one is not turned
    found = fourfold.compare({"torch": model, "keras": layer}, cases, dtypes=("float32",))
    weights = [row.quantity for row in found.differing if row.quantity.startswith("weight:")]
    assert weights == ["weight:square.weight"]


def test_half_precision_is_held_to_float32_on_the_rounded_input():
    dtypes = ("float16", "bfloat16")
    found = fourfold.compare({"torch": original, "keras": port}, CASES[0], dtypes=dtypes)
    assert found, str(found)
    assert {row.a for row in found.rows} == {"torch in float32", "keras in float32"}
    coarse = fourfold.compare(
        {"torch": original, "keras": lambda x, y: keras.ops.round(port(x, y) * 20) / 20},
        CASES[0],
        dtypes=dtypes,
        gradients=False,
    )
    assert {row.b for row in coarse.differing} == {"keras"}


def test_what_is_measured_elsewhere_is_joined(tmp_path):
    from fourfold.ports.comparison import compare, join, measure

    implementations = {"torch": original, "keras": port}
    for name, target in implementations.items():
        measure(target, CASES, framework=name).save(tmp_path / f"{name}.npz")
    read = [Measurement.load(tmp_path / f"{name}.npz") for name in implementations]
    joined = join(read, CASES)
    assert joined.to_json() == compare(implementations, CASES).to_json()


def test_it_is_short_in_a_traceback_and_coloured_in_a_terminal(monkeypatch):
    wrong = compared(lambda x, y: original(x, y) + 1)
    assert repr(wrong).startswith("<Comparison: DO NOT AGREE: 6 comparisons, 2 out of tolerance")
    plain = str(wrong)
    assert "\x1b[" not in plain
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "\x1b[1;31m✗" in str(wrong)
    assert plain.splitlines()[-1] == str(wrong).splitlines()[-1]


def test_tolerances_kinds_and_declared_quantities():
    near = {"torch": original, "torch:port": lambda x, y: original(x, y) * (1 + 1e-11)}
    assert not fourfold.compare(near, CASES[0], dtypes=("float64",), gradients=False)
    for options in ({"kind": "model"}, {"tolerances": {"value:* float64": 1e-10}}):
        assert fourfold.compare(near, CASES[0], dtypes=("float64",), gradients=False, **options)
    tiny = {"torch": lambda x, y: original(x, y) * 1e-4, "torch:port": lambda x, y: 0 * x[:, 0]}
    found = fourfold.compare(tiny, CASES[0], dtypes=("float32",), gradients=False)
    assert found.differing[0].error == 1
    assert found.differing[0].note.startswith("too small to differ in any case")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"implementations": {"torch": original}}, "implementations: expected two, or a reference"),
        ({"reference": "jax"}, "reference: expected one of torch, keras, got 'jax'"),
        ({"cases": []}, "cases: expected at least one, got none"),
        ({"cases": CASES[:1] * 2}, "cases: expected names that differ, got 'ordinary' twice"),
        ({"dtypes": ("float8",)}, "dtypes: expected float64, .*, got 'float8'"),
        ({"names": {"jax": {}}}, "names: expected one of torch, keras, got 'jax'"),
        ({"kind": "loss"}, "kind: expected layer or model, got 'loss'"),
        ({"weights": "jax"}, "weights: expected one of torch, keras, got 'jax'"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    arguments = {"implementations": {"torch": original, "keras": port}, "cases": CASES}
    with pytest.raises(ValueError, match=message):
        fourfold.compare(**{**arguments, **changes})


def test_a_reference_is_held_to_its_gradients_too():
    def wrong_gradient(x, y):
        value = original(x, y)
        return value.detach() + 2 * (value - value.detach())

    found = fourfold.compare({"torch": wrong_gradient}, CASES[0], reference)
    assert {row.quantity for row in found.differing} == {"gradient:x", "gradient:y"}
