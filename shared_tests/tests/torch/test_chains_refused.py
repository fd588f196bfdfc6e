"""What cannot go into a model file as a chain, or come out of it into PyTorch."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune, spectral_norm
from torch.optim.swa_utils import AveragedModel

from numpy_infer import model_file
from pytorch_impl import interchange
from pytorch_impl.interchange import chain
from pytorch_impl.layers import Padded, UnpoolSequential
from pytorch_impl.sequence_encoder import SequenceEncoder
from pytorch_impl.sparse_projection import SparseProjection
from pytorch_impl.support.checks import check_number
from shared_tests.model_files.samples import write_unchecked


def hooked(module: nn.Module, before: bool = False) -> nn.Module:
    if before:
        module.register_forward_pre_hook(lambda module, given: None)
    else:
        module.register_forward_hook(lambda module, given, output: 2 * output)
    return module


REFUSED = [
    (nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), "Conv2d(padding_mode='circular')"),
    (nn.Conv3d(2, 4, 3), "Conv3d"),
    (nn.ConvTranspose2d(2, 4, 3, groups=2), "ConvTranspose2d(groups=2)"),
    (nn.CircularPad1d(1), "CircularPad1d"),
    (nn.Upsample(scale_factor=2), "Upsample(scale_factor=2.0)"),
    (nn.Upsample(scale_factor=(1.5, 2)), "Upsample(scale_factor=(1.5, 2.0))"),
    (nn.Upsample(scale_factor=(41, 2)), "Upsample(scale_factor=(41.0, 2.0))"),
    (nn.Upsample(size=(3, 4)), "Upsample(scale_factor=None)"),
    (nn.Upsample(scale_factor=2, mode="bicubic"), "Upsample(mode='bicubic')"),
    (nn.MaxPool1d(2, ceil_mode=True), "MaxPool1d(ceil_mode=True)"),
    (nn.MaxPool2d(2, dilation=(1, 2)), "MaxPool2d(dilation=(1, 2))"),
    (nn.MaxPool2d(2, return_indices=True), "MaxPool2d(return_indices=True)"),
    (nn.MaxUnpool1d(2), "MaxUnpool1d without a pool before it in an UnpoolSequential"),
    (nn.AvgPool1d(2, ceil_mode=True), "AvgPool1d(ceil_mode=True)"),
    (nn.AvgPool2d(2, divisor_override=3), "AvgPool2d(divisor_override=3)"),
    (nn.AdaptiveAvgPool2d((1, 2)), "AdaptiveAvgPool2d(output_size=(1, 2))"),
    (nn.AdaptiveMaxPool1d(1, return_indices=True), "AdaptiveMaxPool1d(return_indices=True)"),
    (nn.BatchNorm1d(3, momentum=None), "BatchNorm1d(momentum=None)"),
    (nn.BatchNorm2d(3, track_running_stats=False), "BatchNorm2d(track_running_stats=False)"),
    (nn.InstanceNorm1d(3, track_running_stats=True), "InstanceNorm1d(track_running_stats=True)"),
    (nn.RMSNorm((3, 5)), "RMSNorm(normalized_shape=(3, 5))"),
    (nn.RMSNorm(3, elementwise_affine=False), "RMSNorm(eps=None)"),
    (nn.LayerNorm((3, 5)), "LayerNorm(normalized_shape=(3, 5))"),
    (nn.Embedding(5, 3, padding_idx=2), "Embedding(padding_idx=2)"),
    (nn.Embedding(5, 3, max_norm=1.0), "Embedding(max_norm=1.0)"),
    (nn.Embedding(5, 3, scale_grad_by_freq=True), "Embedding(scale_grad_by_freq=True)"),
    (nn.GRU(5, 3), "GRU (returns a tuple, layers.GRU does not)"),
    (nn.LSTM(5, 3), "LSTM (returns a tuple, layers.LSTM does not)"),
    (nn.Flatten(2), "Flatten(start_dim=2)"),
    (nn.Dropout(1.0), "Dropout(p=1.0)"),
    (nn.Dropout2d(), "Dropout2d"),
    (nn.RReLU(), "RReLU"),
    (nn.Softmax(), "Softmax(dim=None)"),
    (nn.LogSoftmax(2), "LogSoftmax(dim=2)"),
    (nn.Softplus(beta=2), "Softplus(beta=2"),
    (nn.Softplus(threshold=30), "Softplus(threshold=30"),
    (prune.identity(nn.Linear(2, 3), "weight"), "Linear(weight_orig=Parameter)"),
    (nn.utils.parametrizations.weight_norm(nn.Linear(2, 3)), "ParametrizedLinear"),
    (hooked(nn.ReLU()), "ReLU with a forward hook"),
    (hooked(nn.Identity(), before=True), "Identity with a forward hook"),
    (hooked(nn.Sequential(nn.ReLU())), "Sequential with a forward hook"),
    (Padded(hooked(nn.MaxPool1d(2)), [(1, 0)]), "MaxPool1d with a forward hook"),
]


def patched(module: nn.Module) -> nn.Module:
    module.forward = lambda x: 3 * x
    return module


def wrapped_with_a_hook() -> nn.Module:
    module = nn.DataParallel(nn.Linear(3, 2))
    return hooked(module)


REFUSED += [
    (patched(nn.Linear(2, 3)), "Linear with a forward of its own"),
    (patched(nn.Identity()), "Identity with a forward of its own"),
    (patched(nn.Sequential(nn.ReLU())), "Sequential with a forward of its own"),
    (Padded(patched(nn.MaxPool1d(2)), [(1, 0)]), "MaxPool1d with a forward of its own at layer"),
    (patched(SparseProjection(2, 3)), "SparseProjection with a forward of its own"),
    (wrapped_with_a_hook(), "DataParallel"),
]


@pytest.mark.parametrize(("module", "name"), REFUSED, ids=[name for _, name in REFUSED])
def test_unsupported_layers_are_named_with_their_place(tmp_path, module, name):
    model = nn.Sequential(nn.ReLU(), nn.Identity(), nn.Sequential(OrderedDict(odd=module)))
    with pytest.raises(ValueError, match="model: expected layers that model files have") as error:
        interchange.save_model(model, tmp_path / "model")
    assert f" have, got {name}" in str(error.value)
    assert " at place 2 (2.odd); they have Sequential, " in str(error.value)
    assert not list(tmp_path.iterdir())


class OtherGRU(nn.GRU):
    pass


def encoder() -> SequenceEncoder:
    return SequenceEncoder(7, 5, 3, out_features=2)


def with_part(name: str, part: nn.Module) -> SequenceEncoder:
    model = encoder()
    setattr(model, name, part)
    return model


def with_option(name: str, option: str, value: object) -> SequenceEncoder:
    model = encoder()
    setattr(model.get_submodule(name), option, value)
    return model


def parametrized(model: SequenceEncoder) -> SequenceEncoder:
    nn.utils.parametrizations.weight_norm(model.projection)
    return model


def with_old_norm(model: SequenceEncoder) -> SequenceEncoder:
    spectral_norm(model.projection)
    return model


CHANGED = [
    (lambda: with_part("projection", nn.Linear(3, 2)), None),
    (lambda: patched(encoder()), "SequenceEncoder with a forward of its own"),
    (lambda: with_part("projection", patched(nn.Linear(3, 2))), "a forward of its own at proj"),
    (lambda: with_part("projection", hooked(nn.Linear(3, 2))), "forward hook at projection"),
    (lambda: with_part("projection", nn.Identity()), "Identity at projection in the place of"),
    (lambda: with_part("gru", OtherGRU(5, 3, batch_first=True)), "OtherGRU at gru in the place"),
    (lambda: with_part("dropout", nn.Dropout(0.7)), r"Dropout\(p=0.7\) at dropout"),
    (lambda: with_option("dropout", "p", 0.6), r"Dropout\(p=0.6\) at dropout"),
    (lambda: with_option("", "reverse", True), r"SequenceEncoder\(reverse=True\)"),
    (lambda: parametrized(encoder()), "with a parametrization of weight at projection"),
    (lambda: with_old_norm(encoder()), "Linear with a forward hook at projection"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("in_chain", [False, True])
@pytest.mark.parametrize(("make", "message"), CHANGED)
def test_a_component_that_is_not_as_its_config_says_is_refused(tmp_path, make, message, in_chain):
    model = nn.Sequential(make(), nn.ReLU()) if in_chain else make()
    if message is None:
        interchange.save_model(model, tmp_path / "model")
        return
    with pytest.raises(ValueError, match=f"model: expected .*{message}"):
        interchange.save_model(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def distributed(model: nn.Module) -> nn.Module:
    return nn.parallel.DistributedDataParallel(model)


WRAPPERS = [torch.compile, nn.DataParallel, AveragedModel, distributed]


@pytest.fixture
def process_group(tmp_path_factory):
    file = tmp_path_factory.mktemp("group") / "file"
    torch.distributed.init_process_group("gloo", f"file://{file}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("make", [encoder, lambda: nn.Sequential(nn.Linear(3, 2), nn.ReLU())])
def test_a_wrapped_model_is_saved_as_the_model_inside(tmp_path, wrap, make):
    model = make()
    interchange.save_model(model, tmp_path / "model")
    for place, one in enumerate([wrap(model), nn.DataParallel(wrap(model))]):
        interchange.save_model(one, tmp_path / f"{place}")
        assert (tmp_path / f"{place}").read_bytes() == (tmp_path / "model").read_bytes()
    arrays = {name: array + 1 for name, array in interchange.to_arrays(model).items()}
    arrays = {name: array * (name != "table") for name, array in arrays.items()}
    wrapped = wrap(model)
    interchange.load_arrays(wrapped, arrays)
    for name, array in interchange.to_arrays(wrapped).items():
        np.testing.assert_array_equal(array, arrays[name])


def test_wrapped_parts_of_a_model_are_saved_as_what_is_inside(tmp_path):
    chain, model = nn.Sequential(nn.Linear(3, 2), nn.ReLU()), encoder()
    interchange.save_model(chain, tmp_path / "chain")
    interchange.save_model(model, tmp_path / "model")
    chain[0], model.gru = torch.compile(chain[0]), torch.compile(model.gru)
    interchange.save_model(chain, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "chain").read_bytes()
    interchange.save_model(model, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()


@pytest.mark.parametrize(
    ("unpool", "message"),
    [
        (nn.MaxUnpool1d(3, stride=2), "other options than the pool"),
        (Padded(nn.MaxUnpool1d(3), [(1, 1)]), "other options than the pool"),
        (nn.MaxUnpool1d(3, padding=1), None),
    ],
)
def test_unpool_is_that_of_its_pool(tmp_path, unpool, message):
    model = UnpoolSequential(nn.MaxPool1d(3, padding=1, return_indices=True), unpool)
    if message is None:
        interchange.save_model(model, tmp_path / "model")
        return
    with pytest.raises(ValueError, match=rf"{message}.* at place 2 \(1\)"):
        interchange.save_model(model, tmp_path / "model")


def overlapping() -> nn.Module:
    return UnpoolSequential(
        nn.MaxPool1d(3, stride=2, return_indices=True), nn.MaxUnpool1d(3, stride=2)
    )


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 3))
    model[2].weight = nn.Parameter(model[0].weight.detach().t())
    return model


def spoiled_padding() -> nn.Module:
    model = nn.Sequential(nn.Embedding(5, 3, padding_idx=0))
    nn.init.ones_(model[0].weight)
    return model


@pytest.mark.parametrize(
    ("model", "kind", "message"),
    [
        (nn.Linear(3, 2), ValueError, "expected a component or an nn.Sequential, got Linear"),
        (overlapping(), ValueError, "a stride below its kernel_size at place 2"),
        (tied(), ValueError, r"expected weights of its own .* 3.weight that is 1.weight too"),
        (nn.Sequential(nn.Identity()), ValueError, "expected at least one layer, got none"),
        (
            hooked(nn.Sequential(nn.ReLU())),
            ValueError,
            "expected what its layers say, got Sequential with a",
        ),
        (hooked(SparseProjection(3, 2)), ValueError, "got SparseProjection with a forward"),
        (nn.Sequential(nn.Linear(3, 2, device="meta")), ValueError, "got 1.weight on the meta"),
        (spoiled_padding(), ValueError, "expected 0 in the first 1 rows of 1.table, got "),
        (nn.Sequential(nn.Linear(3, 2).half()), TypeError, "got float16"),
        (nn.Sequential(nn.Linear(3, 2).bfloat16()), TypeError, "got bfloat16"),
        (nn.Sequential(nn.Linear(3, 2).double(), nn.Linear(2, 3)), TypeError, "float32, float64"),
    ],
)
def test_models_that_cannot_travel_leave_no_file(tmp_path, model, kind, message):
    with pytest.raises(kind, match=message):
        interchange.save_model(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def entry(layer: str, previous: list[int], **config) -> dict:
    return {"layer": layer, "previous": previous, "config": config}


POOL = {"size": [2], "stride": [2], "padding": [[0, 0]]}


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([entry("ReLU", [0]), entry("Tanh", [0])], r"Tanh at place 2 takes \[1\], got \[0\]"),
        ([entry("Sum", [0])], r"layer 1 \(Sum\): layer: expected one of "),
        ([entry("Add", [0])], "expected a chain, got Add at place 1, of several"),
        ([entry("MaxPool", [0], **POOL), entry("MaxUnpool", [1, 1], **POOL)], "expected a chain"),
        ([entry("ReLU", [0]), entry("MaxUnpool", [1, 0], **POOL)], "expected a chain"),
        (
            [entry("ReLU", [0], slope=0.1)],
            r"layer 1 \(ReLU\): arrays: expected .* config: expected ",
        ),
    ],
)
def test_what_is_no_chain_is_refused(layers, message):
    config = {"layers": [entry("Input", []), *layers]}
    with pytest.raises(ValueError, match=message):
        interchange.from_arrays("chain", config, {})


def test_reading_a_long_chain_takes_each_array_once():
    """Not once for each layer: a hostile file would keep a reader busy."""

    class Counted(dict):
        asked = 0

        def items(self):
            for one in super().items():
                Counted.asked += 1
                yield one

        def __iter__(self):
            for one in super().__iter__():
                Counted.asked += 1
                yield one

    layers = [entry("Input", []), *(entry("Projection", [place]) for place in range(20))]
    shapes = Counted({f"{place}.weight": (2, 2) for place in range(1, 21)})
    chain.build(layers, shapes, "float32")
    assert Counted.asked == 20


def test_configuration_without_layers_is_refused():
    with pytest.raises(ValueError, match="config: expected layers, got nothing"):
        interchange.from_arrays("chain", {}, {})
    with pytest.raises(ValueError, match="layers: expected an input and a layer, got"):
        interchange.from_arrays("chain", {"layers": [entry("Input", [])]}, {})


def test_a_number_without_limits_is_a_finite_one():
    with pytest.raises(ValueError, match=r"^slope: expected a finite number, got nan$"):
        check_number("slope", float("nan"))
    with pytest.raises(ValueError, match=r"^rate: expected a finite number of at least 0, got -1$"):
        check_number("rate", -1, least=0)


def test_loading_into_a_chain_is_all_or_nothing(tmp_path):
    model = nn.Sequential(nn.LayerNorm(3, bias=False), nn.Linear(3, 2)).double()
    before = interchange.to_arrays(model)
    for spoiled in ("1.shift", "2.bias"):
        after = {name: array + 1 for name, array in before.items()} | {"1.shift": np.zeros(3)}
        after[spoiled] = after[spoiled][:-1] if spoiled == "2.bias" else np.ones(3)
        with pytest.raises(ValueError, match=r"arrays: expected .*, got "):
            interchange.load_arrays(model, after)
        for name, array in interchange.to_arrays(model).items():
            np.testing.assert_array_equal(array, before[name])


def test_files_that_pytorch_cannot_hold_are_model_file_errors(tmp_path):
    layers = [entry("Input", []), entry("ReLU", [0]), entry("Tanh", [0])]
    path = tmp_path / "model"
    write_unchecked(path, "chain", {"layers": layers}, {})
    message = rf"{path}: layer 2 \(Tanh\): previous: expected \[1\], as in a chain, got \[0\]"
    with pytest.raises(model_file.ModelFileError, match=message):
        interchange.load_model(path)


@pytest.mark.parametrize(
    ("layer", "padding", "kind", "message"),
    [
        (nn.Linear(2, 3), [(1, 2)], TypeError, "layer: expected one of .*, got Linear"),
        (
            nn.MaxPool1d(3, padding=1),
            [(1, 2)],
            ValueError,
            "layer: expected no padding .*, got Max",
        ),
        (
            nn.ConvTranspose1d(2, 3, 3, stride=2, output_padding=1),
            [(1, 2)],
            ValueError,
            "layer: expected no padding .*, got ConvTranspose1d",
        ),
        (nn.MaxPool2d(3), [(1, 2)], ValueError, "padding: expected 2 pairs of sizes, got "),
        (nn.Conv1d(2, 3, 3), [(1, -2)], ValueError, "padding: expected 1 pairs of sizes, got "),
    ],
)
def test_padding_that_makes_no_sense_is_refused(layer, padding, kind, message):
    with pytest.raises(kind, match=message):
        Padded(layer, padding)


def test_unpool_without_a_pool_is_refused():
    with pytest.raises(ValueError, match="model: expected a pool to undo, got "):
        UnpoolSequential(nn.MaxUnpool1d(2))(torch.ones(1, 2, 3))
