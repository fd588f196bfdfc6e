"""Definition of three chains of plain layers, as model files describe them.

Each entry of a chain is one of the steps below, loops over single numbers where that is plainest.
"""

from __future__ import annotations

import textwrap

import numpy as np

from fourfold.definition import Case, Definition, Operation
from shared_tests.components.padded_embedding import pad_token_lists
from shared_tests.fixtures import digits, docstring_tokens, normal


def projection(x, weight, bias):
    return x @ weight + bias


def batch_norm(x, scale, shift, mean, variance, epsilon):
    channels = [
        (x[:, i] - mean[i]) / np.sqrt(variance[i] + epsilon) * scale[i] + shift[i]
        for i in range(x.shape[1])
    ]
    return np.stack(channels, axis=1)


def relu(x):
    return np.maximum(x, 0)


def relu6(x):
    return np.minimum(np.maximum(x, 0), 6)


def softmax(x, axis):
    share = np.exp(x - x.max(axis, keepdims=True))
    return share / share.sum(axis, keepdims=True)


def windows(height, width, size, stride):
    """The slices of every window, row after row."""
    for i in range((height - size[0]) // stride[0] + 1):
        for j in range((width - size[1]) // stride[1] + 1):
            rows = slice(i * stride[0], i * stride[0] + size[0])
            yield i, j, (..., rows, slice(j * stride[1], j * stride[1] + size[1]))


def padded(x, padding, value=0.0):
    return np.pad(x, ((0, 0), (0, 0), *padding), constant_values=value)


def convolution(x, weight, bias=None, *, stride, padding, dilation, groups=1):
    assert dilation == [1, 1]
    bias = np.zeros(len(weight)) if bias is None else bias
    if groups > 1:  # each part of the output sees its part of the input alone
        inputs = np.split(x, groups, axis=1)
        parts = zip(inputs, np.split(weight, groups), np.split(bias, groups), strict=True)
        outputs = [
            convolution(*part, stride=stride, padding=padding, dilation=dilation) for part in parts
        ]
        return np.concatenate(outputs, axis=1)
    x = padded(x, padding)
    sizes = zip(x.shape[2:], weight.shape[2:], stride, strict=True)
    height, width = ((n - kernel) // step + 1 for n, kernel, step in sizes)
    y = np.zeros((len(x), len(weight), height, width))
    for i, j in np.ndindex(weight.shape[2:]):
        seen = x[:, :, i :: stride[0], j :: stride[1]][:, :, :height, :width]
        y += np.einsum("nchw,oc->nohw", seen, weight[:, :, i, j])
    return y + bias[:, None, None]


def pad(x, padding, mode, value):
    """Place by place along each axis: an entry of x, which may be that of another place."""
    for axis, (before, after) in enumerate(padding, start=2):
        n, entries = x.shape[axis], []
        for place in range(-before, n + after):
            if mode == "reflect":
                place = -place if place < 0 else 2 * (n - 1) - place if place >= n else place
            if mode == "edge":
                place = 0 if place < 0 else n - 1 if place >= n else place
            entry = np.take(x, place if 0 <= place < n else 0, axis)
            entries.append(entry if 0 <= place < n else np.full_like(entry, value))
        x = np.stack(entries, axis)
    return x


def upsample(x, scale, mode, corners):
    sizes = [n * times for n, times in zip(x.shape[2:], scale, strict=True)]
    return resize(x, sizes, mode, corners)


def resize(x, size, mode, corners):
    """Place by place along each axis: the entry at a place of x, or the mean of its neighbors."""
    for axis, m in enumerate(size, start=2):
        n, entries = x.shape[axis], []
        for i in range(m):
            if mode == "nearest":
                entries.append(np.take(x, i * n // m, axis))
                continue
            place = i * (n - 1) / max(m - 1, 1) if corners else (i + 0.5) * n / m - 0.5
            lower = int(min(max(place, 0), n - 1))
            share = min(max(place, 0), n - 1) - lower
            left, right = np.take(x, lower, axis), np.take(x, min(lower + 1, n - 1), axis)
            entries.append((1 - share) * left + share * right)
        x = np.stack(entries, axis)
    return x


def max_pool(x, size, stride, padding):
    x = padded(x, padding, -np.inf)
    found = {
        (i, j): x[window].max(axis=(2, 3)) for i, j, window in windows(*x.shape[2:], size, stride)
    }
    return plane(found)


def plane(found):
    """{(i, j): (batch, channels)} as one array."""
    height, width = (last + 1 for last in max(found))
    rows = [np.stack([found[i, j] for j in range(width)], axis=-1) for i in range(height)]
    return np.stack(rows, axis=-2)


def flatten(x):
    return x.reshape(len(x), -1)


def dropout(x):
    return x


def embedding(ids, table):
    return table[ids]


def gru(x, **options):
    return recurrent(gru_states, GRU_ARRAYS, x, **options)


def lstm(x, **options):
    return recurrent(lstm_states, LSTM_ARRAYS, x, **options)


def recurrent(states_of, names, x, direction, return_sequences, **arrays):
    ways = {"forward": [""], "backward": ["backward."], "both": ["", "backward."]}[direction]
    states = []
    for way in ways:
        prefix = "backward." if direction == "both" and way else ""
        own = [arrays[prefix + name] for name in names]
        found = states_of(x[:, ::-1] if way else x, *own)
        last = found[:, -1]
        states.append((found[:, ::-1] if way else found) if return_sequences else last)
    return np.concatenate(states, axis=-1)


def gru_states(x, input_weight, hidden_weight, input_bias, hidden_bias):
    h = hidden_weight.shape[0]
    state, states = np.zeros((len(x), h)), []
    for t in range(x.shape[1]):
        given = x[:, t] @ input_weight + input_bias
        kept = state @ hidden_weight + hidden_bias
        reset = sigmoid(given[:, :h] + kept[:, :h])
        update = sigmoid(given[:, h : 2 * h] + kept[:, h : 2 * h])
        candidate = np.tanh(given[:, 2 * h :] + reset * kept[:, 2 * h :])
        state = (1 - update) * candidate + update * state
        states.append(state)
    return np.stack(states, axis=1)


def lstm_states(x, input_weight, hidden_weight, bias):
    h = hidden_weight.shape[0]
    state, memory, states = np.zeros((len(x), h)), np.zeros((len(x), h)), []
    for t in range(x.shape[1]):
        gates = x[:, t] @ input_weight + state @ hidden_weight + bias
        let_in, forget, candidate, out = (gates[:, g * h : (g + 1) * h] for g in range(4))
        memory = sigmoid(forget) * memory + sigmoid(let_in) * np.tanh(candidate)
        state = sigmoid(out) * np.tanh(memory)
        states.append(state)
    return np.stack(states, axis=1)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


GRU_ARRAYS = ("input_weight", "hidden_weight", "input_bias", "hidden_bias")
LSTM_ARRAYS = ("input_weight", "hidden_weight", "bias")
STEPS = {
    "Projection": projection,
    "BatchNorm": batch_norm,
    "ReLU": relu,
    "ReLU6": relu6,
    "Softmax": softmax,
    "Convolution": convolution,
    "Pad": pad,
    "Upsample": upsample,
    "Resize": resize,
    "MaxPool": max_pool,
    "Flatten": flatten,
    "Dropout": dropout,
    "Embedding": embedding,
    "GRU": gru,
    "LSTM": lstm,
}


def chain(weights, x, layers):
    own: dict[str, dict[str, np.ndarray]] = {}
    for name, array in weights.items():
        place, _, kind = name.partition(".")
        own.setdefault(place, {})[kind] = array
    for number, entry in enumerate(layers[1:], start=1):
        x = STEPS[entry["layer"]](x, **own.get(str(number), {}), **entry["config"])
    return x


def layers(*entries):
    """The config of a chain: (layer, config) or (layer, config, training) after the input."""
    rows = [("Input", {}), *entries]
    return {
        "layers": [
            {"layer": row[0], "previous": [place - 1] if place else [], "config": row[1]}
            | ({"training": row[2]} if len(row) > 2 else {})
            for place, row in enumerate(rows)
        ]
    }


def arrays(place, seed, **shapes):
    """Weights of a layer; a variance is positive."""
    found = {}
    for number, (name, shape) in enumerate(shapes.items()):
        array = normal(*shape, seed=100 * seed + number) / 2
        found[f"{place}.{name.replace('__', '.')}"] = array**2 if name == "variance" else array
    return found


def norm_arrays(place, seed, n):
    return arrays(place, seed, **dict.fromkeys(("scale", "shift", "mean", "variance"), (n,)))


def gru_arrays(place, seed, width, h, ways=("",)):
    shapes = [(width, 3 * h), (h, 3 * h), (3 * h,), (3 * h,)]
    named = {
        way + name: shape for way in ways for name, shape in zip(GRU_ARRAYS, shapes, strict=True)
    }
    return arrays(place, seed, **named)


def lstm_arrays(place, seed, width, h, ways=("",)):
    shapes = [(width, 4 * h), (h, 4 * h), (4 * h,)]
    named = {
        way + name: shape for way in ways for name, shape in zip(LSTM_ARRAYS, shapes, strict=True)
    }
    return arrays(place, seed, **named)


EPSILON, MOMENTUM = {"epsilon": 1e-5}, {"momentum": 0.1}
MLP = layers(
    ("Projection", {}),
    ("BatchNorm", EPSILON, MOMENTUM),
    ("ReLU", {}),
    ("Dropout", {}, {"rate": 0.2}),
    ("Projection", {}),
    ("Softmax", {"axis": -1}),
)


CLIPPED = layers(("Projection", {}), ("ReLU6", {}), ("Projection", {}))


def clipped_arrays(width):
    return {
        **arrays(1, 11, weight=(width, 5), bias=(5,)),
        **arrays(3, 12, weight=(5, 3), bias=(3,)),
    }


def mlp_arrays(width):
    return {
        **arrays(1, 1, weight=(width, 5), bias=(5,)),
        **norm_arrays(2, 2, 5),
        **arrays(5, 3, weight=(5, 3), bias=(3,)),
    }


CONVOLUTIONAL = layers(
    ("Convolution", {"stride": [2, 1], "padding": [[1, 1], [0, 0]], "dilation": [1, 1]}),
    ("BatchNorm", EPSILON, MOMENTUM),
    ("ReLU", {}),
    ("MaxPool", {"size": [2, 3], "stride": [2, 2], "padding": [[0, 0], [0, 0]]}),
    ("Flatten", {}),
    ("Projection", {}),
)


def convolutional_arrays(channels, flat):
    return {
        **arrays(1, 4, weight=(5, channels, 3, 2), bias=(5,)),
        **norm_arrays(2, 5, 5),
        **arrays(6, 6, weight=(flat, 3), bias=(3,)),
    }


ONCE = {"stride": [1, 1], "dilation": [1, 1]}
DEPTHWISE = layers(  # a block of a network for small machines, and a convolution in two groups
    (
        "Convolution",
        {"stride": [2, 2], "padding": [[0, 1], [1, 0]], "dilation": [1, 1], "groups": 3},
    ),
    ("ReLU6", {}),
    ("Convolution", {**ONCE, "padding": [[0, 0], [0, 0]]}),
    ("Convolution", {**ONCE, "padding": [[1, 1], [0, 0]], "groups": 2}),
    ("Flatten", {}),
    ("Projection", {}),
)


def depthwise_arrays():
    return {
        **arrays(1, 13, weight=(6, 1, 3, 2)),
        **arrays(3, 14, weight=(4, 6, 1, 1), bias=(4,)),
        **arrays(4, 15, weight=(10, 2, 3, 2), bias=(10,)),
        **arrays(6, 16, weight=(90, 3), bias=(3,)),
    }


PADDED = layers(  # every mode, and ends that are cut off
    ("Pad", {"padding": [[2, 1], [-1, 3]], "mode": "reflect", "value": 0.0}),
    ("Convolution", {**ONCE, "padding": [[0, 0], [0, 0]]}),
    ("Pad", {"padding": [[1, 0], [2, -3]], "mode": "edge", "value": 0.0}),
    ("Pad", {"padding": [[-1, 2], [1, -1]], "mode": "constant", "value": 0.75}),
    ("Convolution", {**ONCE, "padding": [[1, 0], [0, 0]]}),
    ("Pad", {"padding": [[-1, -2], [0, -1]], "mode": "constant", "value": 0.0}),
    ("Flatten", {}),
)


def padded_arrays():
    return {
        **arrays(2, 20, weight=(5, 3, 2, 3), bias=(5,)),
        **arrays(5, 21, weight=(2, 5, 3, 2), bias=(2,)),
    }


LINEAR = {"mode": "linear", "corners": False}
CORNERS = {"mode": "linear", "corners": True}
NEAREST = {"mode": "nearest", "corners": False}
RESAMPLED = layers(  # up and down, by every rule
    ("Upsample", {"scale": [3, 2], **LINEAR}),
    ("Convolution", {**ONCE, "padding": [[0, 0], [0, 0]]}),
    ("Resize", {"size": [5, 11], **NEAREST}),
    ("Resize", {"size": [7, 4], **LINEAR}),
    ("Upsample", {"scale": [1, 3], **NEAREST}),
    ("Resize", {"size": [3, 13], **CORNERS}),
    ("Upsample", {"scale": [2, 1], **CORNERS}),
    ("Flatten", {}),
)


RECURRENT = layers(
    ("Embedding", {}, {"padding": True}),
    ("GRU", {"direction": "both", "return_sequences": True}),
    ("GRU", {"direction": "backward", "return_sequences": False}),
    ("Projection", {}),
)


def recurrent_arrays(vocabulary_size):
    table = arrays(1, 7, table=(vocabulary_size, 5))
    table["1.table"][0] = 0
    return {
        **table,
        **gru_arrays(2, 8, 5, 3, ("", "backward__")),
        **gru_arrays(3, 9, 6, 7),
        **arrays(4, 10, weight=(7, 2), bias=(2,)),
    }


MEMORIES = layers(
    ("LSTM", {"direction": "both", "return_sequences": True}),
    ("LSTM", {"direction": "backward", "return_sequences": True}),
    ("LSTM", {"direction": "forward", "return_sequences": False}),
)


MEMORY = layers(("LSTM", {"direction": "both", "return_sequences": False}))


def memory_arrays(width):
    return lstm_arrays(1, 17, width, 3, ("", "backward__"))


def memories_arrays(width):
    return {
        **lstm_arrays(1, 17, width, 3, ("", "backward__")),
        **lstm_arrays(2, 18, 6, 5),
        **lstm_arrays(3, 19, 5, 2),
    }


STATISTICS = ("2.mean", "2.variance")
PIXELS = digits(5)[0]
IDS = pad_token_lists([[3, 1, 10], [7], [2, 2, 9, 4, 1], [10, 6]])
DOCSTRINGS = pad_token_lists([one[:7] for one in docstring_tokens(textwrap, vocabulary_size=53)])

DEFINITION = Definition(
    "chain",
    operations=(
        Operation(
            "mlp",
            chain,
            cases=(
                Case(
                    "batch", {"x": normal(4, 7, seed=1)}, MLP, mlp_arrays(7), fixed=STATISTICS
                ).vanishes("gradient:*"),
                Case(
                    "one row", {"x": normal(1, 7, seed=2)}, MLP, mlp_arrays(7), fixed=STATISTICS
                ).vanishes("gradient:*"),
                Case("digits", {"x": PIXELS}, MLP, mlp_arrays(64), fixed=STATISTICS).vanishes(
                    "gradient:*"
                ),
                Case("clipped", {"x": 7 * normal(11, 7, seed=4)}, CLIPPED, clipped_arrays(7)),
            ),
            kind="model",
            numpy=True,
        ),
        Operation(
            "convolutional",
            chain,
            cases=(
                Case(
                    "batch",
                    {"x": normal(2, 3, 11, 8, seed=3)},
                    CONVOLUTIONAL,
                    convolutional_arrays(3, 45),
                    fixed=STATISTICS,
                    channels=("x",),
                ),
                Case(
                    "depthwise",
                    {"x": normal(2, 3, 7, 7, seed=5)},
                    DEPTHWISE,
                    depthwise_arrays(),
                    channels=("x",),
                ),
                Case(
                    "padded",
                    {"x": normal(2, 3, 5, 7, seed=7)},
                    PADDED,
                    padded_arrays(),
                    channels=("x",),
                ),
                Case(
                    "resampled",
                    {"x": normal(2, 3, 3, 5, seed=8)},
                    RESAMPLED,
                    arrays(2, 22, weight=(2, 3, 2, 3), bias=(2,)),
                    channels=("x",),
                ),
                Case(
                    "digits",
                    {"x": PIXELS.reshape(5, 1, 8, 8)},
                    CONVOLUTIONAL,
                    convolutional_arrays(1, 30),
                    differentiate=False,  # blank corners: the entries of a window are all equal
                    fixed=STATISTICS,
                    channels=("x",),
                ),
            ),
            kind="model",
            numpy=True,
        ),
        Operation(
            "recurrent",
            chain,
            cases=(
                Case("batch", {"x": IDS}, RECURRENT, recurrent_arrays(11), flat={"1.table": 0}),
                Case(
                    "docstrings",
                    {"x": DOCSTRINGS},
                    RECURRENT,
                    recurrent_arrays(53),
                    flat={"1.table": 0},
                ).vanishes("gradient:*hidden_weight"),
            ),
            kind="model",
            numpy=True,
        ),
        Operation(
            "memory",
            chain,
            cases=(
                Case(
                    "both ways", {"x": normal(2, 7, 5, seed=6)}, MEMORY, memory_arrays(5)
                ).vanishes("gradient:*hidden_weight"),
                Case(
                    "stacked", {"x": normal(2, 7, 5, seed=6)}, MEMORIES, memories_arrays(5)
                ).vanishes("gradient:*"),
            ),
            kind="model",
            numpy=True,
        ),
    ),
    mutants=(),
)
