"""Half precision in PyTorch: every operation under autocast, on half inputs and in half models.

Losses, distances, mining and memories compute in float32 whatever they are given: their results
are the float32 ones of the rounded inputs, bit for bit. Layers and models follow PyTorch's own
layers: they run, agree within the rounding of a half, and train.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo  # before finfo is guarded below: Dynamo's tables hold torch's own
from torch import Tensor, nn

from fourfold.backends.torch_backend import build, is_dense_float, named, to_native, weighted
from fourfold.definition import Case, Operation, SparseInput
from fourfold.project import definitions
from fourfold.training import Training
from pytorch_impl import layers
from pytorch_impl.distances import pairwise_distances, squared_distances
from pytorch_impl.frequency_scaling import inverse_frequency_weights, scale_gradients_by_frequency
from pytorch_impl.gradient_flow import gradient_flow
from pytorch_impl.padded_embedding import PaddedEmbedding
from pytorch_impl.rare_event_memory import RareEventMemory
from pytorch_impl.sanity_checks import (
    check_finite,
    check_gradients_reach,
    check_initial_loss,
    check_overfits,
)
from pytorch_impl.smorms3 import SMORMS3
from pytorch_impl.soft_nearest_neighbor_loss import SoftNearestNeighborLoss
from pytorch_impl.sparse_dense_optimizer import SparseDenseOptimizer
from pytorch_impl.sparse_projection import SparseProjection
from pytorch_impl.support.precision import matrix_product
from pytorch_impl.title_encoder import bag_of_titles
from pytorch_impl.top_k_gating import load_balance_loss
from pytorch_impl.triplet_loss import all_triplets_loss, triplet_loss
from shared_tests.backends.torch_tools import TOOLS, gradients
from shared_tests.backends.torch_training import Native
from shared_tests.fixtures import normal
from shared_tests.trainings import TRAININGS

HALVES = (torch.float16, torch.bfloat16)

# What every operation of every definition is. One that is in no list fails the first test.
IN_SINGLE_PRECISION = (
    "l2_normalize",
    "cosine_similarity",
    "squared_distances",
    "pairwise_distances",
    "paired_distances",
    "triplet_loss",
    "TripletLoss",
    "all_triplets_loss",
    "AllTripletsLoss",
    "batch_hard_triplets",
    "BatchHardTripletLoss",
    "semi_hard_triplets",
    "SemiHardTripletLoss",
    "margin_violators",
    "clustering_loss",
    "ClusteringLoss",
    "soft_nearest_neighbor_loss",
    "SoftNearestNeighborLoss",
    "level_losses",
    "curriculum_loss",
    "leave_one_out_loss",
    "load_balance_loss",
    "load_loss",
    "keep_top_k",
    "top_k_gating",
    "bag_of_titles",
    "memory_loss",
    "updated_memory",
    "RareEventMemory",
)
CHAINS = ("mlp", "convolutional", "recurrent", "memory")
LAYERS = (
    *CHAINS,
    "CharWordEncoder",
    "SentenceEncoder",
    "ConvAutoencoder1d",
    "ConvAutoencoder2d",
    "FeedbackNetwork",
    "NeuralGrammar",
    "PaddedEmbedding",
    "RecursiveAutoencoder",
    "SequenceEncoder",
    "SparseProjection",
    "SpeakerEncoder",
    "TitleEncoder",
    "MixtureOfExperts",
)
# No arrays of floating point numbers, or what looks at a training: tested below by name.
OTHERS = ("pad_token_lists", *TOOLS)


def operations(*names: str) -> list[tuple[str, Operation]]:
    """(component, operation), the tests of one after the other."""
    return [
        (definition.component, operation)
        for definition in definitions()
        for operation in definition.operations
        if "torch" in operation.backends() and (not names or operation.name in names)
    ]


@pytest.fixture(autouse=True)
def no_tolerance_of_a_half(monkeypatch):
    """Nobody asks for the roundings of a half: a tolerance made of them is a part of the range."""
    finfo = torch.finfo

    def guarded(dtype: torch.dtype) -> torch.finfo:
        assert dtype not in HALVES
        return finfo(dtype)

    monkeypatch.setattr(torch, "finfo", guarded)


def test_every_operation_is_in_one_list():
    every = {operation.name for _, operation in operations()}
    assert every == {*IN_SINGLE_PRECISION, *LAYERS, *OTHERS}
    assert len(every) == len(IN_SINGLE_PRECISION) + len(LAYERS) + len(OTHERS)


def rounded(case: Case, dtype: torch.dtype) -> Case:
    """The case in float32, with every floating input that is dense rounded to a half."""

    def half(value: Any) -> Any:
        if isinstance(value, SparseInput):
            return replace(value, array=half(value.array))
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            return torch.from_numpy(value).to(dtype).float().numpy()
        return value

    case = case.cast("float32")
    return replace(case, inputs={name: half(value) for name, value in case.inputs.items()})


def run(
    component: str,
    operation: Operation,
    case: Case,
    dtype: torch.dtype | None,
    autocast: Any,
    backward: Any = None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]] | str:
    """Outputs and gradients of a case whose inputs, and module, are of a dtype; or the error.

    autocast, backward: the contexts in which the outputs are computed, and their gradients.
    """
    inputs = {name: to_native(value) for name, value in case.inputs.items()}
    if dtype is not None:
        inputs = {
            name: one.to(dtype) if isinstance(one, Tensor) and one.is_floating_point() else one
            for name, one in inputs.items()
        }
    differentiate = operation.differentiable and case.differentiate
    sources = {name: one for name, one in inputs.items() if is_dense_float(one)}
    for one in sources.values():
        one.requires_grad_(differentiate)
    try:
        function = build(component, operation.name, case)
        if dtype is not None and isinstance(function, nn.Module):
            function.to(dtype)
        with autocast:
            outputs = named(function(*inputs.values()))
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    gradients = {}
    if differentiate:
        total = sum(weighted(one) for one in outputs.values() if one.is_floating_point())
        if total.requires_grad:
            with backward or nullcontext():
                total.backward()
        gradients = {name: one.grad for name, one in sources.items() if one.grad is not None}
        if isinstance(function, nn.Module):
            gradients |= {name: one.grad for name, one in function.named_parameters()}
    return {name: one.detach() for name, one in outputs.items()}, gradients


def each(names: Sequence[str]) -> Any:
    """A test for each operation of these names and each half."""
    rows = operations(*names)
    ids = [f"{component}-{operation.name}" for component, operation in rows]

    def parametrized(test: Any) -> Any:
        test = pytest.mark.parametrize("named_operation", rows, ids=ids)(test)
        return pytest.mark.parametrize("dtype", HALVES, ids=["float16", "bfloat16"])(test)

    return parametrized


@each(IN_SINGLE_PRECISION)
def test_float32_of_the_rounded_input(named_operation, dtype):
    """Outputs and errors are equal bit for bit, indices too; a half's gradient is rounded once."""
    component, operation = named_operation
    for case in operation.cases:
        case = rounded(case, dtype)
        wanted = run(component, operation, case, None, nullcontext())
        for own, mode in (
            (None, torch.autocast("cpu", dtype)),
            (dtype, torch.autocast("cpu", dtype)),
            (dtype, nullcontext()),
        ):
            got = run(component, operation, case, own, mode)
            if isinstance(wanted, str):
                assert got == wanted, case.name
                continue
            assert not isinstance(got, str), (case.name, got)
            for found, right in zip(got, wanted, strict=True):
                assert found.keys() == right.keys(), case.name
                for name, value in right.items():
                    value = value.to(found[name].dtype) if right is wanted[1] else value
                    torch.testing.assert_close(found[name], value, rtol=0, atol=0, equal_nan=True)


