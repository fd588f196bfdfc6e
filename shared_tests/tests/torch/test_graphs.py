"""Modules with a forward of their own go into model files, and come back as PyTorch's graphs."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import numpy_infer
from fourfold.agreement import assert_close
from numpy_infer import model_file
from pytorch_impl import interchange
from shared_tests.components.chain import layers
from shared_tests.fixtures import normal
from shared_tests.model_files.graphs import GRAPHS, SIAMESE
from shared_tests.zoo.resnet18 import Block


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 5, 3, padding=1)
        self.layer1 = nn.Sequential(Block(5, 5), Block(5, 7, 2))
        self.fc = nn.Linear(7, 4)

    def forward(self, x):
        x = self.layer1(F.relu(self.stem(x)))
        x = F.dropout(x.mean((2, 3)), 0.3, self.training)
        return self.fc(torch.flatten(x, 1) * 0.1 + 1)


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(7, 5), nn.Tanh())
        self.head = nn.Linear(10, 3)

    def forward(self, left, right, scale=2):
        a, b = self.tower(left), self.tower(right)
        return self.head(torch.cat([torch.abs(a) if scale == 3 else scale * a, a - b], dim=-1))


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3, padding=1)
        self.squeeze = nn.Conv2d(6, 2, 1)
        self.excite = nn.Conv2d(2, 6, 1)
        self.head = nn.Linear(6, 3)

    def forward(self, image):
        x = F.relu(self.conv(image))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))
        x = x * gate
        return {"features": x, "classes": self.head(x.mean([2, 3])).softmax(-1)}


MODELS = {
    "residual": (Residual, {"x": (2, 3, 9, 8)}, {}),
    "siamese": (
        Siamese,
        {"left": (3, 7), "right": (3, 7)},
        {"left": (None, 7), "right": (None, 7)},
    ),
    "gated": (Gated, {"image": (2, 4, 6, 5)}, {}),
}


def made(name):
    """A model in float64 with statistics of its own, and inputs for it."""
    kind, shapes, given = MODELS[name]
    torch.manual_seed(5)
    model = kind().double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    inputs = {
        key: torch.from_numpy(normal(*shape, seed=place))
        for place, (key, shape) in enumerate(shapes.items())
    }
    return model, inputs, given or None


def outputs(model, inputs):
    found = model(**inputs)
    return found if isinstance(found, dict) else {"output": found}


def gradients(model, inputs):
    """Of a sum of the outputs with weights of its own, for each parameter, in training mode."""
    model.zero_grad()
    parts = [
        (value * torch.from_numpy(normal(*value.shape, seed=seed))).sum()
        for seed, value in enumerate(outputs(model, inputs).values())
    ]
    sum(parts).backward()
    return {name: one.grad for name, one in model.named_parameters()}


@pytest.mark.parametrize("name", MODELS)
def test_a_module_with_a_forward_travels(name, tmp_path):
    model, inputs, given = made(name)
    path = tmp_path / "model"
    interchange.save_model(model, path, inputs=given)
    assert model.training
    net, loaded = numpy_infer.load_model(path), interchange.load_model(path)
    wanted = outputs(model.eval(), inputs)
    found = net({key: value.numpy() for key, value in inputs.items()})
    found = found if isinstance(found, dict) else {"output": found}
    again = outputs(loaded.eval(), inputs)
    for key, value in wanted.items():
        assert_close(found[key], value.detach().numpy(), 1e-12, key)
        assert_close(again[key].detach().numpy(), value.detach().numpy(), 1e-12, key)


@pytest.mark.parametrize("name", MODELS)
def test_a_loaded_graph_has_the_names_and_the_gradients_of_the_model(name, tmp_path):
    model, inputs, given = made(name)
    interchange.save_model(model, tmp_path / "model", inputs=given)
    loaded = interchange.load_model(tmp_path / "model")
    assert loaded.state_dict().keys() == model.state_dict().keys()
    model.load_state_dict(loaded.state_dict())
    torch.manual_seed(6)  # of what is dropped
    wanted = gradients(model, inputs)
    torch.manual_seed(6)
    for key, value in gradients(loaded, inputs).items():
        assert_close(value.numpy(), wanted[key].numpy(), 1e-11, key)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_loaded_is_saved_as_it_was(name, tmp_path):
    model, inputs, given = made(name)
    path, again = tmp_path / "model", tmp_path / "again"
    interchange.save_model(model, path, inputs=given)
    loaded = interchange.load_model(path)
    loaded(**inputs)
    for one in (loaded, copy.deepcopy(loaded)):
        interchange.save_model(one, again)
        if name != "residual":  # whose statistics the call has moved
            assert again.read_bytes() == path.read_bytes()
    pickled = pickle.loads(pickle.dumps(loaded))
    for key, value in outputs(pickled.eval(), inputs).items():
        assert torch.equal(value, outputs(loaded.eval(), inputs)[key])


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_of_a_file_computes_its_formula_and_is_saved_as_it_was(name, tmp_path):
    example = GRAPHS[name]
    path, again = tmp_path / "model", tmp_path / "again"
    model_file.write_model(path, "graph", example.config, example.arrays)
    model = interchange.load_model(path)
    interchange.save_model(model, again)
    assert again.read_bytes() == path.read_bytes()
    inputs = {key: torch.from_numpy(value) for key, value in example.inputs.items()}
    found = outputs(model.eval(), inputs)
    assert list(found) == list(example.outputs())
    for key, wanted in example.outputs().items():
        assert_close(found[key].detach().numpy(), wanted, 1e-12, key)


def test_a_graph_compiles_and_prints_its_calls(tmp_path):
    model, inputs, given = made("siamese")
    interchange.save_model(model, tmp_path / "model", inputs=given)
    loaded = interchange.load_model(tmp_path / "model").eval()
    compiled = torch.compile(loaded, backend="eager", fullgraph=True)
    assert torch.equal(compiled(**inputs), loaded(**inputs))
    assert "def forward(self, left, right):" in loaded.code
    assert "(tower): Module(" in str(loaded)


def saved(forward, path, inputs=None, **modules):
    """A module of these parts and this forward, in a file; the module."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            for name, module in modules.items():
                setattr(self, name, module)

    Model.forward = forward
    model = Model().double().eval()
    interchange.save_model(model, path, inputs=inputs)
    return model


