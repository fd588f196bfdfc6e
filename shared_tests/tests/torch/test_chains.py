"""Chains of PyTorch's own layers, into model files and out again."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

import numpy_infer
from fourfold.agreement import VALUE_TOLERANCE, assert_close
from fourfold.definition import DTYPES, upstream
from fourfold.project import cells, model_name
from numpy_infer.format.vocabulary import LAYERS
from pytorch_impl import interchange
from pytorch_impl.interchange.records import RECORDS
from pytorch_impl.layers import (
    GRU,
    LSTM,
    Affine,
    BatchNorm,
    ChannelsFirst,
    ChannelsLast,
    GlobalAveragePool,
    GlobalMaxPool,
    HardSigmoid,
    L2Normalize,
    Padded,
    Permute,
    Reshape,
    Resize,
    Slice,
    StochasticDepth,
    TopKGating,
    UnpoolSequential,
    Upsample,
)
from pytorch_impl.padded_embedding import PaddedEmbedding
from pytorch_impl.sparse_projection import SparseProjection
from pytorch_impl.top_k_gating import MixtureOfExperts
from shared_tests.fixtures import normal

ROWS = normal(5, 7, seed=1) * 3
SERIES = normal(3, 2, 17, seed=2)
IMAGES = normal(3, 2, 11, 13, seed=3)
VOLUMES = normal(2, 3, 4, 3, 2, seed=5)
STEPS = normal(3, 5, 7, seed=4)
IDS = np.array([[3, 1, 10, 0], [7, 0, 0, 0], [2, 2, 9, 4]])

ACTIVATIONS = [
    nn.ReLU(),
    nn.ReLU6(),
    nn.Sigmoid(),
    nn.Tanh(),
    nn.SiLU(),
    nn.SELU(),
    nn.LeakyReLU(0.3),
    nn.ELU(0.7),
    nn.GELU(),
    nn.GELU("tanh"),
    HardSigmoid(),
    nn.Hardswish(),
    nn.Mish(),
    nn.LogSigmoid(),
    nn.Softsign(),
    nn.Hardtanh(),
    nn.Hardtanh(0.5, 2.5),
    nn.PReLU(),
    nn.PReLU(5),
    nn.Softplus(),
    nn.Softplus(threshold=40),
    nn.Softmax(-1),
    nn.LogSoftmax(-1),
    TopKGating(3),
    L2Normalize(epsilon=7.0),
    Affine(5, fixed=True),
    StochasticDepth(0.3),
]
IMAGE_LAYERS = [
    nn.Conv2d(2, 3, (2, 5), stride=(3, 2), padding=(1, 2), dilation=(2, 1)),
    nn.Conv2d(2, 3, (2, 5), padding="same", dilation=(3, 1), bias=False),
    nn.Conv2d(2, 3, (2, 3), padding="valid"),
    Padded(nn.Conv2d(2, 3, (2, 3), stride=(3, 2)), ((1, 2), (0, 3))),
    nn.Conv2d(2, 6, (3, 2), stride=(2, 1), groups=2),
    nn.Sequential(nn.Conv2d(2, 6, 1), nn.Conv2d(6, 9, (2, 3), padding=1, groups=3, bias=False)),
    Padded(nn.Conv2d(2, 2, (2, 3), groups=2), ((0, 1), (1, 0))),
    nn.ConvTranspose2d(2, 3, (3, 2), (2, 3), (1, 0), output_padding=(1, 2), dilation=(1, 2)),
    Padded(nn.ConvTranspose2d(2, 3, (3, 5), stride=(2, 3)), ((2, 1), (1, -4))),
    Padded(nn.ConvTranspose2d(2, 3, (3, 5), bias=False, dilation=(2, 1)), ((0, 3), (2, 2))),
    nn.MaxPool2d(3, stride=2, padding=1),  # one number for both axes
    nn.MaxPool2d((2, 3), stride=(3, 1), padding=(1, 1)),
    Padded(nn.MaxPool2d((3, 5), stride=(2, 1)), ((2, 1), (0, 3))),
    nn.AvgPool2d((2, 3), stride=(3, 1), padding=(1, 1)),
    nn.AvgPool2d((2, 3), stride=(3, 1), padding=(1, 1), count_include_pad=False),
    Padded(nn.AvgPool2d((3, 5), stride=(2, 1)), ((2, 1), (0, 3))),
    Padded(nn.AvgPool2d((3, 5), stride=(2, 1), count_include_pad=False), ((2, 1), (0, 3))),
    nn.AdaptiveAvgPool2d(1),
    nn.AdaptiveMaxPool2d((1, 1)),
    GlobalAveragePool(),
    GlobalMaxPool(keepdims=True),
    nn.BatchNorm2d(2, eps=0.1, momentum=0.3),
    nn.BatchNorm2d(2, affine=False),
    nn.Sequential(nn.Conv2d(2, 6, 2), nn.GroupNorm(3, 6, eps=0.1), nn.GroupNorm(1, 6)),
    nn.Sequential(nn.Conv2d(2, 6, 2), nn.GroupNorm(2, 6, affine=False)),
    nn.InstanceNorm2d(2, eps=0.1, affine=True),
    nn.Sequential(nn.Conv2d(2, 3, 2), nn.InstanceNorm2d(3)),
    nn.Sequential(Reshape([11, -1, 2]), Permute([3, 1, 2]), nn.Conv2d(2, 3, 2)),
    nn.Sequential(nn.Conv2d(2, 5, 2), Slice(1, 4, axis=1), Slice(2, 7)),
    nn.Sequential(nn.ZeroPad2d((1, 2, 0, 3)), nn.Conv2d(2, 3, 2), nn.ConstantPad2d(2, 0.5)),
    nn.Sequential(nn.ReflectionPad2d((3, -1, 2, 1)), nn.Conv2d(2, 3, 2)),
    nn.Sequential(nn.Upsample(scale_factor=(2, 3)), nn.Conv2d(2, 3, 2)),
    nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), Resize([7, 5])),
    nn.Sequential(nn.Upsample(scale_factor=(1, 2), mode="bilinear", align_corners=True)),
    nn.Sequential(Resize([4, 15], "linear"), Resize([9, 4], "linear", corners=True)),
    nn.Sequential(nn.ReplicationPad2d((-2, 3, 4, 0)), nn.ZeroPad2d((-1, -2, 0, -3))),
    Affine(2),
    nn.Sequential(Affine(2, bias=False), StochasticDepth(0.3), nn.Conv2d(2, 3, 2)),
    nn.PReLU(2),
    nn.Sequential(nn.PReLU(), nn.Flatten(), nn.Linear(2 * 11 * 13, 3)),
    nn.Softmax(1),
    nn.LogSoftmax(1),
    nn.Sequential(nn.Flatten(), nn.Linear(2 * 11 * 13, 3)),
    nn.Sequential(ChannelsLast(), nn.Linear(2, 3), nn.LayerNorm(3, eps=0.1), ChannelsFirst()),
]
SERIES_LAYERS = [
    nn.Conv1d(2, 3, 5, stride=2, padding=3, dilation=2),
    nn.Conv1d(2, 3, 4, padding="same"),
    Padded(nn.Conv1d(2, 3, 5, stride=3), [(2, 3)]),
    nn.Conv1d(2, 2, 3, padding="same", dilation=2, groups=2),
    nn.ConvTranspose1d(2, 3, 5, stride=3, padding=2, output_padding=1),
    nn.ConvTranspose1d(2, 3, 5, padding=2, output_padding=2, dilation=3),
    Padded(nn.ConvTranspose1d(2, 3, 5, stride=3), [(1, -4)]),
    nn.MaxPool1d(3, padding=1),
    Padded(nn.MaxPool1d(3, stride=2), [(0, 2)]),
    nn.AvgPool1d(3, stride=2, padding=1, count_include_pad=False),
    Padded(nn.AvgPool1d(3, stride=2), [(2, 1)]),
    nn.AdaptiveAvgPool1d(1),
    nn.AdaptiveMaxPool1d(1),
    nn.BatchNorm1d(2, eps=0.1, bias=False),
    BatchNorm(2, momentum=0.0),
    nn.InstanceNorm1d(2, affine=True),
    nn.Sequential(nn.ConstantPad1d((3, -2), -1.5), nn.ReflectionPad1d((4, 1))),
    nn.Sequential(nn.Upsample(scale_factor=(3,)), nn.Upsample(scale_factor=2, mode="linear")),
    Upsample([41]),
    nn.Sequential(nn.ReplicationPad1d(3), nn.ZeroPad1d(1), nn.Conv1d(2, 3, 4)),
]
HOURGLASSES = [
    (
        SERIES,
        UnpoolSequential(
            nn.Conv1d(2, 3, 3),
            nn.MaxPool1d(2, return_indices=True),
            nn.Tanh(),
            Padded(nn.MaxPool1d(3, stride=5, return_indices=True), [(2, 1)]),
            Padded(nn.MaxUnpool1d(3, stride=5), [(2, 1)]),
            nn.MaxUnpool1d(2),
            nn.MaxPool1d(3),
        ),
    ),
    (
        IMAGES,
        nn.Sequential(
            UnpoolSequential(
                nn.MaxPool2d((2, 3), (3, 4), (1, 1), return_indices=True),
                nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1)),
                nn.MaxUnpool2d((2, 3), (3, 4), (1, 1)),
            ),
            nn.Conv2d(2, 3, 2),
        ),
    ),
]
RECURRENT = [
    kind(7, 3, bias=bias, direction=direction, return_sequences=sequences)
    for kind in (GRU, LSTM)
    for direction in ("forward", "backward", "both")
    for bias, sequences in ((True, False), (True, True), (False, False))
]
OTHERS = [
    (ROWS, nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5), nn.Dropout(0.25), nn.Linear(5, 3))),
    (ROWS, nn.Sequential(nn.LayerNorm(7, eps=0.1, bias=False), nn.Identity(), nn.Tanh())),
    (ROWS, nn.Sequential(nn.LayerNorm(7, elementwise_affine=False), nn.Linear(7, 3, bias=False))),
    (ROWS, nn.Sequential(nn.RMSNorm(7, eps=0.1), nn.Linear(7, 6), nn.GroupNorm(2, 6))),
    (ROWS, nn.Sequential(nn.RMSNorm(7), nn.RMSNorm(7, eps=0.1, elementwise_affine=False))),
    (ROWS, nn.Sequential(SparseProjection(7, 5), nn.ReLU(), MixtureOfExperts(5, 3, 4, 2))),
    (IDS, nn.Sequential(nn.Embedding(11, 5, padding_idx=0), GRU(5, 3), nn.Linear(3, 2))),
    (IDS, nn.Sequential(nn.Embedding(11, 5), ChannelsFirst(), nn.MaxPool1d(4), nn.Flatten())),
    (IDS, nn.Sequential(PaddedEmbedding(11, 5, unit_norm=True), nn.Linear(5, 3))),
]
CHAINS = [
    *((ROWS, nn.Sequential(nn.Linear(7, 5), one)) for one in ACTIVATIONS),
    *((IMAGES, nn.Sequential(nn.Tanh(), one)) for one in IMAGE_LAYERS),
    *((SERIES, nn.Sequential(one)) for one in SERIES_LAYERS),
    *((STEPS, nn.Sequential(one)) for one in RECURRENT),
    (VOLUMES, nn.Sequential(nn.ZeroPad3d((1, 0, 0, 2, -1, 1)), nn.ConstantPad3d(1, 0.5))),
    (VOLUMES, nn.Sequential(nn.Upsample(scale_factor=2, mode="trilinear"), Resize([3, 5, 2]))),
    (VOLUMES, nn.Sequential(nn.ReflectionPad3d(1), nn.ReplicationPad3d((2, 1, 0, 1, 1, 0)))),
    *HOURGLASSES,
    *OTHERS,
]


def randomized(model: nn.Module, dtype: str) -> nn.Module:
    """A copy in which every parameter and running statistic differs from every other."""
    model = deepcopy(model)
    for number, (name, tensor) in enumerate([*model.named_parameters(), *model.named_buffers()]):
        if tensor.is_floating_point():
            values = normal(*tensor.shape, seed=number) / 2
            positive = name.endswith("running_var")
            tensor.data = torch.from_numpy(values**2 + 0.1 if positive else values)
    for module in model.modules():
        if isinstance(module, nn.Embedding) and module.padding_idx == 0:
            module.weight.data[0] = 0
    return model.to(getattr(torch, dtype))


def trained(model: nn.Module, x: np.ndarray) -> dict[str, np.ndarray]:
    """The input's gradient, and the weights that one step of training has changed."""
    before, given = interchange.to_arrays(model), torch.from_numpy(x)
    given.requires_grad_(given.is_floating_point())
    torch.manual_seed(7)
    output = model.train()(given)
    (output * torch.from_numpy(upstream(tuple(output.shape))).to(output.dtype)).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:  # the hidden bias of an LSTM does not
                parameter -= 0.1 * parameter.grad
    after = interchange.to_arrays(model)
    found = {name: after[name] for name in after if not np.array_equal(after[name], before[name])}
    return found if given.grad is None else {**found, "input": given.grad.numpy()}