@each(IN_SINGLE_PRECISION)
def test_backward_inside_autocast(named_operation, dtype):
    """The gradients are those of a backward outside, bit for bit: no product is of halves.

    `backward` runs under the autocast of its caller, and `torch.autocast` asks to leave it first.
    A TensorFlow policy belongs to a layer: a tape knows no such mode.
    """
    component, operation = named_operation
    for case in operation.cases:
        case = rounded(case, dtype)
        wanted = run(component, operation, case, None, nullcontext())
        for own, mode in (
            (None, nullcontext()),
            (None, torch.autocast("cpu", dtype)),
            (dtype, None),
        ):
            mode = mode or torch.autocast("cpu", dtype)
            got = run(component, operation, case, own, mode, torch.autocast("cpu", dtype))
            if isinstance(wanted, str):
                assert got == wanted, case.name
                continue
            assert not isinstance(got, str), (case.name, got)
            assert got[1].keys() == wanted[1].keys(), case.name
            for name, value in got[1].items():
                right = wanted[1][name].to(value.dtype)
                torch.testing.assert_close(
                    value, right, rtol=0, atol=0, equal_nan=True, msg=f"{case.name}: {name}"
                )


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_halves_in_one_graph_and_under_transforms(dtype, monkeypatch):
    """The step to float32 is seen by torch.compile, as one whole graph, and by torch.func."""
    monkeypatch.undo()  # Dynamo knows no other finfo than torch's
    x = torch.from_numpy(normal(3, 7, 5, seed=1)).to(dtype)
    wanted = squared_distances(x[0].float(), x[0].float())
    for way in (nullcontext(), torch.autocast("cpu", dtype)):
        torch._dynamo.reset()
        compiled = torch.compile(squared_distances, backend="eager", fullgraph=True)
        with way:
            assert torch.equal(compiled(x[0], x[0]), wanted)
            assert torch.equal(compiled(x[0].float(), x[0].float()), wanted)
            batched = torch.func.vmap(lambda x: squared_distances(x, x))(x)
            gradient = torch.func.grad(lambda x: triplet_loss(x, x.flip(0), x.flip(1)))(x[0])
        assert batched.dtype == torch.float32
        torch.testing.assert_close(batched[0], wanted)
        assert gradient.dtype == dtype
        assert gradient.any()


