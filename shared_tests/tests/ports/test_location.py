"""Where two models differ: pairs of inner modules, the first that differs, and files of both."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import fourfold
from fourfold.definition import Case
from fourfold.ports import dumps
from fourfold.ports.location import located, paired
from fourfold.ports.protocol import Recorded, Training

CASE = Case("one", {"x": np.random.default_rng(0).normal(size=(5, 7))})


class Block(nn.Module):
    def __init__(self, epsilon=1e-5):
        super().__init__()
        self.norm = nn.LayerNorm(7, eps=epsilon)
        self.up = nn.Linear(7, 7)
        self.down = nn.Linear(7, 7)

    def forward(self, x):
        return x + self.down(torch.tanh(self.up(self.norm(x))))


class Model(nn.Module):
    def __init__(self, epsilons=(1e-5, 1e-5, 1e-5)):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList([Block(epsilon) for epsilon in epsilons])

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def compared(port, **options):
    return fourfold.compare({"torch": Model(), "torch:port": port}, CASE, **options)


def test_the_first_module_that_differs_is_the_inner_one():
    found = compared(Model((1e-5, 1e-2, 1e-5)))
    assert not found
    place = found.where(isolated=False)
    assert (place.first.a, place.first.b) == ("blocks.1.norm", "blocks.1.norm")
    later = [pair.a for pair in place.differing]
    assert "blocks.2.norm" in later  # errors add up


def test_on_the_same_inputs_errors_do_not_add_up():
    place = compared(Model((1e-5, 1e-2, 1e-3))).where()
    assert [pair.a for pair in place.differing] == ["blocks.1.norm", "blocks.2.norm"]
    assert "→ blocks.1.norm (LayerNorm)" in str(place)


def test_models_that_agree_have_no_such_module():
    place = compared(Model()).where()
    assert place.first is None
    assert place.first_backward is None
    assert place.between is None
    assert len(place.pairs) == 12


def test_what_differs_between_modules_is_put_between_them():
    class Other(Block):
        def forward(self, x):
            return x + self.down(torch.sigmoid(self.up(self.norm(x))))

    changed = Model()
    other = Other()
    other.load_state_dict(changed.blocks[1].state_dict())
    changed.blocks[1] = other
    place = compared(changed).where()
    (block,) = place.differing  # the block itself, and no module within it
    assert block.a == "blocks.1"


def test_backward_the_first_is_the_last():
    class Doubled(nn.Linear):
        def forward(self, x):
            y = super().forward(x)
            return y + (y - y.detach())  # the value of y, and twice its gradient

    model = Model()
    doubled = Doubled(7, 7)
    doubled.load_state_dict(model.blocks[1].up.state_dict())
    model.blocks[1].up = doubled
    place = compared(model).where()
    assert place.first is None
    assert place.first_backward.a == "blocks.1.norm"  # its output gets twice the gradient


def test_a_wrong_gradient_shows_after_a_step_of_training():
    class Doubled(nn.Linear):
        def forward(self, x):
            return super().forward(x) + self.bias - self.bias.detach()

    model = Model()
    doubled = Doubled(7, 7)
    doubled.load_state_dict(model.blocks[2].down.state_dict())
    model.blocks[2].down = doubled
    found = compared(model)
    assert found.where().first is None
    place = found.where(training=Training(steps=3, rate=0.1))
    assert place.step == 1
    assert place.first.a == "blocks.2.down"


def call(name, kind, *shape):
    array = np.arange(float(np.prod(shape))).reshape(shape)
    return Recorded(name, kind, (array,), (array,), (None,))


def test_pairs_follow_order_name_and_shape():
    a = [
        call("conv", "Conv2d", 2, 5, 3, 3),
        call("act", "ReLU", 2, 5, 3, 3),
        call("fc", "Linear", 2, 7),
    ]
    b = [call("conv2d", "Conv2D", 2, 3, 3, 5), call("pool", "GlobalAveragePooling2D", 2, 5)]
    b += [call("dense", "Dense", 2, 7)]
    assert paired(a, b) == [(0, 0), (2, 2)]


def test_a_map_comes_before_order_and_shape():
    a = [call("first", "Linear", 2, 7), call("second", "Linear", 2, 7)]
    b = [call("one", "Dense", 2, 7), call("two", "Dense", 2, 7)]
    assert paired(a, b) == [(0, 0), (1, 1)]
    assert paired(a, b, {"first": "two", "second": "one"}) == [(0, 1), (1, 0)]


def test_a_name_in_the_map_that_is_no_module_is_an_error():
    a, b = [call("first", "Linear", 2, 7)], [call("one", "Dense", 2, 7)]
    with pytest.raises(ValueError, match="names: expected a module of b such as one, got 'tow'"):
        paired(a, b, {"first": "tow"})


def test_channels_at_the_end_are_moved():
    array = np.random.default_rng(0).normal(size=(2, 5, 3, 4))
    a = [Recorded("conv", "Conv2d", (), (array,))]
    b = [Recorded("conv", "Conv2D", (), (np.moveaxis(array, 1, -1),))]
    (pair,) = located(a, b, ("torch", "keras"), "one").pairs
    assert pair.forward == 0
    assert pair.from_b == (-1, 1)


@pytest.fixture
def files(tmp_path):
    """An original and a port with another epsilon, each in its file."""
    for name, model in (("original", Model()), ("port", Model((1e-5, 1e-2, 1e-5)))):
        dumps.record(model, CASE, tmp_path / f"{name}.npz", "torch", dtype="float64")
    return tmp_path


def test_files_are_compared_as_the_models_are(files):
    found = dumps.compare(files / "original.npz", files / "port.npz")
    assert not found
    assert found.location.first.a == "blocks.1.norm"
    assert str(found).startswith("differ\nvalue:output: error")
    assert json.loads(found.to_json())["first"] == ["blocks.1.norm", "blocks.1.norm"]


def test_a_file_agrees_with_itself(files):
    found = dumps.compare(files / "original.npz", files / "original.npz")
    assert found
    assert found.location.first is None
    assert set(found.errors) == {"value:output", "gradient:x"}


def test_a_file_holds_what_was_recorded(files):
    dump = dumps.load(files / "original.npz")
    assert (dump.framework, dump.case, dump.dtype) == ("torch", "one", "float64")
    assert len(dump.calls) == 12
    np.testing.assert_array_equal(dump.inputs["x"], CASE.inputs["x"])
    assert dump.versions["torch"] == torch.__version__


def test_files_of_other_inputs_do_not_agree(files):
    other = replace(CASE, inputs={"x": CASE.inputs["x"] + 1e-3})
    dumps.record(Model(), other, files / "other.npz", "torch", dtype="float64")
    found = dumps.compare(files / "original.npz", files / "other.npz", tolerance=1.0)
    assert not found
    assert found.reasons == ("input x: expected the same numbers in both files, got others",)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04N."])
def test_what_is_no_such_file_is_an_error(tmp_path, content):
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad.npz: expected a file of fourfold record, got"):
        dumps.load(path)


def test_a_file_cannot_hold_code(tmp_path):
    """An array of objects, which NumPy would unpickle, is refused."""
    path = tmp_path / "code.npz"
    np.savez(path, header=np.array([print], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        dumps.load(path)
