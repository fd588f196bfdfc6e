"""A whole network as PyTorch code: to a file, to NumPy, and back to PyTorch."""

import numpy as np
import torch

import numpy_infer
from pytorch_impl import interchange
from shared_tests.fixtures import normal
from shared_tests.zoo.from_pytorch import settle
from shared_tests.zoo.resnet18 import ResNet18


def test_resnet18_travels(tmp_path):
    torch.manual_seed(0)
    model, x = ResNet18(5, width=16).double(), torch.from_numpy(normal(3, 3, 64, 64, seed=1))
    settle(model, x)
    interchange.save_model(model.eval(), tmp_path / "model")
    wanted = model(x).detach().numpy()
    assert np.abs(wanted).max() > 0.01
    net = numpy_infer.load_model(tmp_path / "model")
    np.testing.assert_allclose(net(x.numpy()), wanted, rtol=0, atol=1e-12)
    loaded = interchange.load_model(tmp_path / "model").eval()
    np.testing.assert_array_equal(loaded(x).detach(), wanted)
    assert {name for name, _ in loaded.named_parameters()} == {
        name for name, _ in model.named_parameters()
    }
