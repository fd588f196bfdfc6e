"""The optimizers as Theano's update dictionaries: sparse gradients found, rows moved in place."""

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split
from functools import partial
from typing import Any

import numpy as np
import pytest
import theano
import theano.tensor as T

from fourfold.agreement import VALUE_TOLERANCE, error
from shared_tests.components.padded_embedding import pad_token_lists
from shared_tests.components.smorms3 import smorms3
from shared_tests.fixtures import normal
from theano_impl.char_word_encoder import CharWordEncoder
from theano_impl.layers.projection import Projection
from theano_impl.padded_embedding import PaddedEmbedding
from theano_impl.sequence_encoder import SequenceEncoder
from theano_impl.smorms3 import SMORMS3
from theano_impl.sparse_dense_optimizer import SparseDenseOptimizer
from theano_impl.support.sparse_gradients import sparse_rows
from theano_impl.title_encoder import TitleEncoder

IDS = [
    pad_token_lists([[3, 1, 10], [7], [2, 2, 9, 4, 1], [10, 6]]),
    pad_token_lists([[5, 8], [1, 4, 6, 3, 3], [9], [2, 7, 5]]),
    pad_token_lists([[8, 1, 1, 5, 2], [6], [4, 3], [10, 9, 7]]),
]
BOTH: dict[str, Any] = {"sparse": partial(SMORMS3, lr=0.05), "dense": partial(SMORMS3, lr=0.02)}
FAST_RUN = theano.Mode("py", "fast_run")
MAKERS = [partial(SMORMS3, lr=0.05), partial(SparseDenseOptimizer, **BOTH)]


def encoder(ids):
    embed = PaddedEmbedding(ids, 11, 5, seed=1)
    return embed, Projection(embed.output, 5, 3, seed=2)


class Training:
    """A model with its optimizer: `step` trains one batch and gives the loss."""

    def __init__(self, make):
        ids = T.lmatrix("ids")
        layers = encoder(ids)
        self.params = [param for layer in layers for param in layer.params]
        self.optimizer = make(self.params)
        loss = T.mean(layers[-1].output ** 2)
        self.step = theano.function([ids], loss, updates=self.optimizer.updates(loss))

    def run(self, steps):
        return [float(self.step(IDS[step % 3])) for step in steps]

    def arrays(self):
        return [*(one.get_value() for one in self.params), *self.optimizer.state_arrays().values()]


def same(ones, others):
    return all(map(np.array_equal, ones, others)) and len(ones) == len(others)


@pytest.mark.parametrize("make", MAKERS)
def test_a_restored_training_goes_on_bit_for_bit(make):
    training, other, forgetful = (Training(make) for _ in range(3))
    losses = training.run(range(5))
    saved = training.optimizer.state_arrays()
    for fresh in (other, forgetful):
        for param, trained in zip(fresh.params, training.params, strict=True):
            param.set_value(trained.get_value())
    other.optimizer.load_state_arrays(saved)
    went_on = training.run(range(5, 11))
    assert went_on == other.run(range(5, 11))
    assert same(training.arrays(), other.arrays())
    assert went_on[-1] < losses[0]
    forgetful.run(range(5, 11))
    assert not same(training.arrays(), forgetful.arrays())


def test_two_kinds_are_what_two_optimizers_by_hand_are():
    training = Training(MAKERS[1])
    ids = T.lmatrix("ids")
    layers = encoder(ids)
    loss = T.mean(layers[-1].output ** 2)
    sparse, dense = SMORMS3(layers[0].params, 0.05), SMORMS3(layers[1].params, 0.02)
    updates = {**sparse.updates(loss), **dense.updates(loss)}
    step = theano.function([ids], loss, updates=list(updates.items()))
    assert training.run(range(7)) == [float(step(IDS[place % 3])) for place in range(7)]
    inner = training.optimizer.sparse, training.optimizer.dense
    assert [one.params for one in inner] == [training.params[:1], training.params[1:]]
    assert set(training.optimizer.state) == set(training.params)
    names = set(training.optimizer.state_arrays())
    assert {"sparse.lr", "sparse.0.memory", "dense.lr", "dense.1.square"} <= names


MODELS = {
    "PaddedEmbedding": lambda ids: PaddedEmbedding(ids, 11, 5, seed=1),
    "unit norm": lambda ids: PaddedEmbedding(ids, 11, 5, unit_norm=True, seed=1),
    "SequenceEncoder": lambda ids: SequenceEncoder(ids, 11, 5, 3, training=True, seed=1),
    "TitleEncoder": lambda ids: TitleEncoder(ids, 11, 5, seed=1),
    "CharWordEncoder": lambda ids: CharWordEncoder(ids, 11, seed=1),
}