# How far a layer in halves may be from the float32 one on the same rounded input: a few roundings
# of the largest entry. Measured at worst: 2.7e-3 and 8.6e-3.
LAYER_BOUNDS = {torch.float16: 5e-3, torch.bfloat16: 2e-2}
WAYS = ("autocast", "whole")  # behind a linear layer under autocast; all converted, inputs too


def converted(value: Any, dtype: torch.dtype) -> Any:
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def identity(x: Any) -> Any:
    """A product that changes nothing: under autocast it is the input as a half."""
    return x @ torch.eye(x.shape[-1], dtype=x.dtype) if is_dense_float(x) else x


def layer_outputs(
    component: str, operation: Operation, case: Case, dtype: torch.dtype, way: str
) -> dict[str, Tensor]:
    """What a layer makes of a case, in float32 unless `way` is one of WAYS."""
    inputs = [to_native(value) for value in case.inputs.values()]
    function = build(component, operation.name, case)
    if way == "whole":
        inputs = [converted(value, dtype) for value in inputs]
        function = function.to(dtype) if isinstance(function, nn.Module) else function
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=way == "autocast"):
        return named(function(*map(identity, inputs)))


@each(LAYERS)
def test_a_layer_is_near_the_float32_one(named_operation, dtype):
    """All integers, such as the merges of a tree, are the same."""
    component, operation = named_operation
    case = rounded(operation.cases[0], dtype)
    wanted = layer_outputs(component, operation, case, dtype, "float32")
    for way in WAYS:
        got = layer_outputs(component, operation, case, dtype, way)
        assert got.keys() == wanted.keys()
        for name, value in wanted.items():
            if value.is_floating_point():
                error = (got[name] - value).abs().max() / value.abs().max().clamp(min=1)
                assert error <= LAYER_BOUNDS[dtype], (way, name)
            else:
                assert got[name].equal(value), (way, name)