IMAGES, ROWS = (2, 3, 4, 6), (5, 4)
FORWARDS = {
    "sums of numbers": (ROWS, lambda self, x: (2 - x / 4 + 1) * 3 - 0.5 + (-x)),
    "torch's arithmetic": (ROWS, lambda self, x: torch.sub(torch.add(x, x.tanh(), alpha=2), x)),
    "extremes": (ROWS, lambda self, x: torch.maximum(x, torch.min(x * 2, -x))),
    "relu of all kinds": (ROWS, lambda self, x: F.relu(x) + torch.relu(x - 1) + x.relu()),
    "activations": (
        ROWS,
        lambda self, x: F.leaky_relu(x, 0.2) * F.gelu(x, approximate="tanh") - F.elu(x, alpha=2.0),
    ),
    "softmax": (ROWS, lambda self, x: F.softmax(x, dim=1) + F.log_softmax(x, -1)),
    "unit norm": (ROWS, lambda self, x: F.normalize(x, dim=-1) + x),
    "pools": (
        IMAGES,
        lambda self, x: F.max_pool2d(x, 2) + F.avg_pool2d(x, 2, stride=2),
    ),
    "paddings": (
        IMAGES,
        lambda self, x: (
            F.pad(x, (1, 2), value=0.5) + F.pad(F.pad(x, (2, 1, 0, 0), "reflect"), (0,) * 4)
        ),
    ),
    "padded channels": (IMAGES, lambda self, x: F.pad(x, (1, 0, -1, 2, 2, 3)) * 2),
    "interpolations": (
        IMAGES,
        lambda self, x: (
            F.interpolate(F.interpolate(x, scale_factor=2), x.shape[2:], mode="bilinear")
            + F.interpolate(F.interpolate(x, (7, 9)), size=x.shape[-2:])
            + F.interpolate(F.interpolate(x, scale_factor=1.5), (4, 6), mode="bilinear")
        ),
    ),
    "view by the batch": (IMAGES, lambda self, x: (x * 2).view(x.size(0), -1) + x.flatten(1)),
    "view by the sizes": (
        IMAGES,
        lambda self, x: x.tanh().view(-1, 72) + x.reshape(x.shape[0], 72),
    ),
    "global pools": (IMAGES, lambda self, x: x.mean((-2, -1)) + torch.amax(x, dim=(2, 3))),
    "turns": (
        IMAGES,
        lambda self, x: x.permute(0, 2, 3, 1).softmax(-1).permute(0, 3, 1, 2) + x,
    ),
    "joins": (IMAGES, lambda self, x: torch.cat((x, -x), dim=1) + torch.cat([x, x], -3)),
    "in place": (ROWS, lambda self, x: _in_place(x)),
    "two names": (ROWS, lambda self, x: _two_names(x)),
    "a copy": (ROWS, lambda self, x: _copied(x)),
}


