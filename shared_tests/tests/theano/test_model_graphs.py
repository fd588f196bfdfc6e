"""Layers with branches go into model files, and come back as Theano's."""

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split
import numpy as np
import pytest
import theano
import theano.tensor as T

import numpy_infer
from fourfold.agreement import assert_close
from fourfold.backends.theano_backend import PYTHON
from numpy_infer import model_file
from shared_tests.fixtures import normal
from shared_tests.model_files.graphs import GRAPHS, SIAMESE, directional_derivative, directions
from theano_impl import interchange
from theano_impl.interchange.graph import steps
from theano_impl.layers import Add, Concatenate, Maximum, Projection, ReLU, Tanh
from theano_impl.support.layer import sharing


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_of_a_file_computes_its_formula_and_is_saved_as_it_was(name, tmp_path):
    example = GRAPHS[name]
    path, again = tmp_path / "model", tmp_path / "again"
    model_file.write_model(path, "graph", example.config, example.arrays)
    model = interchange.load_model(path)
    assert list(model.inputs) == list(example.inputs)
    call = theano.function(list(model.inputs.values()), list(model.outputs.values()), mode=PYTHON)
    found = call(*example.inputs.values())
    for one, (key, wanted) in zip(found, example.outputs().items(), strict=True):
        assert_close(one, wanted, 1e-12, key)
    interchange.save_model(model, again)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", GRAPHS)
def test_the_gradients_of_a_graph_are_its_slopes(name, tmp_path):
    example = GRAPHS[name]
    model_file.write_model(tmp_path / "model", "graph", example.config, example.arrays)
    model = interchange.load_model(tmp_path / "model")
    weights = {
        f"{place}.{name}": one
        for place, step in enumerate(steps(model)[1])
        for name, one in step.weights.items()
    }
    loss = sum(
        (one * normal(*example.outputs()[key].shape, seed=place)).sum()
        for place, (key, one) in enumerate(model.outputs.items())
    )
    trained = {path: one for path, one in weights.items() if path in directions(example)}
    gradients = T.grad(loss, list(trained.values()))
    call = theano.function(list(model.inputs.values()), gradients, mode=PYTHON)
    found = dict(zip(trained, call(*example.inputs.values()), strict=True))
    slope = sum((found[path] * one).sum() for path, one in directions(example).items())
    assert_close(np.array(slope), np.array(directional_derivative(example)), 1e-7, name)


def test_layers_that_share_weights_are_saved_once(tmp_path):
    left, right = T.dmatrix("left"), T.dmatrix("right")
    with theano.config.change_flags(floatX="float64"):
        tower = Projection(left, 7, 5)
        with sharing(tower):
            other = Projection(right, 7, 5)
        joined = Concatenate(tower.output, other.output)
        head = Projection(joined.output, 10, 3)
    net = [tower, other, joined, head]
    assert other.params == tower.params
    path = tmp_path / "model"
    interchange.save_model(net, path)
    _, config, arrays = model_file.read_model(path)
    assert config["layers"][3]["shares"] == 2
    assert sorted(arrays) == ["2.bias", "2.weight", "5.bias", "5.weight"]
    x, y = normal(3, 7, seed=1), normal(3, 7, seed=2)
    wanted = theano.function([left, right], head.output, mode=PYTHON)(x, y)
    assert_close(numpy_infer.load_model(path)(left=x, right=y), wanted, 1e-12, "output")


def test_what_no_layer_reads_is_an_output(tmp_path):
    x = T.dmatrix("x")
    first = Tanh(x)
    net = [first, ReLU(first.output), Maximum(first.output, x)]
    interchange.save_model(net, tmp_path / "model")
    _, config, _ = model_file.read_model(tmp_path / "model")
    assert config["outputs"] == {"output_0": 2, "output_1": 3}
    assert config["inputs"] == {"x": {"shape": [None, None], "dtype": "float"}}


def test_what_no_graph_can_be_is_refused(tmp_path):
    x = T.dmatrix("x")
    hidden = ReLU(Tanh(x).output)  # of a layer that is not in the list
    with pytest.raises(ValueError, match="built on an input or on the output of one before it"):
        interchange.save_model([Tanh(x), Add(hidden.inputs[0], x)], tmp_path / "model")
    with theano.config.change_flags(floatX="float64"):
        first, second = Projection(x, 3, 3), Projection(x, 3, 3)
    second.params[0] = first.params[0]
    second.built = second._state()
    total = Add(first.output, second.output)
    with pytest.raises(ValueError, match=r"expected all of the weights of Projection at place 2"):
        interchange.save_model([first, second, total], tmp_path / "model")
    with pytest.raises(ValueError, match="inputs: expected left, right, got 1 variables"):
        interchange.from_arrays("graph", SIAMESE.config, SIAMESE.arrays, inputs=[x])
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("layer", [Add, Maximum])
def test_sizes_that_do_not_fit_are_refused_when_the_function_runs(layer):
    x, y = T.dmatrix(), T.dmatrix()
    call = theano.function([x, y], layer(x, y).output, mode=PYTHON)
    assert call(np.ones((3, 1)), np.ones((3, 4))).shape == (3, 4)
    with pytest.raises(AssertionError, match="values: expected equal sizes, or 1 on an axis"):
        call(np.ones((3, 2)), np.ones((3, 4)))


def test_the_gradient_of_a_tie_goes_to_the_first():
    x, y = T.dvector(), T.dvector()
    slopes = T.grad(Maximum(x, y).output.sum(), [x, y])
    found = theano.function([x, y], slopes, mode=PYTHON)(np.array([1.0, 2.0]), np.array([1.0, 3.0]))
    assert [one.tolist() for one in found] == [[1.0, 0.0], [0.0, 1.0]]