@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
def test_tables_of_the_models_have_sparse_gradients_and_nothing_else_has(build):
    ids = T.lmatrix("ids")
    layer = build(ids)
    gradients = T.grad(T.sum(layer.output**2), layer.params)
    kinds = {one.name for one, g in zip(layer.params, gradients, strict=True) if sparse_rows(g)}
    assert kinds == {"table"}
    rows = sparse_rows(gradients[0])
    found, places, values = theano.function([ids], [gradients[0], *rows])(IDS[0])
    assert len(set(places)) == len(places)
    assert set(places) - {0} == {1, 2, 3, 4, 6, 7, 9, 10}
    rebuilt = np.zeros_like(found)
    rebuilt[places] = values
    np.testing.assert_allclose(rebuilt, found, rtol=0, atol=1e-14)


TABLE = normal(11, 3, seed=1)


def lookup(table, ids, place):
    return T.sum(table[ids] * normal(5, 3, seed=place))


GRAPHS = {
    "one lookup": lambda table, ids: lookup(table, ids, 2),
    "two lookups": lambda table, ids: lookup(table, ids, 2) + lookup(table, ids + 1, 3),
    "three lookups": lambda table, ids: (
        lookup(table, ids, 2) + lookup(table, ids[::-1], 3) + T.sum(table[ids[:2]] ** 2)
    ),
    "ids from the end": lambda table, ids: lookup(table, ids - 11, 2) + lookup(table, ids, 3),
    "ids in two axes": lambda table, ids: T.sum(table[ids[:4].reshape((2, 2))] ** 3),
    "narrow ids": lambda table, ids: lookup(table, T.cast(ids, "int8"), 2),
    "an upstream that is one number": lambda table, ids: 2 * T.sum(table[ids]),
    "a cast table": lambda table, ids: T.sum(T.cast(table, "float32")[ids] ** 2),
    "columns": lambda table, ids: T.sum(table[ids][:, 1:] ** 2),
}
DENSE = {
    "a product": lambda table, ids: T.sum(T.dot(table.T, table)) + T.sum(ids),
    "a lookup and a penalty": lambda table, ids: lookup(table, ids, 2) + T.sum(table**2),
    "a lookup of a product": lambda table, ids: T.sum((2 * table)[ids] ** 2),
    "one row": lambda table, ids: T.sum(table[2] ** 2) + T.sum(ids),
    "one column": lambda table, ids: T.sum(table[:, 1][ids] ** 2),
}


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_rows_are_those_of_the_dense_gradient(graph):
    table, ids = theano.shared(TABLE), T.lvector("ids")
    gradient = T.grad(graph(table, ids), table)
    rows = sparse_rows(gradient)
    assert rows is not None
    found, places, values = theano.function([ids], [gradient, *rows])([3, 7, 1, 7, 0])
    assert (places >= 0).all()
    assert len(set(places)) == len(places) < 11
    rebuilt = np.zeros_like(found)
    rebuilt[places] = values
    np.testing.assert_allclose(rebuilt, found, rtol=0, atol=1e-14)


@pytest.mark.parametrize("graph", DENSE.values(), ids=DENSE)
def test_what_is_more_than_lookups_is_dense(graph):
    table, ids = theano.shared(TABLE), T.lvector("ids")
    assert sparse_rows(T.grad(graph(table, ids), table)) is None


def test_a_scaled_gradient_is_dense_and_a_scaled_loss_is_not():
    table, ids = theano.shared(TABLE), T.lvector("ids")
    loss = lookup(table, ids, 2)
    assert sparse_rows(2 * T.grad(loss, table)) is None
    assert sparse_rows(T.grad(2 * loss, table)) is not None


def test_ids_outside_the_table_are_an_error():
    table, ids = theano.shared(TABLE), T.lvector("ids")
    loss = T.sum(table[ids])
    updates = SMORMS3([table]).updates(loss)
    step = theano.function([ids], updates=updates, mode=FAST_RUN)  # the loss itself is left out
    step([1, -11])
    for wrong in (11, -12):
        with pytest.raises(IndexError):
            step([1, wrong])


