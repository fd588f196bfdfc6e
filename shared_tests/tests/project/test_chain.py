"""What a porter gets wrong in a chain shows in its cases: each mistake moves the output far."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

from fourfold.agreement import VALUE_TOLERANCE, error
from fourfold.measure import reference_outputs
from shared_tests.components.chain import DEFINITION, padded


def swapped_gates(case):
    """Keras has update, reset, candidate."""
    reset, update, candidate = np.split(case.weights["3.input_weight"], 3, axis=1)
    array = np.concatenate([update, reset, candidate], axis=1)
    return replace(case, weights={**case.weights, "3.input_weight": array})


def one_bias(case):
    """A GRU whose reset gate is applied before the product needs no second bias."""
    total = case.weights["3.input_bias"] + case.weights["3.hidden_bias"]
    biases = {"3.input_bias": total, "3.hidden_bias": 0 * total}
    return replace(case, weights={**case.weights, **biases})


def swapped_memory_gates(case):
    """ONNX has input, output, forget, candidate."""
    let_in, forget, candidate, out = np.split(case.weights["2.input_weight"], 4, axis=1)
    array = np.concatenate([let_in, out, forget, candidate], axis=1)
    return replace(case, weights={**case.weights, "2.input_weight": array})


def forget_bias(case):
    """Keras starts with a forget gate that is open by 1: of weights that travel it adds none."""
    bias = case.weights["3.bias"].copy()
    bias[2:4] += 1
    return replace(case, weights={**case.weights, "3.bias": bias})


def flipped_kernel(case):
    return replace(
        case, weights={**case.weights, "1.weight": case.weights["1.weight"][:, :, ::-1, ::-1]}
    )


def channels_last_rows(case):
    """The rows of the projection in the order of a flatten that has the channels last."""
    rows = case.weights["6.weight"].reshape(5, -1, 3).swapaxes(0, 1).reshape(-1, 3)
    return replace(case, weights={**case.weights, "6.weight": rows})


def transposed_weight(case):
    square = case.weights["5.weight"][:3]
    weight = np.concatenate([square.T, case.weights["5.weight"][3:]])
    return replace(case, weights={**case.weights, "5.weight": weight})


def swapped_multiplier(case):
    """Keras has (channels, multiplier): read as (multiplier, channels), filters change places."""
    weight = case.weights["1.weight"]
    turned = weight.reshape(3, 2, *weight.shape[1:]).swapaxes(0, 1).reshape(weight.shape)
    return replace(case, weights={**case.weights, "1.weight": turned})


def configured(place, layer=None, **changes):
    """Other options of one layer of the chain, or another layer in its place."""

    def change(case):
        layers = copy.deepcopy(case.options["layers"])
        layers[place]["layer"] = layer or layers[place]["layer"]
        layers[place]["config"].update(changes)
        return replace(case, options={"layers": layers})

    change.__name__ = f"{place}: {layer or changes}"
    return change


MISTAKES = [
    ("mlp", "batch", transposed_weight),
    ("mlp", "batch", configured(2, epsilon=1e-3)),
    ("mlp", "batch", configured(6, axis=0)),
    ("convolutional", "batch", flipped_kernel),
    ("convolutional", "batch", channels_last_rows),
    ("convolutional", "batch", configured(1, padding=[[0, 2], [0, 0]])),
    ("convolutional", "batch", configured(2, epsilon=1e-4)),
    ("convolutional", "depthwise", swapped_multiplier),
    ("convolutional", "depthwise", configured(4, padding=[[0, 2], [0, 0]])),
    ("convolutional", "padded", configured(1, mode="edge")),
    ("convolutional", "padded", configured(1, padding=[[-1, 3], [2, 1]])),
    ("convolutional", "padded", configured(1, padding=[[1, 2], [3, -1]])),
    ("convolutional", "padded", configured(3, mode="reflect")),
    ("convolutional", "padded", configured(3, padding=[[1, 0], [0, -1]])),
    ("convolutional", "padded", configured(4, value=0.0)),
    ("convolutional", "padded", configured(6, padding=[[-2, -1], [-1, 0]])),
    ("convolutional", "resampled", configured(1, corners=True)),
    ("convolutional", "resampled", configured(1, scale=[2, 3])),
    ("convolutional", "resampled", configured(3, mode="linear")),
    ("convolutional", "resampled", configured(4, mode="nearest")),
    ("convolutional", "resampled", configured(5, mode="linear")),
    ("convolutional", "resampled", configured(6, corners=False)),
    ("convolutional", "resampled", configured(7, corners=False)),
    ("mlp", "clipped", configured(2, "ReLU")),
    ("recurrent", "batch", swapped_gates),
    ("recurrent", "batch", one_bias),
    ("recurrent", "batch", configured(3, direction="forward")),
    ("memory", "stacked", swapped_memory_gates),
    ("memory", "stacked", forget_bias),
    ("memory", "stacked", configured(2, direction="forward")),
]


@pytest.mark.parametrize(
    ("operation", "case", "mistake"),
    MISTAKES,
    ids=[f"{name}-{one.__name__}" for name, _, one in MISTAKES],
)
def test_mistake_shows(operation, case, mistake):
    cell = DEFINITION.cell(operation, case)
    right = reference_outputs(cell.operation, cell.case)["output"]
    wrong = reference_outputs(cell.operation, mistake(cell.case))["output"]
    assert error(wrong, right) > VALUE_TOLERANCE["model", "float32"]


def test_padding_is_before_and_after():
    x = np.ones((1, 1, 2, 2))
    assert padded(x, [[1, 0], [0, 2]]).tolist() == [[[[0] * 4, [1, 1, 0, 0], [1, 1, 0, 0]]]]