def _in_place(x):
    y = x * 2
    z = F.relu(y, inplace=True)
    y += 1
    return z + y  # both are relu(2x) + 1


def _two_names(x):
    y = x * 2
    z = y
    z.mul_(3)
    return y + z


def _copied(x):
    y = x * 2
    z = y.clone()
    z.add_(1)
    return y * z


@pytest.mark.parametrize("name", FORWARDS)
def test_functions_and_methods_are_the_layers_that_they_equal(name, tmp_path):
    shape, forward = FORWARDS[name]
    x = normal(*shape, seed=9)
    model = saved(forward, tmp_path / "model", {"x": (None, *shape[1:])})
    net = numpy_infer.load_model(tmp_path / "model")
    assert_close(net(x), model(torch.from_numpy(x)).numpy(), 1e-12, name)


def test_a_forward_that_is_a_chain_is_saved_as_one(tmp_path):
    parts = {"conv": nn.Conv1d(3, 5, 3), "fc": nn.Linear(20, 2)}

    def forward(self, x):
        x = F.max_pool1d(F.relu(self.conv(x)), 2)
        return self.fc(F.dropout(x.view(x.size(0), -1), 0.4, training=self.training))

    saved(forward, tmp_path / "forward", **parts)
    pool, fc = nn.MaxPool1d(2), parts["fc"]
    chain = nn.Sequential(parts["conv"], nn.ReLU(), pool, nn.Flatten(), nn.Dropout(0.4), fc)
    interchange.save_model(chain, tmp_path / "chain")
    assert (tmp_path / "forward").read_bytes() == (tmp_path / "chain").read_bytes()
    assert isinstance(interchange.load_model(tmp_path / "forward"), nn.Sequential)


def test_the_same_weights_are_saved_once(tmp_path):
    model, _, given = made("siamese")
    interchange.save_model(model, tmp_path / "model", inputs=given)
    _, config, arrays = model_file.read_model(tmp_path / "model")
    assert [one.get("shares") for one in config["layers"]][:6] == [None, None, None, None, 2, None]
    assert sorted(name.partition(".")[0] for name in arrays) == ["2", "2", "9", "9"]
    loaded = interchange.load_model(tmp_path / "model")
    assert len(list(loaded.parameters())) == 4


def test_arrays_of_a_model_are_read_and_set(tmp_path):
    model, inputs, _ = made("gated")
    arrays = interchange.to_arrays(model)
    assert arrays["1.weight"].shape == (6, 4, 3, 3)
    interchange.load_arrays(model, {name: 0 * array for name, array in arrays.items()})
    assert not model(**inputs)["features"].any()
    built = interchange.from_arrays("graph", SIAMESE.config, SIAMESE.arrays)
    for name, array in interchange.to_arrays(built).items():
        np.testing.assert_array_equal(array, SIAMESE.arrays[name])


def test_inputs_are_shapes_or_examples(tmp_path):
    model, inputs, _ = made("siamese")
    with pytest.raises(ValueError, match=r"inputs: expected the shape of left, as inputs=\{'left'"):
        interchange.save_model(model, tmp_path / "model")
    interchange.save_model(model, tmp_path / "examples", inputs=inputs)
    interchange.save_model(model, tmp_path / "shapes", inputs=dict.fromkeys(inputs, (None, 7)))
    assert (tmp_path / "examples").read_bytes() == (tmp_path / "shapes").read_bytes()