@each(LAYERS)
def test_every_case_of_a_layer_runs(named_operation, dtype):
    """Or raises what it raises in float32; NaN comes only where numbers leave the range."""
    component, operation = named_operation
    for case in operation.cases:
        case = rounded(case, dtype)
        wanted = layer_outputs(component, operation, case, dtype, "float32")
        for way in WAYS:
            got = layer_outputs(component, operation, case, dtype, way)
            for name, value in wanted.items():
                assert got[name].shape == value.shape, (case.name, way, name)
                if value.is_floating_point() and (value.abs() < 1e3).all():
                    assert got[name].isfinite().all(), (case.name, way, name)


def trained(training: Training, dtype: torch.dtype, way: str) -> list[float]:
    """The losses of a training in halves, behind a linear layer for every dense input."""
    batches = [
        {name: to_native(value) for name, value in one.inputs.items()}
        for one in training.batch_cases("float32")
    ]
    case = training.case.cast("float32")
    function = build(training.model[0], training.operation, case)
    modules = nn.ModuleDict({"model": function} if isinstance(function, nn.Module) else {})
    for name in training.embeddings or case.inputs:
        if is_dense_float(batches[0][name]):
            width = batches[0][name].shape[-1]
            modules[f"before {name}"] = before = nn.Linear(width, width)
            nn.init.eye_(before.weight)
            nn.init.zeros_(before.bias)
    if way == "whole":
        modules.to(dtype)
        batches = [{k: converted(value, dtype) for k, value in one.items()} for one in batches]
    optimizer = SMORMS3(modules.parameters(), lr=0.01)
    losses, reached = [], {"model.score.bias"}  # which cancels in the hinges of a grammar
    for step in range(10 * len(batches)):
        batch = batches[step % len(batches)]
        with torch.autocast("cpu", dtype, enabled=way == "autocast"):
            inputs = [
                modules[f"before {name}"](batch[name])
                if f"before {name}" in modules
                else batch[name]
                for name in case.inputs
            ]
            loss = training.loss(Native, named(function(*inputs)), batch)
        optimizer.zero_grad()
        loss.backward()
        for name, parameter in modules.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            if parameter.grad.any():
                reached.add(name)
        optimizer.step()
        losses.append(loss.item())
    assert reached >= {name for name, _ in modules.named_parameters()}
    return [sum(part) / len(batches) for part in (losses[: len(batches)], losses[-len(batches) :])]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("training", TRAININGS, ids=str)
def test_what_is_trained_trains(training, way):
    first, last = trained(training, torch.bfloat16, way)
    assert last < first


def test_every_layer_with_weights_is_trained():
    with_weights = {
        operation.name
        for _, operation in operations(*LAYERS)
        if any(case.weights is not None for case in operation.cases)
    }
    trained_ones = {training.operation for training in TRAININGS}
    assert with_weights - trained_ones == set(CHAINS[1:])  # of the chains one is enough


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_sums_and_counts_of_many_rows(dtype):
    """256 rows have 4 million triplets and a weight of 255 · 64: float16 ends at 65504."""
    x = torch.from_numpy(normal(256, 5, seed=1)).to(dtype)
    labels = torch.arange(256) % 4
    for distance in ("cosine", "sqeuclidean", "euclidean"):
        for reduction in ("mean", "active", "sum"):
            options = {"distance": distance, "reduction": reduction}
            got = all_triplets_loss(x, labels, **options)
            torch.testing.assert_close(
                got, all_triplets_loss(x.float(), labels, **options), rtol=0, atol=0
            )
            wanted = all_triplets_loss(x.double(), labels, **options)
            assert abs(got / wanted - 1) < 1e-4  # at worst 3.0e-5, of large sums that nearly cancel
    titles = torch.ones(1, 3000, 2, dtype=dtype)
    assert bag_of_titles(titles).tolist() == [[1.0, 1.0]]
    assert load_balance_loss(torch.ones(70_000, 2, dtype=dtype)) == 0


