"""Theano's models in files: what is refused, and what is loaded to be trained."""

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split
import numpy as np
import pytest
import theano
import theano.tensor as T

from fourfold.project import model_name
from numpy_infer.model_file import ModelFileError
from shared_tests.fixtures import normal
from shared_tests.model_files.samples import write_unchecked
from theano_impl import interchange
from theano_impl.interchange import chain
from theano_impl.layers.activations import Dropout, Tanh
from theano_impl.layers.embedding import Embedding
from theano_impl.layers.normalization import BatchNorm, L2Normalize
from theano_impl.layers.pooling import MaxPool, MaxUnpool
from theano_impl.layers.projection import Projection
from theano_impl.padded_embedding import PaddedEmbedding
from theano_impl.sequence_encoder import SequenceEncoder
from theano_impl.sparse_projection import SparseProjection
from theano_impl.support.checks import check_number
from theano_impl.support.layer import Layer
from theano_impl.triplet_loss import TripletLoss


def test_loaded_for_training(tmp_path):
    x = T.dmatrix()
    net = [one := Projection(x, 7, 5, seed=1), two := BatchNorm(one.output, 5)]
    net.append(Dropout(two.output, 0.5))
    interchange.save_model(net, tmp_path / "model")
    loaded = interchange.load_model(tmp_path / "model", training=True)
    updates = [update for one in loaded for update in one.updates]
    step = theano.function(loaded[0].inputs, loaded[-1].output, updates=updates)
    y = step(normal(11, 7, seed=1))
    assert 0 < np.mean(y == 0) < 1
    changed = interchange.to_arrays(loaded)
    same = {key for key, one in interchange.to_arrays(net).items() if (one == changed[key]).all()}
    assert changed.keys() - same == {"2.mean", "2.variance"}


def test_a_component_in_a_chain_is_loaded_for_training(tmp_path):
    net = [SequenceEncoder(T.lmatrix(), 11, 5, 3, dropout=0.5)]
    interchange.save_model(net, tmp_path / "model")
    ids = np.array([[3, 1, 10], [2, 2, 9]])
    for training in (False, True):
        loaded = interchange.load_model(tmp_path / "model", training=training)
        function = theano.function(loaded[0].inputs, loaded[0].output)
        assert np.array_equal(function(ids), function(ids)) is not training


def test_a_component_that_trains_as_it_infers_is_loaded_for_training(tmp_path):
    interchange.save_model(PaddedEmbedding(T.lmatrix(), 11, 5), tmp_path / "model")
    loaded = interchange.load_model(tmp_path / "model", training=True)
    assert isinstance(loaded, PaddedEmbedding)


class Custom(Layer):
    """One that no file knows."""

    def __init__(self, x):
        super().__init__(x, config={})
        self.output = x