def test_rows_outside_the_gradient_stay_bit_for_bit():
    table, ids, rows = theano.shared(TABLE), T.lvector("ids"), T.dmatrix("rows")
    optimizer = SMORMS3([table], lr=0.1)
    step = theano.function([ids, rows], updates=optimizer.updates(T.sum(table[ids] * rows)))
    for place, batch in enumerate([[3, 7, 1, 7], [], [2, 9, 2, 2]]):
        shared = (table, *optimizer.state[table].values())
        before = [one.get_value() for one in shared]
        step(np.array(batch, int), normal(len(batch), 3, seed=place))
        for one, was in zip(shared, before, strict=True):
            moved = np.flatnonzero((one.get_value() != was).all(1)).tolist()
            assert moved == sorted(set(batch))
            assert np.flatnonzero((one.get_value() != was).any(1)).tolist() == moved


def test_sparse_equals_dense_when_every_row_is_in_every_gradient():
    ids, rows = T.lvector("ids"), T.dmatrix("rows")
    tables = [theano.shared(TABLE) for _ in range(2)]
    optimizers = [SMORMS3([table], lr=0.1) for table in tables]
    gradients = [T.grad(T.sum(table[ids] * rows), table) for table in tables]
    gradients[1] = 1 * gradients[1]
    assert [sparse_rows(one) is None for one in gradients] == [False, True]
    updates = [
        pair
        for one, gradient in zip(optimizers, gradients, strict=True)
        for pair in one.updates([gradient]).items()
    ]
    step = theano.function([ids, rows], updates=updates)
    for place in range(20):
        step(np.random.default_rng(place).permutation(11), normal(11, 3, seed=place))
    pairs = list(zip(tables, optimizers, strict=True))
    ours, dense = ([table, *one.state[table].values()] for table, one in pairs)
    for got, wanted in zip(ours, dense, strict=True):
        np.testing.assert_allclose(got.get_value(), wanted.get_value(), rtol=0, atol=1e-14)
    step(np.arange(10), normal(10, 3, seed=21))  # what differs: a dense zero moves the state
    memory = [one.state[table]["memory"].get_value() for table, one in pairs]
    assert memory[0][10, 0] != memory[1][10, 0]
    assert same([tables[0].get_value()[10]], [tables[1].get_value()[10]])


def test_a_sparse_step_works_on_rows_in_place():
    """In the optimized graph, nothing but lookups and increments in place takes a whole table."""
    table, ids, rows = theano.shared(TABLE, name="table"), T.lvector("ids"), T.dmatrix("rows")
    updates = SMORMS3([table]).updates(T.sum(table[ids] * rows))
    step = theano.function([ids, rows], updates=updates, mode=FAST_RUN)
    graph = step.maker.fgraph
    whole = [one for one in graph.inputs if one.name in ("table", "memory", "gradient", "square")]
    for one in whole:
        users = {describe(node.op) for node, _ in graph.clients[one] if node != "output"}
        assert users - {"Shape_i"} == {"AdvancedSubtensor1", "AdvancedIncSubtensor1 in place"}
    assert len(whole) == 4


def describe(op):
    return type(op).__name__ + " in place" * bool(getattr(op, "inplace", False))


def test_float32_stays():
    table, ids, rows = theano.shared(TABLE.astype("float32")), T.lvector("ids"), T.fmatrix("rows")
    for loss in (T.sum(table[ids] * rows), T.sum(T.dot(rows, table.T))):
        optimizer = SMORMS3([table])
        updates = optimizer.updates(loss)
        assert {one.dtype for one in updates.values()} == {"float32"}
        theano.function([ids, rows], updates=updates, on_unused_input="ignore")(
            [1, 1], np.ones((2, 3), "float32")
        )
        assert {one.dtype for name, one in optimizer.state_arrays().items() if name != "lr"} == {
            np.dtype("float32")
        }


def test_the_rate_is_set_between_steps():
    param, x = theano.shared(TABLE), T.dmatrix("x")
    optimizer = SMORMS3([param], lr=0.1)
    step = theano.function([x], updates=optimizer.updates([x]))
    step(normal(11, 3, seed=2))
    before = param.get_value()
    optimizer.lr.set_value(0.0)
    step(normal(11, 3, seed=3))
    np.testing.assert_array_equal(param.get_value(), before)
    gradients = np.array([normal(11, 3, seed=seed) for seed in (2, 3)])
    wanted = smorms3(TABLE, gradients)["memory"]
    got = optimizer.state[param]["memory"].get_value()
    assert error(got, wanted) <= VALUE_TOLERANCE["layer", "float64"]