def test_a_sequential_of_ones_own_modules_travels(tmp_path):
    class Doubled(nn.Sequential):
        def forward(self, x):
            return 2 * super().forward(x)

    model = nn.Sequential(nn.Linear(3, 2), Doubled(nn.ReLU(), nn.Linear(2, 2))).double()
    interchange.save_model(model, tmp_path / "model")
    _, config, arrays = model_file.read_model(tmp_path / "model")
    wanted = layers(
        *((name, {}) for name in ("Projection", "ReLU", "Projection")),
        ("ScaleShift", {"scale": 2.0, "shift": 0.0}),
    )
    assert config == wanted
    assert arrays["3.weight"].shape == (2, 2)


class Obstructed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, groups=1)
        self.grouped = nn.Conv3d(4, 4, 3)
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.act = nn.Hardshrink()

    def forward(self, x):
        x = self.conv(x)
        y = torch.cumsum(x, 1)
        z = F.dropout(x, 0.5)
        w = x.view(2, 3, -1)
        return self.act(x) * self.scale + self.grouped(x) / x + y + z + w


def test_all_that_stands_in_the_way_is_named_at_once(tmp_path):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (all of its lines, below)
        interchange.save_model(Obstructed(), tmp_path / "model")
    first, *lines = str(caught.value).splitlines()
    assert first == "model: expected layers that model files have, got in Obstructed:"
    assert [line.strip() for line in lines] == [
        "cumsum()",
        "dropout(training=True), which drops when inferring too,",
        "view or reshape to (2, 3, -1), where files keep the batch",
        "Hardshrink at act",
        "Parameter scale, which no layer of files reads",
        "Conv3d at grouped",
    ]
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda self, x: x if x.sum() > 0 else -x, "expected a forward whose calls do not depend"),
        (lambda self, x: x, "output output that is an input"),
        (lambda self, x, y: x.tanh(), "argument y, which nothing reads"),
        (lambda self, x: (x.tanh(), 3), "output output_1 that is int"),
        (lambda self, x: {"a b": x.tanh(), "c": x * 2}, "output 'a b', which is no plain name"),
        (lambda self, x: x.tanh()[:, 0], "indexing"),
        (lambda self, x: _viewed(x), "an operation in place on a tensor with views"),
        (lambda self, x: F.interpolate(x, scale_factor=0.7), "whose places PyTorch rounds"),
        (lambda self, x: F.pad(x, (1, 1), "circular"), r"pad\(mode='circular'\)"),
        (lambda self, x: F.pad(x, (0,) * 6 + (1, 1)), r"pad of 4 axes by .* not of space"),
        (lambda self, x: x.mean(1), r"mean\(dim=1\) of 4 axes, which is not over space"),
    ],
)
def test_a_forward_that_no_file_can_say_is_refused(forward, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        saved(forward, tmp_path / "model", {"x": (None, 3, 4, 6)})
    assert not (tmp_path / "model").exists()


def _viewed(x):
    y = x * 2
    z = y.flatten(1)
    y.mul_(3)
    return z


def test_modes_are_as_they_were_after_saving_and_after_a_refusal(tmp_path):
    model, _, given = made("residual")
    model.stem.eval()
    interchange.save_model(model, tmp_path / "model", inputs=given)
    bad = nn.Sequential(model, Obstructed())
    with pytest.raises(ValueError, match="Hardshrink"):
        interchange.save_model(bad, tmp_path / "model")
    modes = {path: module.training for path, module in model.named_modules()}
    assert {path for path, mode in modes.items() if mode is not True} == {"stem"}
    assert modes["stem"] is False


class Pooled(nn.Module):
    def __init__(self, pool):
        super().__init__()
        self.pool = pool

    def forward(self, x):
        return self.pool(F.relu(x))


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.MaxPool2d((2, 5), (3, 4), padding=(1, 2), ceil_mode=True),
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.AvgPool2d(3, (2, 3), padding=1, count_include_pad=False, ceil_mode=True),
        nn.MaxPool2d(2, 3, ceil_mode=True),  # of 4 places the last window would begin at their end
    ],
)
def test_pools_with_ceil_mode_are_padded(pool, tmp_path):
    for height, width in [(4, 5), (6, 7), (8, 9), (10, 11)]:
        x = torch.from_numpy(normal(2, 3, height, width, seed=height))
        interchange.save_model(Pooled(pool), tmp_path / "model", inputs={"x": x})
        wanted = Pooled(pool)(x).numpy()
        found = interchange.load_model(tmp_path / "model")(x)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
        net = numpy_infer.load_model(tmp_path / "model")
        np.testing.assert_allclose(net(x.numpy()), wanted, rtol=1e-12)