def count_padded(model: nn.Module) -> int:
    return sum(isinstance(module, Padded) for module in model.modules())


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("x", "model"), CHAINS, ids=["-".join(type(m).__name__ for m in c[1]) for c in CHAINS]
)
def test_chain_travels(tmp_path, x, model, dtype):
    model, path = randomized(model, dtype).eval(), tmp_path / "model"
    x = x.astype(dtype) if x.dtype.kind == "f" else x
    interchange.save_model(model, path)
    state = torch.get_rng_state()
    loaded = interchange.load_model(path)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in loaded.modules())
    assert count_padded(loaded) == count_padded(model)

    arrays, again = interchange.to_arrays(model), interchange.to_arrays(loaded)
    assert list(again) == list(arrays)
    for name, array in arrays.items():
        assert again[name].dtype == dtype
        np.testing.assert_array_equal(again[name], array)
    interchange.save_model(loaded, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()

    bound = VALUE_TOLERANCE["layer", dtype]
    wanted = model(torch.from_numpy(x)).detach().numpy()
    assert_close(loaded.eval()(torch.from_numpy(x)).detach().numpy(), wanted, bound, "loaded")
    found = numpy_infer.load_model(path)[-1](x)
    assert found.dtype == dtype
    assert_close(found, wanted, bound, "numpy")

    wanted, found = trained(model, x), trained(loaded, x)
    assert wanted
    for name, array in wanted.items():
        assert_close(found[name], array, bound, name)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pytorch_s_hard_sigmoid_travels_as_ours(tmp_path, dtype):
    """The same values; its own gradient is 1/6 in float32."""
    x = torch.linspace(-5, 5, 41, dtype=getattr(torch, dtype))
    interchange.save_model(nn.Sequential(nn.Hardsigmoid()), tmp_path / "model")
    loaded = interchange.load_model(tmp_path / "model")
    assert type(loaded[0]) is HardSigmoid
    bound = VALUE_TOLERANCE["layer", dtype]
    assert_close(loaded(x).numpy(), nn.Hardsigmoid()(x).numpy(), bound, "loaded")


def kinked(layer: nn.Module, *kinks: float) -> list[float]:
    x = torch.tensor(kinks, dtype=torch.float64, requires_grad=True)
    layer(x).sum().backward()
    return x.grad.tolist()


def test_gradients_at_kinks():
    assert kinked(HardSigmoid(), -3.0, 3.0) == [0, 0]
    assert kinked(nn.Hardswish(), -3.0, 3.0) == [0, 1]
    assert kinked(nn.Hardtanh(-1, 2), -1.0, 2.0) == [0, 0]
    assert kinked(nn.PReLU().double(), 0.0) == [0.25]


def test_every_layer_has_one_record():
    assert sorted(record.layer for record in RECORDS) == sorted({*LAYERS} - {"Input"})


def test_nothing_of_a_loaded_chain_is_left_unset(tmp_path):
    interchange.save_model(nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5)), tmp_path / "model")
    torch.use_deterministic_algorithms(True)  # fills what is not set
    try:
        state = interchange.load_model(tmp_path / "model").state_dict()
    finally:
        torch.use_deterministic_algorithms(False)
    assert state["1.num_batches_tracked"] == 0
    assert all(one.isfinite().all() for one in state.values())