@pytest.mark.parametrize(
    "make", [SMORMS3, partial(torch.optim.SGD, lr=0.1)], ids=["smorms3", "sgd"]
)
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_a_gradient_beyond_float16_skips_a_step(sparse, make):
    """`GradScaler` leaves weights and state alone then, of a pair of optimizers too."""
    embed = PaddedEmbedding(11, 5, sparse=sparse, seed=1)
    net = nn.Sequential(embed, nn.Linear(5, 3))
    optimizer = SparseDenseOptimizer(net.parameters(), sparse=make, dense=make)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)

    def step(size: float) -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            loss = (net(torch.tensor([[1, 2, 2], [3, 0, 0]])).float() * size).square().sum()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    step(1.0)
    before = copy.deepcopy((net.state_dict(), optimizer.state_dict()["state"]))
    step(float("inf"))
    assert scaler.get_scale() == 128.0
    torch.testing.assert_close(
        (net.state_dict(), optimizer.state_dict()["state"]), before, rtol=0, atol=0
    )
    step(1.0)
    assert not torch.equal(net[1].weight, before[0]["1.weight"])
    assert all(one.isfinite().all() for one in net.parameters())


# Samples of every class of `layers`: what makes it, and the shape that it takes.
SAMPLES: dict[str, list[tuple[Callable[[], nn.Module], tuple[int, ...]]]] = {
    "UnpoolSequential": [
        (
            lambda: layers.UnpoolSequential(
                nn.MaxPool1d(2, return_indices=True), nn.Conv1d(3, 3, 1), nn.MaxUnpool1d(2)
            ),
            (2, 3, 7),
        )
    ],
    "Padded": [
        (lambda: layers.Padded(nn.Conv1d(3, 5, 2), [(1, 2)]), (2, 3, 7)),
        (lambda: layers.Padded(nn.ConvTranspose2d(3, 5, 2), [(0, 1), (1, -1)]), (2, 3, 7, 5)),
        (lambda: layers.Padded(nn.MaxPool1d(2), [(1, 0)]), (2, 3, 7)),
        (lambda: layers.Padded(nn.AvgPool1d(2, count_include_pad=False), [(1, 0)]), (2, 3, 7)),
    ],
    "GRU": [
        (partial(layers.GRU, 3, 5, direction=direction, return_sequences=full), (2, 7, 3))
        for direction in ("forward", "backward", "both")
        for full in (False, True)
    ],
    "LSTM": [
        (partial(layers.LSTM, 3, 5, direction=direction, return_sequences=full), (2, 7, 3))
        for direction, full in (("forward", False), ("backward", True), ("both", True))
    ],
    "PositionEmbedding": [(partial(layers.PositionEmbedding, 9, 3), (2, 7, 3))],
    "TimeStep": [(partial(layers.TimeStep, -2), (2, 7, 3))],
    "BatchNorm": [(lambda: layers.BatchNorm(3), (5, 3, 7))],
    "Affine": [
        (partial(layers.Affine, 3), (5, 3, 7)),
        (partial(layers.Affine, 3, bias=False, fixed=True), (5, 3, 7)),
    ],
    "StochasticDepth": [(lambda: layers.StochasticDepth(0.3).eval(), (5, 3, 7))],
    "Reshape": [(partial(layers.Reshape, (7, 3)), (2, 3, 7))],
    "Permute": [(partial(layers.Permute, (2, 1)), (2, 3, 7))],
    "Slice": [
        (partial(layers.Slice, 1, 5), (2, 3, 7)),
        (partial(layers.Slice, 1, 3, axis=1), (2, 3, 7)),
    ],
    "Upsample": [
        (partial(layers.Upsample, (41,)), (2, 3, 7)),
        (partial(layers.Upsample, (2, 3), "linear"), (2, 3, 5, 7)),
    ],
    "Resize": [
        (partial(layers.Resize, (5,)), (2, 3, 7)),
        (partial(layers.Resize, (3, 9), "linear", True), (2, 3, 5, 7)),
    ],
    "GlobalAveragePool": [(layers.GlobalAveragePool, (2, 3, 7))],
    "GlobalMaxPool": [(layers.GlobalMaxPool, (2, 3, 7))],
    "HardSigmoid": [(layers.HardSigmoid, (2, 3, 7))],
    "L2Normalize": [(layers.L2Normalize, (5, 3))],
    "TopKGating": [(lambda: layers.TopKGating(2), (5, 3))],
    "ChannelsFirst": [(layers.ChannelsFirst, (2, 7, 3))],
    "ChannelsLast": [(layers.ChannelsLast, (2, 3, 7))],
}