@pytest.mark.parametrize(
    ("pool", "inputs", "message"),
    [
        (nn.MaxPool2d(3, 2, ceil_mode=True), None, "of a size that no input tells"),
        (nn.AvgPool2d(3, 2, 1, ceil_mode=True), (None, 3, 8, 8), "with padding that counts"),
    ],
)
def test_ceil_mode_that_no_padding_says_is_refused(pool, inputs, message, tmp_path):
    inputs = None if inputs is None else {"x": inputs}
    with pytest.raises(ValueError, match=message):
        interchange.save_model(Pooled(pool), tmp_path / "model", inputs=inputs)


class Clamped(nn.Module):
    def forward(self, x):
        return x.clamp(-0.5, 1.5) + torch.clamp(x, min=0) + F.hardswish(x)


class Below(nn.Module):
    def forward(self, x):
        return torch.clamp(x, max=1)


def test_clamps_travel(tmp_path):
    x = torch.from_numpy(3 * normal(3, 7, seed=1))
    interchange.save_model(Clamped(), tmp_path / "model", inputs={"x": x})
    net = numpy_infer.load_model(tmp_path / "model")
    np.testing.assert_allclose(net(x.numpy()), Clamped()(x), rtol=1e-12)
    with pytest.raises(ValueError, match=r"clamp\(min=None, max=1\)"):
        interchange.save_model(Below(), tmp_path / "model", inputs={"x": x})


class Shuffled(nn.Module):
    """Views, parts and permutations of channels, as ShuffleNet and dual path networks have them."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 1)
        self.head = nn.Linear(12, 2)

    def forward(self, x):
        x = self.conv(x)
        batch, channels, height, width = x.size()
        x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2).contiguous()
        x = x.view(batch, channels, height, width)
        first, second = torch.chunk(x, 2, dim=1)
        left, _, right = torch.split(second, [1, 1, 1], dim=1)
        gate = first.mean((2, 3)).unsqueeze(2).unsqueeze(3).expand_as(first)
        x = torch.cat([first * gate, x[:, 1:-2], left, right], 1)  # 3 + 3 + 1 + 1 channels
        pairs = torch.stack([x.mean((2, 3)), x.amax((2, 3))], dim=1)
        return self.head(pairs.flatten(1)[..., 3:15])


def test_views_and_parts_of_channels_travel(tmp_path):
    model = Shuffled().double()
    x = torch.from_numpy(normal(2, 3, 5, 7, seed=1))
    interchange.save_model(model, tmp_path / "model", inputs={"x": (None, 3, 5, 7)})
    wanted = model(x).detach().numpy()
    loaded = interchange.load_model(tmp_path / "model")
    np.testing.assert_allclose(loaded(x).detach(), wanted, rtol=1e-12)
    net = numpy_infer.load_model(tmp_path / "model")
    np.testing.assert_allclose(net(x.numpy()), wanted, rtol=1e-12)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda x: x.view(3, -1), "where files keep the batch"),
        (lambda x: x.permute(1, 0, 2), "which moves the batch"),
        (lambda x: x[0], "indexing other than a slice of one axis"),
        (lambda x: x[:, ::2], "indexing other than a slice of one axis"),
        (lambda x: x.chunk(2)[0], "parts of an axis whose size no input tells"),
        (lambda x: x.mean(2, keepdim=True).expand_as(x), "output output that is expanded"),
        (lambda x: F.relu(x[:, :1].expand_as(x)), "expand_as before ReLU"),
    ],
)
def test_other_views_are_refused(forward, message, tmp_path):
    class Viewed(nn.Module):
        def forward(self, x):
            return forward(x)

    with pytest.raises(ValueError, match=message):
        interchange.save_model(Viewed(), tmp_path / "model", inputs={"x": (None, 4, 6)})
