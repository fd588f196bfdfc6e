"""The optimizers as Keras's own: fit, graphs, XLA, IndexedSlices, clipping, saved models."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from shared_tests.components.padded_embedding import pad_token_lists
from shared_tests.fixtures import normal
from shared_tests.support.floatx import floatx
from tf2_impl.padded_embedding import PaddedEmbedding
from tf2_impl.smorms3 import SMORMS3
from tf2_impl.sparse_dense_optimizer import SparseDenseOptimizer

IDS = pad_token_lists([[3, 1, 10], [7], [2, 2, 9, 4, 1], [10, 6], [5, 8], [1, 4, 6, 3, 3]])
TARGETS = normal(6, 3, seed=4)
STATE = ("memory", "gradient", "square")


@pytest.fixture(autouse=True)
def _float64():
    """Of the rates, and of the layers."""
    with floatx("float64"):
        yield


def both(**options):
    return SparseDenseOptimizer(SMORMS3(0.05), SMORMS3(0.02), **options)


MAKERS = [
    partial(SMORMS3, 0.05),
    both,
    lambda: SparseDenseOptimizer(SMORMS3(0.05), keras.optimizers.Adam(0.02)),
]


def model(optimizer=None, embed=None, **options):
    ids, embed = keras.Input((5,), dtype="int64"), embed or PaddedEmbedding(11, 5, seed=1)
    net = keras.Sequential([ids, embed, keras.layers.Dense(3)])
    net.layers[1].set_weights([normal(5, 3, seed=2), normal(3, seed=3)])
    net.compile(optimizer or both(), "mse", **options)
    return net


def lookup():
    """A table that Keras itself looks up, which XLA can compile."""
    table = keras.layers.Embedding(11, 5, weights=[normal(11, 5, seed=5)])
    return keras.Sequential([table, keras.layers.GlobalAveragePooling1D()])


def fit(net, epochs=4):
    return net.fit(IDS, TARGETS, batch_size=2, epochs=epochs, shuffle=False, verbose=0).history[
        "loss"
    ]


def gradients(net, rows=slice(None)):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((net(IDS[rows]) - TARGETS[rows]) ** 2)
    return tape.gradient(loss, [one.value for one in net.trainable_variables])


def arrays(net):
    return [one.numpy() for one in (*net.trainable_variables, *net.optimizer.variables)]


def same(ones, others):
    return all(map(np.array_equal, ones, others)) and len(ones) == len(others)


@pytest.mark.parametrize("make", MAKERS)
def test_fit_is_the_loop_by_hand(make):
    fitted, by_hand = model(make()), model(make())
    losses = fit(fitted)
    assert losses[-1] < losses[0]
    for _ in range(4):
        for start in (0, 2, 4):
            found = gradients(by_hand, slice(start, start + 2))
            assert isinstance(found[0], tf.IndexedSlices)
            by_hand.optimizer.apply_gradients(zip(found, by_hand.trainable_variables, strict=True))
    for got, wanted in zip(arrays(fitted), arrays(by_hand), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("make", MAKERS)
def test_xla_gives_what_the_graph_gives(make):
    compiled = model(make(), lookup(), jit_compile=True)
    plain = model(make(), lookup(), jit_compile=False)
    np.testing.assert_allclose(fit(compiled), fit(plain), rtol=0, atol=1e-14)
    for got, wanted in zip(arrays(compiled), arrays(plain), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("make", MAKERS)
def test_a_saved_model_goes_on(make, tmp_path):
    """From the same weights and state, bit for bit, and the same way.

    TensorFlow traces the loaded model anew. After other trainings in the process it was seen to
    round the new graph's sums otherwise: the losses differed by 4e-16, the optimizer's memory,
    which is up to 15, by 5e-14.
    """
    net = model(make())
    fit(net, 2)
    net.save(tmp_path / "model.keras")
    other = keras.models.load_model(tmp_path / "model.keras")
    assert other.optimizer.get_config() == net.optimizer.get_config()
    assert same(arrays(net), arrays(other))
    np.testing.assert_allclose(fit(net), fit(other), rtol=0, atol=1e-13)
    for got, wanted in zip(arrays(net), arrays(other), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)
    forgetful = keras.models.load_model(tmp_path / "model.keras", compile=False)
    forgetful.compile(make(), "mse")
    fit(forgetful)
    moved = zip(forgetful.get_weights(), net.get_weights(), strict=True)
    assert max(abs(one - other).max() for one, other in moved) > 1e-3


def test_a_checkpoint_restores_the_state_of_both(tmp_path):
    net, other = model(), model()
    fit(net, 2)
    path = tf.train.Checkpoint(model=net, optimizer=net.optimizer).save(str(tmp_path / "at"))
    other.optimizer.build(other.trainable_variables)
    restored = tf.train.Checkpoint(model=other, optimizer=other.optimizer).restore(path)
    restored.assert_existing_objects_matched()
    assert same(arrays(net), arrays(other))


def slices(ids, rows):
    return tf.IndexedSlices(tf.constant(rows), tf.constant(ids, tf.int64), (11, rows.shape[1]))


def state(optimizer):
    return [getattr(optimizer, name)[0] for name in STATE]


@pytest.mark.parametrize("in_graph", [False, True])
def test_rows_outside_the_slices_stay_bit_for_bit(in_graph):
    table = keras.Variable(normal(11, 3, seed=1))
    optimizer = SMORMS3(0.1)
    optimizer.build([table])

    def step(ids, rows):
        optimizer.apply([tf.IndexedSlices(rows, ids, (11, 3))], [table])

    if in_graph:
        specs = [tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, 3], tf.float64)]
        step = tf.function(step, input_signature=specs)
    for place, ids in enumerate([[3, 7, 1, 7], [], [2, 9, 2, 2]]):
        before = [one.numpy() for one in (table, *state(optimizer))]
        step(tf.constant(ids, tf.int64), tf.constant(normal(len(ids), 3, seed=place)))
        for one, was in zip((table, *state(optimizer)), before, strict=True):
            moved = np.flatnonzero((one.numpy() != was).all(1)).tolist()
            assert moved == sorted(set(ids))
            assert np.flatnonzero((one.numpy() != was).any(1)).tolist() == moved


def test_sparse_equals_dense_when_every_row_is_in_every_gradient():
    tables = [keras.Variable(normal(11, 3, seed=1)) for _ in range(2)]
    optimizers = [SMORMS3(0.1) for _ in tables]
    for step in range(20):
        ids = np.random.default_rng(step).permutation(11)
        sparse = slices(ids, normal(11, 3, seed=step))
        optimizers[0].apply([sparse], tables[:1])
        optimizers[1].apply([tf.convert_to_tensor(sparse)], tables[1:])
    ours, dense = ([table, *state(one)] for table, one in zip(tables, optimizers, strict=True))
    assert same([one.numpy() for one in ours], [one.numpy() for one in dense])


def test_a_dense_zero_moves_the_state_where_a_sparse_step_would_not():
    """What differs, as the docstring says."""
    tables = [keras.Variable(np.ones((11, 1))) for _ in range(2)]
    optimizers = [SMORMS3() for _ in tables]
    for ids in (range(11), [0]):
        sparse = slices(list(ids), np.ones((len(ids), 1)))
        optimizers[0].apply([sparse], tables[:1])
        optimizers[1].apply([tf.convert_to_tensor(sparse)], tables[1:])
    assert same([tables[0].numpy()], [tables[1].numpy()])
    memory = [one.memory[0].numpy()[1] for one in optimizers]
    assert memory[0] == 1.5 < memory[1]


def test_a_sparse_step_makes_no_tensor_of_the_table_size():
    table = keras.Variable(np.ones((1000, 3)))
    optimizer = SMORMS3()
    optimizer.build([table])

    @tf.function
    def step(ids, rows):
        optimizer.apply([tf.IndexedSlices(rows, ids, (1000, 3))], [table])

    inputs = tf.constant([5, 7, 5], tf.int64), tf.ones((3, 3), tf.float64)
    graph = step.get_concrete_function(*inputs).graph
    reads = [one for one in graph.get_operations() if one.type == "ReadVariableOp"]
    assert all(one.outputs[0].shape.rank == 0 for one in reads)  # the rate, the count of steps
    tensors = [out for one in graph.get_operations() for out in one.outputs]
    assert max(one.shape.num_elements() or 0 for one in tensors) <= 9
    assert any(one.type == "ResourceScatterUpdate" for one in graph.get_operations())


def test_entries_of_one_row_are_summed():
    tables = [keras.Variable(normal(11, 3, seed=1)) for _ in range(2)]
    rows = normal(3, 3, seed=2)
    for table, sparse in zip(
        tables,
        (slices([4, 4, 2], rows), slices([4, 2], np.array([rows[0] + rows[1], rows[2]]))),
        strict=True,
    ):
        SMORMS3(0.1).apply([sparse], [table])
    assert same([tables[0].numpy()], [tables[1].numpy()])


def test_schedules_and_plain_functions_give_the_rate():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    steps = normal(3, 7, seed=1)
    results = []
    for rate in (schedule, 0.1):
        variable, optimizer = keras.Variable(normal(7, seed=2)), SMORMS3(rate)
        for place, gradient in enumerate(steps):
            if rate == 0.1:
                optimizer.learning_rate = 0.1 * 0.5**place
            optimizer.apply([tf.constant(gradient)], [variable])
        results.append(variable.numpy())
    np.testing.assert_allclose(*results, rtol=0, atol=1e-8)  # Keras's schedules are float32
    copy = SMORMS3.from_config(SMORMS3(schedule, epsilon=0.5).get_config())
    assert (float(copy.learning_rate), copy.epsilon) == (pytest.approx(0.1, rel=1e-6), 0.5)


@pytest.mark.parametrize("rate", [-0.1, float("nan"), float("inf")])
def test_bad_rate(rate):
    with pytest.raises(ValueError, match=r"^learning_rate: expected a finite number.*, got "):
        SMORMS3(rate)


def test_two_kinds_are_what_two_optimizers_by_hand_are():
    net, other = model(), model()
    table, *rest = other.trainable_variables
    sparse, dense = SMORMS3(0.05), SMORMS3(0.02)
    for _ in range(7):
        net.optimizer.apply(gradients(net), net.trainable_variables)
        first, *others = gradients(other)
        sparse.apply([first], [table])
        dense.apply(others, rest)
    assert same(net.get_weights(), other.get_weights())
    assert same([one.numpy() for one in sparse.memory], [net.optimizer.sparse.memory[0].numpy()])
    assert all((one.numpy() == 1).all() for one in net.optimizer.dense.memory[:1])


CLIPS = [{"clipnorm": 0.5}, {"global_clipnorm": 0.5}, {"clipvalue": 0.1}]


@pytest.mark.parametrize("clip", CLIPS, ids=str)
def test_slices_are_clipped_as_the_dense_gradient_they_stand_for(clip):
    ids = [4, 2, *range(11), 4]
    results = []
    for options, densify in ((clip, False), (clip, True), ({}, False)):
        table, optimizer = keras.Variable(normal(11, 3, seed=1)), SMORMS3(0.1, **options)
        for step in range(5):
            gradient = slices(ids, (step + 1) * normal(14, 3, seed=step))
            optimizer.apply([tf.convert_to_tensor(gradient) if densify else gradient], [table])
        results.append(table.numpy())
    np.testing.assert_allclose(results[0], results[1], rtol=0, atol=1e-14)
    assert np.abs(results[0] - results[2]).max() > 1e-3


@pytest.mark.parametrize("clip", CLIPS, ids=str)
def test_clipped_slices_are_sparse_still(clip):
    net = model(both(**clip))
    fit(net)
    assert (net.optimizer.dense.memory[0].numpy() == 1).all()
    assert (net.optimizer.sparse.memory[0].numpy()[1:] != 1).all()


def test_a_global_norm_is_that_of_all_gradients():
    clipped, plain = model(both(global_clipnorm=0.01)), model(both())
    for step in range(3):
        first, *others = found = gradients(plain, slice(step, step + 2))
        norm = np.sqrt(sum((tf.convert_to_tensor(one).numpy() ** 2).sum() for one in found))
        assert norm > 0.01
        clipped.optimizer.apply(found, clipped.trainable_variables)
        values = first.values * (0.01 / norm)
        scaled = [tf.IndexedSlices(values, first.indices, first.dense_shape)]
        scaled += [one * (0.01 / norm) for one in others]
        plain.optimizer.apply(scaled, plain.trainable_variables)
    for got, wanted in zip(arrays(clipped), arrays(plain), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-14)


def test_a_gradient_that_changes_its_kind_is_an_error():
    net = model()
    found = gradients(net)
    net.optimizer.apply(found, net.trainable_variables)
    before = net.get_weights()
    message = r"^grads: expected a sparse gradient of .*table, of shape \(11, 5\), as before, got a"
    with pytest.raises(ValueError, match=message + " dense one$"):
        net.optimizer.apply([tf.convert_to_tensor(one) for one in found], net.trainable_variables)
    assert same(before, net.get_weights())


def test_setting_the_rate_moves_both_by_one_factor():
    optimizer = both()
    net = model(optimizer)
    assert float(optimizer.learning_rate) == 0.02
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    net.fit(IDS, TARGETS, epochs=2, verbose=0, callbacks=[halve])
    assert float(optimizer.dense.learning_rate) == pytest.approx(0.005, rel=1e-6)
    assert float(optimizer.sparse.learning_rate) == pytest.approx(0.0125, rel=1e-6)
    optimizer.dense.learning_rate = 0.0
    with pytest.raises(ValueError, match=r"^learning_rate before: expected a number above 0, got"):
        optimizer.learning_rate = 0.1


def test_what_cannot_be_combined_is_an_error():
    one = SMORMS3()
    with pytest.raises(ValueError, match=r"^dense: expected an optimizer of its own, got "):
        SparseDenseOptimizer(one, one)
    for argument in ("gradient_accumulation_steps", "loss_scale_factor"):
        with pytest.raises(ValueError, match=f"^{argument}: expected None, got 2$"):
            both(**{argument: 2})


def test_config_holds_both():
    original = both(name="mine", clipvalue=0.5)
    config = keras.optimizers.serialize(original)
    copy = keras.optimizers.deserialize(config)
    assert type(copy) is SparseDenseOptimizer
    assert copy.get_config() == original.get_config()
    assert (copy.name, copy.clipvalue) == ("mine", 0.5)
    assert [float(one.learning_rate) for one in (copy.sparse, copy.dense)] == [0.05, 0.02]


@pytest.mark.parametrize("given", [("sparse", "dense"), ("dense", "sparse")])
def test_kinds_are_learnt_in_any_order(given):
    starts = {"sparse": normal(11, 3, seed=1), "dense": np.ones(5)}
    ours = {kind: keras.Variable(starts[kind]) for kind in given}
    alone = {kind: keras.Variable(starts[kind]) for kind in given}
    optimizer = both()
    by_hand = {"sparse": SMORMS3(0.05), "dense": SMORMS3(0.02)}
    for step in range(3):
        rows = tf.constant(normal(2, 3, seed=step))
        gradients = {
            "sparse": tf.IndexedSlices(rows, tf.constant([3, 7]), tf.constant([11, 3])),
            "dense": tf.constant(normal(5, seed=9 + step)),
        }
        optimizer.apply([gradients[kind] for kind in given], list(ours.values()))
        for kind in given:
            by_hand[kind].apply([gradients[kind]], [alone[kind]])
            np.testing.assert_array_equal(ours[kind], alone[kind])
