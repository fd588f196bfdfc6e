"""Weights alone between frameworks that stand in one environment, through files of each."""

import keras
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from keras import layers
from torch import nn

from numpy_infer.weights import load_weights, save_weights
from pytorch_impl.interchange import load_weights as into_torch
from tf2_impl.interchange import load_weights as into_keras


class Residual(nn.Module):
    """A block as ResNet's: two convolutions, a shortcut with one of its own, and a classifier."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(6, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.downsample = nn.Sequential(nn.Conv2d(6, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)) + self.downsample(x))
        return self.fc(y.mean((2, 3)))


def residual() -> nn.Module:
    """With running statistics and scales that are all different."""
    torch.manual_seed(0)
    model = Residual().eval()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5)
    return model


def twin(named: bool) -> keras.Model:
    """The same block in Keras, with the layers' names of the original or with Keras's own."""

    def name(text: str) -> dict[str, str]:
        return {"name": text} if named else {}

    def normalization(text: str) -> layers.Layer:
        return layers.BatchNormalization(epsilon=1e-5, **name(text))

    x = keras.Input((7, 7, 6))
    y = layers.Conv2D(8, 3, padding="same", use_bias=False, **name("conv1"))(x)
    y = layers.ReLU()(normalization("bn1")(y))
    y = layers.Conv2D(8, 3, padding="same", use_bias=False, **name("conv2"))(y)
    y = normalization("bn2")(y)
    short = layers.Conv2D(8, 1, use_bias=False, **name("downsample_0"))(x)
    y = layers.ReLU()(y + normalization("downsample_1")(short))
    y = layers.Dense(8, **name("fc"))(layers.GlobalAveragePooling2D()(y))
    return keras.Model(x, y)


X = np.random.default_rng(0).normal(size=(2, 6, 7, 7)).astype(np.float32)
LAST = X.transpose(0, 2, 3, 1)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("ending", [".pt", ".safetensors", ".npz"])
def test_a_residual_block_from_torch_in_keras(tmp_path, named, ending):
    model, path = residual(), tmp_path / f"block{ending}"
    if ending == ".pt":
        torch.save(model.state_dict(), path)
    elif ending == ".safetensors":
        safetensors.torch.save_file(model.state_dict(), path)
    else:
        np.savez(path, **{name: one.numpy() for name, one in model.state_dict().items()})
    expected = model(torch.tensor(X)).detach().numpy()
    port = twin(named)
    found = into_keras(port, path, example=(LAST, expected))
    assert "depthwise" not in str(found.lines())
    assert np.abs(port(LAST).numpy() - expected).max() < 1e-5


def test_a_residual_block_from_keras_in_torch(tmp_path):
    model, port = residual(), twin(named=True)
    for one in port.variables:
        one.assign(np.random.default_rng(1).uniform(0.1, 0.3, one.shape))
    port.save_weights(tmp_path / "block.weights.h5")
    expected = port(LAST).numpy()
    into_torch(model, tmp_path / "block.weights.h5", example=(X, expected))
    assert np.abs(model(torch.tensor(X)).detach().numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_recurrent_layers(tmp_path, kind):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = getattr(nn, kind)(3, 4, batch_first=True)

        def forward(self, x):
            return self.rnn(x)[0]

    torch.manual_seed(0)
    model = Net()
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    expected = model(torch.tensor(x)).detach().numpy()
    port = keras.Sequential(
        [keras.Input((None, 3)), getattr(layers, kind)(4, return_sequences=True)]
    )
    into_keras(port, tmp_path / "w.pt", example=(x, expected))
    assert np.abs(port(x).numpy() - expected).max() < 1e-5
    if kind == "GRU":  # an LSTM of Keras has one bias: of two, both take half
        other = Net()
        port.save_weights(tmp_path / "w.weights.h5")
        into_torch(other, tmp_path / "w.weights.h5", example=(x, expected))


def test_depthwise_and_separable_convolutions():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(6, 12, 3, groups=6), nn.Conv2d(12, 5, 1))
    port = keras.Sequential(
        [
            keras.Input((7, 7, 6)),
            layers.DepthwiseConv2D(3, depth_multiplier=2),
            layers.Conv2D(5, 1),
        ]
    )
    weights = {name: one.numpy() for name, one in model.state_dict().items()}
    expected = model(torch.tensor(X)).detach().numpy().transpose(0, 2, 3, 1)
    into_keras(port, weights, example=(LAST, expected))
    assert np.abs(port(LAST).numpy() - expected).max() < 1e-5


def test_safetensors_of_their_own_library(tmp_path):
    """bfloat16 and float16 of PyTorch are read, and theirs reads what is written."""
    state = {
        "brain": torch.tensor([1.5, -3e38]).bfloat16(),
        "half": torch.tensor([[0.1]]).half(),
        "flag": torch.tensor([True]),
    }
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(state, path)
    found = load_weights(path)
    wide = load_weights(path, dtype="float32")
    assert np.array_equal(wide["brain"], state["brain"].float().numpy())
    save_weights(path, found)
    again = safetensors.torch.load_file(path)
    assert all(torch.equal(again[name], one) for name, one in state.items())
    assert safetensors.numpy.load_file(path)["half"].dtype == np.float16