NATIVE_AND_PADDED = [
    (nn.Conv1d(2, 3, 5, 3, padding=2), nn.Conv1d(2, 3, 5, 3), [(2, 2)], SERIES),
    (
        nn.ConvTranspose2d(2, 3, (3, 2), (2, 3), (1, 0), output_padding=(1, 2)),
        nn.ConvTranspose2d(2, 3, (3, 2), (2, 3)),
        ((1, 0), (0, -2)),
        IMAGES,
    ),
    (nn.MaxPool2d((2, 3), padding=(1, 1)), nn.MaxPool2d((2, 3)), ((1, 1), (1, 1)), IMAGES),
    (nn.AvgPool1d(3, padding=1), nn.AvgPool1d(3), [(1, 1)], SERIES),
    (
        nn.AvgPool1d(3, padding=1, count_include_pad=False),
        nn.AvgPool1d(3, count_include_pad=False),
        [(1, 1)],
        SERIES,
    ),
]


@pytest.mark.parametrize(("native", "bare", "padding", "x"), NATIVE_AND_PADDED)
def test_padded_is_what_pytorch_does_where_it_can(tmp_path, native, bare, padding, x):
    padded = randomized(Padded(bare, padding), "float64")
    native = randomized(native, "float64")
    found, wanted = (module(torch.from_numpy(x)) for module in (padded, native))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    for name, module in (("native", native), ("padded", padded)):
        interchange.save_model(nn.Sequential(module), tmp_path / name)
    assert (tmp_path / "padded").read_bytes() == (tmp_path / "native").read_bytes()