def subclass(x):
    return type("Projection", (Projection,), {})(x, 7, 7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda x: Custom(x),
            "that model files have, got Custom at place 2; they have Projection, ",
        ),
        (subclass, "got Projection at place 2"),
        (lambda x: TripletLoss(x, x, x), "got TripletLoss at place 2"),
        (lambda x: x, "got TensorVariable at place 2"),
        (
            lambda x: Tanh(T.dmatrix()),
            "on the output of the one before it, got Tanh at place 2",
        ),
    ],
)
def test_what_files_do_not_have_is_refused(make, message, tmp_path):
    net = [Projection(T.dmatrix(), 7, 7)]
    net.append(make(net[0].output))
    with pytest.raises(ValueError, match=f"model: .*{message}"):
        interchange.save_model(net, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def tripled(layer):
    layer.output = 3 * layer.output
    return layer


def reconfigured(layer):
    layer.config["epsilon"] = 7.0
    return layer


def test_layers_that_are_not_as_they_were_built_are_refused(tmp_path):
    x = T.dmatrix()
    first = tripled(Projection(x, 7, 5))
    for model, message in [
        ([first, Tanh(first.output)], "got Projection with another output .* at place 1"),
        ([reconfigured(L2Normalize(x))], "got L2Normalize with another config .* at place 1"),
        (tripled(SparseProjection(x, 7, 5)), "got SparseProjection with another output"),
        ([Tanh(x), tripled(Tanh(x))], "got Tanh with another output .* at place 2"),
    ]:
        with pytest.raises(ValueError, match=f"model: expected .*{message}"):
            interchange.save_model(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_models_that_are_no_chain_are_refused(tmp_path):
    x = T.dtensor3()
    pool = MaxPool(x, [2])
    for model in (5, [], [MaxUnpool(pool.output, pool)], Projection(x, 7, 5), Custom(x)):
        with pytest.raises(ValueError, match="model: expected"):
            interchange.save_model(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def entries(*rows):
    first = {"layer": "Input", "previous": [], "config": {}}
    keys = ("layer", "previous", "config")
    return [first, *(dict(zip(keys, row, strict=True)) for row in rows)]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (entries(), "expected an input and a layer"),
        (
            entries(("Tanh", [0], {}), ("ReLU", [0], {})),
            r"layer 2 \(ReLU\): layers: expected a chain",
        ),
        (entries(("Tanh", [0, 0], {})), r"layer 1 \(Tanh\): layers: expected a chain"),
        (entries(("Sine", [0], {})), r"layer 1 \(Sine\): layers: expected Projection, "),
        (entries(("ELU", [0], {})), r"layer 1 \(ELU\): layers: expected config \('alpha',\)"),
        (
            entries(("Projection", [0], {})),
            r"layer 1 \(Projection\): arrays: expected weight of 2 axes, got \{\}",
        ),
    ],
)
def test_what_is_no_chain_is_not_built(layers, message):
    with pytest.raises(ValueError, match=message):
        interchange.from_arrays("chain", {"layers": layers}, {})


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

    layers = entries(*(("Projection", [place], {}) for place in range(20)))
    shapes = Counted({f"{place}.weight": (2, 2) for place in range(1, 21)})
    chain.build(layers, shapes, "float32")
    assert Counted.asked == 20


def test_configuration_without_layers_is_refused():
    with pytest.raises(ValueError, match="config: expected layers, got nothing"):
        interchange.from_arrays("chain", {}, {})
    with pytest.raises(ValueError, match="layers: expected an input and a layer, got"):
        interchange.from_arrays("chain", {"layers": entries()}, {})


def test_a_number_without_limits_is_a_finite_one():
    with pytest.raises(ValueError, match=r"^slope: expected a finite number, got nan$"):
        check_number("slope", float("nan"))
    with pytest.raises(ValueError, match=r"^rate: expected a finite number of at least 0, got -1$"):
        check_number("rate", -1, least=0)


def test_unpool_without_its_pool_is_not_built():
    options = {"size": [2], "stride": [2], "padding": [[0, 0]]}
    layers = entries(
        ("MaxPool", [0], options), ("MaxUnpool", [1, 0], {**options, "padding": [[0, 1]]})
    )
    with pytest.raises(
        ValueError, match=r"layer 2 \(MaxUnpool\): layers: expected what its MaxPool was given"
    ):
        chain.build(layers, {}, "float64")


def test_padding_is_zero(tmp_path):
    net = [Embedding(T.lmatrix(), 5, 3)]
    net[0].table.set_value(normal(5, 3, seed=1))
    with pytest.raises(ValueError, match=r"model: expected zeros in row 0 of 1\.table, got "):
        interchange.save_model(net, tmp_path / "model")
    with pytest.raises(ValueError, match=r"arrays: expected zeros in row 0 of 1\.table, got "):
        interchange.load_arrays(net, interchange.to_arrays(net))


def test_a_file_that_theano_cannot_build_says_which(tmp_path):
    layers = entries(("Tanh", [0], {}), ("ReLU", [0], {}))
    path = tmp_path / "branches"
    write_unchecked(path, "chain", {"layers": layers}, {})
    with pytest.raises(ModelFileError, match=r"branches: layer 2 \(ReLU\)"):
        interchange.load_model(path)


def test_component_travels(framework_name, model_cell, tmp_path):
    case = model_cell.case.cast(model_cell.dtype)
    model = interchange.from_arrays(
        model_name(model_cell.component, model_cell.operation.name), case.options, case.weights
    )
    interchange.save_model(model, tmp_path / "model")
    loaded = interchange.load_model(tmp_path / "model")
    after = interchange.to_arrays(loaded)
    assert after.keys() == case.weights.keys()
    for key, array in case.weights.items():
        assert after[key].dtype == model_cell.dtype
        np.testing.assert_array_equal(after[key], array)
    interchange.save_model(loaded, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()
