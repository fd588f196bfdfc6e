"""Weights alone and PyTorch: its files without it, our files in it, and modules that take them."""

import numpy as np
import pytest
import torch
from torch import nn

from numpy_infer.format.halves import BFLOAT16, widened
from numpy_infer.model_file import ModelFileError
from numpy_infer.weights import load_weights, save_weights
from pytorch_impl.interchange import load_weights as load_into
from shared_tests.fixtures import normal


def block(width: int = 5) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width, width)]
    return nn.Sequential(*layers)


def numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().float().numpy()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_a_state_dict_is_read_without_torch(tmp_path, zipped, dtype):
    """As torch.save writes it now, and as it did before version 1.6."""
    path = tmp_path / "w.pt"
    state = block().to(dtype).state_dict()
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    found = load_weights(path)
    assert list(found) == list(state)
    for name, tensor in state.items():
        array = found[name]
        assert array.shape == tuple(tensor.shape)
        assert np.array_equal(widened(array), numbers(tensor))
        assert (array.dtype == BFLOAT16) == (tensor.dtype == torch.bfloat16)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_with_what_stands_beside_its_weights(tmp_path, zipped):
    model = block()
    shared = torch.arange(24.0).reshape(4, 6)
    state = {
        "state_dict": model.state_dict(),
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "betas": (0.9, 0.999)},
        "views": [shared[1:3].t(), shared[:, 2], nn.Parameter(shared[0])],
        "size": torch.Size([3]),
        "small": torch.tensor([1, 2], dtype=torch.uint16) if zipped else 3,
        "epoch": 3,
        "name": "résumé",
    }
    torch.save(state, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    found = load_weights(tmp_path / "w.pt")
    assert np.array_equal(found["views.0"], numbers(state["views"][0]))
    assert np.array_equal(found["views.1"], numbers(shared[:, 2]))
    assert np.array_equal(found["views.2"], numbers(shared[0]))
    inside = load_weights(tmp_path / "w.pt", prefix="state_dict.")
    assert list(inside) == list(model.state_dict())


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_module_is_refused_by_name(tmp_path, zipped):
    torch.save(block(), tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelFileError, match=r"got torch\.nn\.modules\.container\.Sequential: .*"):
        load_weights(tmp_path / "w.pt")


def test_torch_reads_what_is_written_without_it(tmp_path):
    arrays = {
        "a.weight": normal(2, 3, seed=0),
        "half": normal(4, seed=1).astype(np.float16),
        "scalar": np.array(3),
        "none": np.zeros((0, 2), np.float32),
        "turned": normal(2, 3, seed=2).T,
        "ключ": np.array([True]),
    }
    save_weights(tmp_path / "w.pt", arrays)
    found = torch.load(tmp_path / "w.pt", weights_only=True)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert np.array_equal(found[name].numpy(), array)
        assert found[name].numpy().dtype == array.dtype
    save_weights(tmp_path / "w.pt", arrays, dtype="bfloat16")
    found = torch.load(tmp_path / "w.pt", weights_only=True)
    assert found["a.weight"].dtype == torch.bfloat16
    wanted = torch.tensor(arrays["a.weight"]).to(torch.bfloat16)
    assert torch.equal(found["a.weight"], wanted)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_module_takes_the_weights_of_another_one(tmp_path, dtype):
    model, other = block().to(getattr(torch, dtype)), block().to(getattr(torch, dtype))
    for tensor in model.state_dict().values():
        tensor.copy_(tensor + 0.5)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    load_into(other, tmp_path / "w.pt")
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_an_output_tells_how_square_matrices_are_laid_out():
    model, weight = nn.Linear(5, 5), normal(5, 5, seed=0).astype(np.float32)
    arrays = {"weight": weight, "bias": np.zeros(5, np.float32)}
    x = normal(3, 5, seed=1).astype(np.float32)
    load_into(model, arrays, example=(x, x @ weight.T))
    assert np.array_equal(numbers(model.weight), weight)
    load_into(model, arrays, example=(x, x @ weight))
    assert np.array_equal(numbers(model.weight), weight.T)


def test_a_module_is_as_it_was_when_anything_does_not_fit():
    model = block().train()
    model[1].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    good = {name: numbers(one) + 1 for name, one in before.items() if "num_" not in name}
    x = np.zeros((2, 3, 3, 3), np.float32)
    for error, options, arrays in (
        (ValueError, {}, {name: one for name, one in good.items() if name != "3.bias"}),
        (ValueError, {"example": (x, np.full((2, 5), 99.0))}, good),
        (RuntimeError, {"example": (x[:, 1:], np.zeros((2, 5)))}, good),
        (TypeError, {}, {**good, "3.bias": np.zeros(5)}),
        (ValueError, {"names": {"3.bias": "3.weight"}}, good),
    ):
        with pytest.raises(error):
            load_into(model, arrays, **options)
        now = model.state_dict()
        assert all(torch.equal(now[name], tensor) for name, tensor in before.items())
    assert model.training
    assert not model[1].training
    load_into(model, good)
    assert torch.equal(model[3].bias, before["3.bias"] + 1)


class Tied(nn.Module):
    """A table that is the weight of the last layer too."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.table.weight


def test_tied_weights_stand_in_a_file_once_or_twice(tmp_path):
    model, other = Tied(), Tied()
    torch.save(model.state_dict(), tmp_path / "w.pt")
    both = load_weights(tmp_path / "w.pt")
    assert len(both) == 2
    for arrays in (both, {"head.weight": both["head.weight"] + 1}):
        load_into(other, arrays)
        assert np.array_equal(numbers(other.table.weight), arrays["head.weight"])
        assert other.head.weight is other.table.weight
    with pytest.raises(ValueError, match=r"got none for head\.weight of the weights"):
        load_into(other, {**both, "head.weight": both["head.weight"] + 1})


def test_recurrent_layers_from_keras_names():
    """Keras joins the gates as z, r, n, and keeps both biases in one array."""
    model = nn.GRU(3, 4, batch_first=True)
    arrays = {
        "gru/gru_cell/kernel": normal(3, 12, seed=0).astype(np.float32),
        "gru/gru_cell/recurrent_kernel": normal(4, 12, seed=1).astype(np.float32),
        "gru/gru_cell/bias": normal(2, 12, seed=2).astype(np.float32),
    }
    load_into(model, arrays)
    z, r, n = np.split(arrays["gru/gru_cell/kernel"], 3, axis=1)
    assert np.array_equal(numbers(model.weight_ih_l0), np.concatenate([r, z, n], axis=1).T)
    z, r, n = np.split(arrays["gru/gru_cell/bias"], 3, axis=1)
    assert np.array_equal(numbers(model.bias_hh_l0), np.concatenate([r[1], z[1], n[1]]))
