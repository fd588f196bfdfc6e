"""The chain of numpy_infer: its layers against their formulas, sharing, threads, imports."""

import importlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import numpy_infer
from fourfold.agreement import VALUE_TOLERANCE, assert_close
from fourfold.backends.numpy_backend import build
from fourfold.project import cells
from numpy_infer import (
    BatchNorm,
    Input,
    L2Normalize,
    Layer,
    LayerNorm,
    Projection,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from numpy_infer.conv_autoencoder import ConvAutoencoder1d
from numpy_infer.fast import sparse_projection as fast
from numpy_infer.neural_grammar import NeuralGrammar
from numpy_infer.recursive_autoencoder import RecursiveAutoencoder
from numpy_infer.sparse_projection import SparseMatrix, SparseProjection
from numpy_infer.support import bracketing, greedy_tree
from numpy_infer.title_encoder import TitleEncoder
from numpy_infer.top_k_gating import MixtureOfExperts, TopKGating
from shared_tests.components import conv_autoencoder
from shared_tests.components.sparse_projection import REPEATED, repeated
from shared_tests.fixtures import digits, normal
from shared_tests.repository import CHAIN

X = normal(5, 7, seed=1)
WEIGHT, BIAS = normal(7, 3, seed=2), normal(3, seed=3)
SCALE, SHIFT, MEAN = normal(7, seed=4), normal(7, seed=5), normal(7, seed=6)
VARIANCE = normal(7, seed=7) ** 2
NO_LAYER: Any = X
EXPERTS = normal(3, 7, 5, seed=13)


def mixture(**changes: np.ndarray) -> MixtureOfExperts:
    arrays: dict[str, Any] = {
        "gate_weight": WEIGHT,
        "expert_weight": EXPERTS,
        "expert_bias": EXPERTS[:, 0],
    }
    return MixtureOfExperts(Input(), **(arrays | changes), k=2, renormalize=True)


LAYERS = {
    "projection": (lambda p, c: Projection(p, c(WEIGHT), c(BIAS)), X @ WEIGHT + BIAS),
    "projection without bias": (lambda p, c: Projection(p, c(WEIGHT)), X @ WEIGHT),
    "batch norm": (
        lambda p, c: BatchNorm(p, c(SCALE), c(SHIFT), c(MEAN), c(VARIANCE)),
        (X - MEAN) / np.sqrt(VARIANCE + 1e-5) * SCALE + SHIFT,
    ),
    "layer norm": (
        lambda p, c: LayerNorm(p, c(SCALE), c(SHIFT)),
        (X - X.mean(1)[:, None]) / np.sqrt(X.var(1)[:, None] + 1e-5) * SCALE + SHIFT,
    ),
    "l2 normalize": (lambda p, c: L2Normalize(p), X / np.sqrt((X**2).sum(1))[:, None]),
    "relu": (lambda p, c: ReLU(p), np.where(X > 0, X, 0)),
    "tanh": (lambda p, c: Tanh(p), np.tanh(X)),
    "sigmoid": (lambda p, c: Sigmoid(p), 1 / (1 + np.exp(-X))),
    "softmax": (lambda p, c: Softmax(p), np.exp(X) / np.exp(X).sum(1)[:, None]),
    "top-k gating": (lambda p, c: TopKGating(p, k=1), (X.max(1)[:, None] == X) / 1.0),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", LAYERS)
def test_layer_is_its_formula(name, dtype):
    build, wanted = LAYERS[name]
    got = build(Input(), lambda array: array.astype(dtype))(X.astype(dtype))
    assert got.dtype == dtype
    assert_close(got, wanted, VALUE_TOLERANCE["layer", dtype], name)


def test_batch_norm_of_channels():
    x = normal(2, 7, 5, seed=8)
    layer = BatchNorm(Input(), SCALE, SHIFT, MEAN, VARIANCE)
    by_rows = layer(np.moveaxis(x, 1, 2).reshape(10, 7)).reshape(2, 5, 7)
    np.testing.assert_allclose(layer(x), np.moveaxis(by_rows, 2, 1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("layer", [ReLU, Tanh, Sigmoid, Softmax])
def test_tails_are_exact_and_nan_stays(layer):
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        tails = layer(Input())(np.array([[-1000.0, 1000.0]]))
    low, high = {ReLU: (0, 1000), Tanh: (-1, 1), Sigmoid: (0, 1), Softmax: (0, 1)}[layer]
    np.testing.assert_array_equal(tails, [[low, high]])
    assert np.isnan(layer(Input())(np.array([[np.nan, 1.0]]))[0, 0])


class Counted(Layer):
    """Counts its evaluations."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return x + 1


class Sum(Layer):
    def forward(self, x, y):
        return x + y


def test_a_layer_that_two_share_is_evaluated_once_per_call():
    shared = Counted(Input())
    net = [shared, left := ReLU(shared), right := Tanh(shared), Sum(left, right)]
    expected = np.maximum(X + 1, 0) + np.tanh(X + 1)
    np.testing.assert_array_equal(net[-1](X), expected)
    assert shared.calls == 1
    net[-1](X)
    assert shared.calls == 2


def test_inner_layers_can_be_called():
    net = [inp := Input(), hidden := Projection(inp, WEIGHT, BIAS), ReLU(hidden)]
    np.testing.assert_array_equal(net[-1](X), np.maximum(X @ WEIGHT + BIAS, 0))
    np.testing.assert_array_equal(net[-2](X), X @ WEIGHT + BIAS)
    np.testing.assert_array_equal(net[-3](X), X)


def test_many_threads_may_call_one_net():
    net = Softmax(Projection(ReLU(Projection(Input(), WEIGHT, BIAS)), WEIGHT[:3]))
    inputs = [normal(11, 7, seed=seed) for seed in range(64)]
    alone = [net(x) for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(net, inputs))
    np.testing.assert_array_equal(alone, together)


def test_a_deep_chain_does_not_reach_the_recursion_limit():
    layer = Input()
    for _ in range(5000):
        layer = Counted(layer)
    assert layer(np.zeros(1)) == 5000


def test_digits_through_a_chain():
    pixels, _ = digits(23)
    hidden = ReLU(Projection(Input(), normal(64, 11, seed=9), normal(11, seed=10)))
    shares = Softmax(LayerNorm(hidden, normal(11, seed=11), normal(11, seed=12)))(pixels)
    assert shares.shape == (23, 11)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("build", "x", "error", "argument"),
    [
        (lambda: ReLU(NO_LAYER), X, TypeError, "previous"),
        (lambda: Projection(Input(), WEIGHT[0]), X, ValueError, "weight"),
        (lambda: Projection(Input(), WEIGHT, BIAS[:2]), X, ValueError, "bias"),
        (lambda: Projection(Input(), WEIGHT), X[:, :5], ValueError, "x"),
        (lambda: Projection(Input(), WEIGHT), X.astype("float32"), TypeError, "x"),
        (lambda: BatchNorm(Input(), SCALE, SHIFT, MEAN, VARIANCE[:3]), X, ValueError, "variance"),
        (lambda: BatchNorm(Input(), SCALE, SHIFT, MEAN, VARIANCE), X[:, :5], ValueError, "x"),
        (lambda: LayerNorm(Input(), SCALE, SHIFT, epsilon=-1.0), X, ValueError, "epsilon"),
        (lambda: LayerNorm(Input(), SCALE, SHIFT), X[:, :5], ValueError, "x"),
        (lambda: L2Normalize(Input(), epsilon=0.0), X, ValueError, "epsilon"),
        (lambda: ReLU(Input()), np.ones(3, int), TypeError, "x"),
        (lambda: Softmax(Input()), [1.0, 2.0], TypeError, "x"),
        (lambda: TopKGating(Input(), k=0), X, ValueError, "k"),
        (lambda: TopKGating(Input(), k=8), X, ValueError, "k"),
        (lambda: mixture(expert_weight=EXPERTS[1:]), X, ValueError, "expert_weight"),
        (lambda: mixture(expert_weight=EXPERTS.astype("float32")), X, TypeError, "expert_weight"),
        (lambda: mixture(expert_bias=BIAS), X, ValueError, "expert_bias"),
        (lambda: mixture(noise_weight=WEIGHT.T), X, ValueError, "noise_weight"),
    ],
)
def test_bad_input(build, x, error, argument):
    with pytest.raises(error, match=f"^{argument}: expected .*, got "):
        build()(x)


def test_nothing_but_numpy_is_imported():
    program = (
        "import sys, numpy; before = set(sys.modules); import numpy_infer;"
        "[getattr(numpy_infer, name) for name in numpy_infer.__all__];"
        "print({name.split('.')[0] for name in set(sys.modules) - before})"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    new = eval(found.stdout) - set(sys.stdlib_module_names)
    assert new <= {"numpy", "numpy_infer"}, new


def test_files_are_read_when_they_are_asked_for():
    program = (
        "import sys, numpy_infer;"
        "print(sorted(name for name in sys.modules if name.startswith('numpy_infer')))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert eval(found.stdout) == [
        "numpy_infer",
        "numpy_infer.support",
        "numpy_infer.support.layer",
    ]
    assert dir(numpy_infer) == sorted(numpy_infer.__all__)
    assert all(getattr(numpy_infer, name).__name__ == name for name in numpy_infer.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Convolve'"):
        numpy_infer.Convolve  # noqa: B018


@pytest.mark.parametrize(
    ("name", "value"), [("BLOCK", 1), ("BLOCK", 6), ("BLOCK", 2**18), ("FEW", 0)]
)
@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_sparse_projection_sums_what_is_stored_twice(monkeypatch, layout, name, value):
    monkeypatch.setattr(fast, name, value)
    layer = SparseProjection(Input(), WEIGHT, BIAS)
    got = layer(SparseMatrix(*repeated(layout), REPEATED.shape, layout))
    np.testing.assert_allclose(got, layer(REPEATED), rtol=0, atol=1e-12)


class LikeSciPy:
    """What SciPy's matrices look like, with room kept behind the entries."""

    def __init__(self, data, indices, indptr):
        self.data, self.indices = np.append(data, 9.0), np.append(indices, 1)
        self.indptr = indptr.astype(np.int32)
        self.shape, self.format = REPEATED.shape, "csr"


@pytest.mark.parametrize("width", ["int8", "int32", "uint8", "uint32", "uint64"])
@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_sparse_projection_takes_indices_of_every_width(layout, width):
    x = SparseMatrix.from_dense(normal(5, 7, seed=1), layout)
    narrow = replace(x, indices=x.indices.astype(width), indptr=x.indptr.astype(width))
    layer = SparseProjection(Input(), normal(7, 3, seed=2))
    np.testing.assert_array_equal(layer(narrow), layer(x))


def test_sparse_projection_takes_matrices_like_those_of_scipy():
    layer = SparseProjection(Input(), WEIGHT)
    got = layer(LikeSciPy(*repeated("csr")))
    np.testing.assert_allclose(got, layer(REPEATED), rtol=0, atol=1e-12)


DATA, INDICES, INDPTR = repeated("csr")
BAD_PARTS = {
    "indptr too short": (DATA, INDICES, INDPTR[:-1]),
    "indptr past the end": (DATA, INDICES, INDPTR * 2),
    "indptr that falls": (DATA, INDICES, INDPTR[::-1]),
    "index too large": (DATA, INDICES + 1, INDPTR),
    "index negative": (DATA, -INDICES, INDPTR),
    "data too short": (DATA[:-1], INDICES, INDPTR),
    "another layout": (DATA, INDICES, INDPTR, REPEATED.shape, "bsr"),
}


@pytest.mark.parametrize("name", BAD_PARTS)
def test_sparse_projection_refuses_parts_that_do_not_fit(name):
    data, indices, indptr, *others = BAD_PARTS[name]
    matrix = SparseMatrix(data, indices, indptr, *(others or [REPEATED.shape]))
    with pytest.raises(ValueError, match="x: expected"):
        SparseProjection(Input(), WEIGHT)(matrix)


@pytest.mark.parametrize("bad", [[[1.0]], SparseMatrix(DATA, INDICES / 2, INDPTR, (5, 7))])
def test_sparse_projection_refuses_another_type(bad):
    with pytest.raises(TypeError, match="x: expected"):
        SparseProjection(Input(), WEIGHT)(bad)


@pytest.mark.parametrize(("pairs", "most"), [("all", 12**2), ("adjacent", 3 * 12)])
def test_recursive_autoencoder_scores_each_pair_once(monkeypatch, pairs, most):
    weights = normal(6, 3, seed=1), normal(3, seed=2), normal(3, 6, seed=3), normal(6, seed=4)
    model, batches = RecursiveAutoencoder(Input(), *weights, pairs=pairs), []
    score = greedy_tree.pair_scores
    counted = lambda *a: batches.append(len(a[3])) or score(*a)  # noqa: E731
    monkeypatch.setattr(greedy_tree, "pair_scores", counted)
    model(normal(13, 3, seed=1))
    assert 0 < len(batches) <= 13
    assert sum(batches) <= most


def test_neural_grammar_scores_each_pair_once(monkeypatch):
    shapes = NeuralGrammar.array_shapes(3, 5).values()
    weights = [normal(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    model, batches = NeuralGrammar(Input(), *weights), []
    costs = bracketing.pair_costs
    counted = lambda *a: batches.append(len(a[2])) or costs(*a)  # noqa: E731
    monkeypatch.setattr(bracketing, "pair_costs", counted)
    model(normal(13, 3, seed=1))
    assert 0 < len(batches) <= 13
    assert sum(batches) <= 3 * 12


def test_title_encoder_works_on_bags():
    table = normal(11, 5, seed=1)
    table[0] = 0
    model = TitleEncoder(Input(), table)
    ids = np.array([[[1, 2, 0], [3, 0, 0], [4, 5, 6]], [[7, 8, 0], [9, 10, 0], [0, 0, 0]]])
    wanted = [model(group[group.any(axis=1)]).mean(axis=0) for group in ids]
    np.testing.assert_allclose(model.bags(ids), wanted, rtol=0, atol=1e-15)
    with pytest.raises(ValueError, match="ids: expected ids"):
        model.bags(ids + 1)


@pytest.mark.parametrize(
    ("name", "case"), [("ConvAutoencoder1d", "three levels"), ("ConvAutoencoder2d", "digits")]
)
def test_conv_autoencoder_keeps_the_positions_of_its_definition(name, case):
    case = conv_autoencoder.DEFINITION.cell(name, case).case
    x, size = case.inputs["x"], case.options["pool_size"]
    model = build("conv_autoencoder", name, case)
    encoding = model.encode(x)
    code, positions, spaces = conv_autoencoder.encode(case.weights, x, size)
    np.testing.assert_allclose(encoding.code, code, rtol=0, atol=1e-12)
    for got, wanted in zip(encoding.positions, positions, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert list(encoding.spaces) == spaces
    assert np.any(model.decode(encoding._replace(code=encoding.code + 1)) != model(x))


def test_conv_autoencoder_refuses_arrays_that_do_not_fit():
    case = conv_autoencoder.DEFINITION.cell("ConvAutoencoder1d", "odd length").case
    arrays = {name.replace(".", "_"): array for name, array in case.weights.items()}
    changes = {
        "arrays": {"decoder_2_bias": np.zeros(3)},
        "decoder_0_weight": {"decoder_0_weight": np.zeros((5, 3, 2))},
        "encoder_1_weight": {"encoder_1_weight": arrays["encoder_1_weight"][..., 0]},
    }
    for name, change in changes.items():
        with pytest.raises(ValueError, match=f"{name}: expected .*, got "):
            ConvAutoencoder1d(Input(), **{**arrays, **change})
    with pytest.raises(TypeError, match="decoder_1_bias: expected float64, got float32"):
        ConvAutoencoder1d(Input(), **{**arrays, "decoder_1_bias": np.zeros(2, "float32")})
    with pytest.raises(ValueError, match="arrays: expected encoder_0_weight, got "):
        ConvAutoencoder1d(Input())


def test_the_size_that_ties_depend_on_is_the_longest_length():
    vectors = np.array([[3.0, -4.0], [1.0, -5.0], [np.inf, 1.0], [np.nan, 9.0]])
    assert float(greedy_tree.largest_length(vectors)) == pytest.approx(26**0.5)


MODELS = [
    one
    for one in cells("numpy")
    if one.dtype == "float64" and one.case.weights is not None and one.component != CHAIN
]


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_configuration_says_which_arrays_there_are(model):
    """A file's arrays are held to these before they are read."""
    module = importlib.import_module(f"numpy_infer.{model.component}")
    case = model.case
    shapes = getattr(module, model.operation.name).array_shapes(**case.options)
    assert shapes == {name: array.shape for name, array in case.weights.items()}