def test_every_class_of_layers_has_a_sample():
    assert SAMPLES.keys() == set(layers.__all__)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", SAMPLES)
def test_a_layer_stands_in_a_pipeline(name, dtype, way):
    """Between two linear layers, and a whole chain that is converted, forward and backward."""
    for make, shape in SAMPLES[name]:
        torch.manual_seed(1)
        layer = make()
        x = torch.from_numpy(normal(*shape, seed=2)).float()
        width = layer(x).shape[-1]
        net = nn.Sequential(nn.Linear(shape[-1], shape[-1]), layer, nn.Linear(width, 3))
        wanted = net(x)
        if way == "whole":
            net, x = net.to(dtype), x.to(dtype)
        with torch.autocast("cpu", dtype, enabled=way == "autocast"):
            got = net(x)
        assert got.dtype == dtype
        assert (got - wanted).abs().max() <= LAYER_BOUNDS[dtype] * wanted.abs().max().clamp(min=1)
        got.sum().backward()
        for parameter in net.parameters():
            if parameter.requires_grad:  # the hidden bias of an LSTM does not
                assert parameter.grad is not None
                assert parameter.grad.isfinite().all()


def test_outside_of_autocast_nothing_is_cast():
    """A layer in float32 refuses a half, and halves never meet float64."""
    for component, operation in operations(*LAYERS):
        case = operation.cases[0].cast("float32")
        inputs = [to_native(value) for value in case.inputs.values()]
        if case.weights is None or operation.name in CHAINS or inputs[0].dtype != torch.float32:
            continue
        name = next(iter(case.inputs))
        model = build(component, operation.name, case)
        for refused in (*HALVES, torch.float64):
            with pytest.raises(TypeError, match=f"{name}: expected torch.float32, got {refused}"):
                model(inputs[0].to(refused), *inputs[1:])
        with pytest.raises(TypeError, match=name), torch.autocast("cpu", torch.bfloat16):
            model(inputs[0].double(), *inputs[1:])
    x = torch.ones(2, 3)
    for half in HALVES:
        for y in (x.double(), x.to(half)):
            mixed = x.double() if y.dtype == half else x
            with pytest.raises(TypeError, match=f"y: expected {mixed.dtype}, got {y.dtype}"):
                pairwise_distances(mixed, y)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("layout", ["csr", "csc", "coo"])