@pytest.mark.parametrize("lr", [-0.1, float("nan"), float("inf")])
def test_bad_rate(lr):
    with pytest.raises(ValueError, match=r"^lr: expected a finite number.*, got "):
        SMORMS3([theano.shared(TABLE)], lr=lr)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ([], "at least one shared variable"),
        ([T.dmatrix()], "shared variables"),
        ([theano.shared(np.arange(3))], "float32 or float64"),
        ([theano.shared(TABLE.astype("float16"))], "float32 or float64"),
        ([theano.shared(TABLE)] * 2, "each shared variable once"),
    ],
    ids=["none", "symbolic", "integers", "halves", "twice"],
)
@pytest.mark.parametrize("make", MAKERS)
def test_bad_params(make, params, expected):
    with pytest.raises((ValueError, TypeError), match=f"^params: expected {expected}, got "):
        make(params)


@pytest.mark.parametrize("make", MAKERS)
def test_bad_gradients(make):
    optimizer = make([theano.shared(TABLE)])
    for wrong in (T.dvector(), [], [T.dvector()], [T.fmatrix()], [T.dmatrix()] * 2):
        with pytest.raises(ValueError, match=r"^loss_or_gradients: expected .*, got "):
            optimizer.updates(wrong)


def test_a_state_that_does_not_fit_changes_nothing():
    training = Training(MAKERS[0])
    training.run(range(2))
    before = training.arrays()
    saved = training.optimizer.state_arrays()
    missing = {name: one for name, one in saved.items() if name != "0.square"}
    wider = {**saved, "1.memory": np.ones((5, 4))}
    for wrong in (missing, wider, {**saved, "lr": np.float32(0.1)}, {**saved, "more": saved["lr"]}):
        with pytest.raises(ValueError, match=r"^arrays: expected .*, got "):
            training.optimizer.load_state_arrays(wrong)
    assert same(before, training.arrays())
    training.run([2])
    training.optimizer.load_state_arrays(saved)
    saved["0.memory"][:] = 5
    assert (training.optimizer.state_arrays()["0.memory"] != 5).all()


def test_a_gradient_that_changes_its_kind_is_an_error():
    table, ids = theano.shared(TABLE, name="table"), T.lvector("ids")
    optimizer = SparseDenseOptimizer([table], **BOTH)
    optimizer.updates(lookup(table, ids, 2))
    assert optimizer.dense is None
    message = (
        r"^loss_or_gradients: expected a sparse gradient of parameter 0, table, as before, got"
    )
    with pytest.raises(ValueError, match=message + " a dense one$"):
        optimizer.updates(T.sum(table**2))


def test_the_same_two_serve_another_loss():
    table, ids = theano.shared(TABLE), T.lvector("ids")
    optimizer = SparseDenseOptimizer([table], **BOTH)
    first = optimizer.updates(lookup(table, ids, 2))
    second = optimizer.updates(lookup(table, ids, 3))
    assert list(first) == list(second)


def test_what_makes_no_optimizer_is_an_error():
    table, ids = theano.shared(TABLE), T.lvector("ids")
    optimizer = SparseDenseOptimizer([table], sparse=list, dense=SMORMS3)
    with pytest.raises(TypeError, match=r"^sparse: expected it to make an Optimizer, got list$"):
        optimizer.updates(lookup(table, ids, 2))
    with pytest.raises(ValueError, match=r"^updates: expected to have been called, got "):
        optimizer.state_arrays()


@pytest.mark.parametrize("order", [1, -1])
def test_kinds_are_learnt_in_any_order(order):
    ids, weight = T.lvector("ids"), np.ones(5)

    def trained(make):
        table, other = theano.shared(TABLE), theano.shared(weight)
        loss = T.sum(table[ids] ** 2) + T.sum(other**2)
        step = theano.function([ids], updates=make(table, other, loss))
        for _ in range(3):
            step([3, 7, 3])
        return table.get_value(), other.get_value()

    def together(table, other, loss):
        return SparseDenseOptimizer([table, other][::order], **BOTH).updates(loss)

    def by_hand(table, other, loss):
        return {
            **BOTH["sparse"]([table]).updates(loss),
            **BOTH["dense"]([other]).updates(loss),
        }

    for found, wanted in zip(trained(together), trained(by_hand), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_an_optimizer_keeps_its_own_list_of_parameters():
    """What the caller does to the list afterwards does not matter."""
    weight = theano.shared(np.ones(3), "weight")
    params = [weight]
    optimizer = SMORMS3(params)
    params.clear()
    assert optimizer.params == [weight]
    gradients = [T.ones(3)]
    found = optimizer.gradients(gradients)
    gradients.clear()
    assert len(found) == 1