def test_no_arrays_have_the_default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        assert interchange._dtype("arrays", []) == "float64"
    finally:
        torch.set_default_dtype(torch.float32)


MODEL_CELLS = [cell for cell in cells("torch") if cell.case.weights is not None]


@pytest.mark.parametrize("torch_cell", MODEL_CELLS, ids=str)
def test_component_travels(tmp_path, torch_cell):
    case = torch_cell.case.cast(torch_cell.dtype)
    component = model_name(torch_cell.component, torch_cell.operation.name)
    model = interchange.from_arrays(component, case.options, case.weights)
    interchange.save_model(model, tmp_path / "model")
    loaded = interchange.load_model(tmp_path / "model")
    assert type(loaded) is type(model)
    arrays = interchange.to_arrays(loaded)
    assert arrays.keys() == case.weights.keys()
    for name, array in arrays.items():
        assert array.dtype == torch_cell.dtype
        np.testing.assert_array_equal(array, case.weights[name])
    interchange.save_model(loaded, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()


def test_stochastic_depth_drops_whole_rows_when_training_alone():
    x, layer = torch.ones(2000, 3, 2), StochasticDepth(0.3)
    assert layer.eval()(x) is x
    torch.manual_seed(1)
    first, second = layer.train()(x).numpy(), layer(x).numpy()
    rows = first[:, 0, 0]
    np.testing.assert_allclose(np.unique(first), [0, 1 / 0.7], rtol=1e-6)
    np.testing.assert_array_equal(first, np.broadcast_to(rows[:, None, None], first.shape))
    assert abs(np.mean(rows == 0) - 0.3) < 0.05
    assert not np.array_equal(first, second)