def test_a_sparse_input_is_multiplied_in_float32(layout, dtype, way):
    """And rounded once; what is stored twice is summed before it is rounded."""
    model = SparseProjection(7, 3, seed=1)
    dense = torch.from_numpy(normal(5, 7, seed=1)).to(dtype).float()
    x = getattr(dense * (dense > 0), f"to_sparse_{layout}")()
    if layout == "coo":
        x = torch.sparse_coo_tensor(
            torch.cat([x.indices(), x.indices()[:, :3]], 1),
            torch.cat([x.values(), x.values()[:3] / 256]),
            x.shape,
        )
    if way == "whole":
        model, x = model.to(dtype), x.to(dtype)
    wanted = copy.deepcopy(model).float()(x.float())
    with torch.autocast("cpu", dtype, enabled=way == "autocast"):
        got = model(x)
    assert got.dtype == dtype
    assert torch.equal(got, wanted.to(dtype))
    got.float().square().sum().backward()
    assert model.weight.grad.dtype == model.weight.dtype
    assert model.weight.grad.any()


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_a_memory_keeps_its_labels_and_ages(dtype):
    """Labels to 2²⁴ and ages are counts: they stay in float32 when the model around is a half."""
    net = nn.ModuleDict({"linear": nn.Linear(3, 3), "memory": RareEventMemory(5, 3)})
    queries = torch.from_numpy(normal(4, 3, seed=1)).to(dtype)
    labels = torch.tensor([2**24, 2**24 - 1, 257, 2049])
    net["memory"].update(queries.float(), labels)
    net.to(dtype)
    assert net["linear"].weight.dtype == dtype
    assert [one.dtype for one in net["memory"].memory] == 3 * [torch.float32]
    assert net["memory"](queries).labels.equal(labels)
    for _ in range(300):
        net["memory"].update(queries[:1], labels[:1])
    assert net["memory"].ages.tolist() == [0, 300, 300, 300, 301]
    net.double()
    assert net["memory"].keys.dtype == torch.float64
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        assert RareEventMemory(5, 3).labels.dtype == torch.float32
    finally:
        torch.set_default_dtype(before)


def test_a_learned_temperature_stays_in_float32():
    loss = SoftNearestNeighborLoss(temperature=300.0, learn_temperature=True).half()
    (parameter,) = loss.parameters()
    assert parameter.dtype == torch.float32
    loss(torch.from_numpy(normal(6, 3, seed=1)).half(), torch.arange(6) % 2).backward()
    assert parameter.grad.dtype == torch.float32


SMORMS3_CASES = [
    case
    for _, operation in operations("SMORMS3")
    for case in operation.cases
    if np.abs(case.inputs["parameter"]).max() < 1e4
]


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("case", SMORMS3_CASES, ids=lambda case: case.name)
def test_smorms3_steps_in_float32(case, dtype):
    """State and step are those of float32, dense and sparse; the parameter is rounded each time."""
    half = torch.tensor(case.inputs["parameter"]).to(dtype).requires_grad_()
    single = half.detach().float().requires_grad_()
    options = dict(case.options)
    steppers = [SMORMS3([one], **options) for one in (half, single)]
    for gradient in gradients(case, half):
        half.grad = gradient.to(dtype)
        single.grad = half.grad.float()
        for stepper in steppers:
            stepper.step()
        with torch.no_grad():
            single.copy_(single.to(dtype))
    torch.testing.assert_close(half, single.to(dtype), rtol=0, atol=0, equal_nan=True)
    for name, value in steppers[1].state[single].items():
        got = steppers[0].state[half][name]
        torch.testing.assert_close(got, value, rtol=0, atol=0, equal_nan=True)


def test_smorms3_knows_its_epsilon_in_float16():
    """1e-16 is 0 in float16, where a gradient of 0 was 0 / 0."""
    for sparse in (False, True):
        parameter = torch.ones(2, 1, dtype=torch.float16, requires_grad=True)
        gradient = torch.tensor([[0.0], [1e-4]], dtype=torch.float16)
        parameter.grad = gradient.to_sparse(1) if sparse else gradient
        SMORMS3([parameter], lr=0.01).step()
        assert parameter[0] == 1
        assert 0.9 < parameter[1] < 1


@pytest.mark.parametrize("pair", [False, True], ids=["SMORMS3", "SparseDenseOptimizer"])
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_a_restored_state_is_not_rounded(dtype, pair):
    """torch's own loading brings every state to the dtype of its parameter."""
    net = nn.Sequential(PaddedEmbedding(11, 5, sparse=pair, seed=1), nn.Linear(5, 3)).to(dtype)
    ids = torch.tensor([[1, 2, 2], [3, 0, 0]])

    def make(model: nn.Module) -> torch.optim.Optimizer:
        if pair:
            return SparseDenseOptimizer(model.parameters(), sparse=SMORMS3, dense=SMORMS3)
        return SMORMS3(model.parameters())

    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(ids).float().square().sum().backward()
        optimizer.step()

    optimizer = make(net)
    for _ in range(3):
        step(net, optimizer)
    other = copy.deepcopy(net)
    restored = make(other)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in range(3):
        step(net, optimizer)
        step(other, restored)
    assert all(map(torch.equal, net.parameters(), other.parameters()))
    states = [one.state_dict()["state"] for one in (optimizer, restored)]
    torch.testing.assert_close(*states, rtol=0, atol=0)
    assert {one.dtype for state in states[1].values() for one in state.values()} == {torch.float32}


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_scaled_gradients_of_a_half_table(dtype, sparse):
    """By the float32 weights that `inverse_frequency_weights` gives; rounded once."""
    weights = inverse_frequency_weights(torch.tensor([0, 70_001, 1, 5]))
    table = nn.Parameter(torch.ones(4, 2, dtype=dtype))
    ids = torch.tensor([1, 2, 3, 3])
    nn.functional.embedding(ids, table, sparse=sparse).sum().backward()
    scale_gradients_by_frequency(table, weights)
    assert table.grad.dtype == dtype
    counts = torch.tensor([0.0, 1.0, 1.0, 2.0])
    assert torch.equal(table.grad.to_dense()[:, 0], (weights * counts).to(dtype))
    with pytest.raises(TypeError, match=r"weights: expected torch\.float32"):
        scale_gradients_by_frequency(table, weights.double())


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_the_flow_of_half_gradients(sparse):
    """The mean over the rows of a table of 300,001 that the batch has, as in float32."""
    net = nn.Sequential(nn.Embedding(300_001, 2, sparse=sparse), nn.Linear(2, 1)).half()
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.5)
    net(torch.tensor([3, 5])).sum().backward()
    flow = gradient_flow(net)
    assert flow["0"] == 0.5
    assert flow["1"] == 1


def test_the_flow_of_half_gradients_that_underflow():
    """Three zeros beside the smallest float16: their mean is a quarter of it, and not blocked."""
    net = nn.Linear(4, 1, bias=False).half()
    net.weight.grad = torch.tensor([[2.0**-24, 0, 0, 0]]).half()
    assert gradient_flow(net) == {"weight": 2.0**-26}


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_sanity_checks_of_a_half_model(dtype):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(3, 7), nn.ReLU(), nn.Linear(7, 2)).to(dtype)
    batch = [torch.from_numpy(normal(4, 3, seed=1)).to(dtype), torch.tensor([0, 1, 1, 0])]

    def loss(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(x), labels)

    assert check_gradients_reach(net, loss, batch)
    assert check_finite(net, loss, batch)
    assert check_overfits(net, loss, batch)
    assert check_initial_loss(torch.tensor(2.0, dtype=dtype).log(), 2)
    batch[0][0, 0] = torch.inf
    assert check_finite(net, loss, batch).details["batch"] == ["batch[0]"]


def test_a_product_outside_of_autocast_enters_no_context():
    """The calls of a context and of a bound signature would take most of a small product's time."""
    x, y = torch.ones(3, 2, requires_grad=True), torch.ones(2, 3)

    def n_calls(run: Callable[[], object]) -> int:
        count = 0

        def seen(_frame: object, event: str, _argument: object) -> None:
            nonlocal count
            count += event == "call"

        run()
        sys.setprofile(seen)
        try:
            run()
        finally:
            sys.setprofile(None)
        return count

    def differentiated() -> object:
        return torch.autograd.grad(matrix_product(x, y).sum(), x)

    assert n_calls(differentiated) < 100
    with torch.no_grad():
        assert n_calls(lambda: matrix_product(x, y)) < 30
