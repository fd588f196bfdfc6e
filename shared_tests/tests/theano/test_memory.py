"""The rare event memory's own ways in Theano: updates of shared variables."""

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split
import numpy as np
import pytest
import theano
import theano.tensor as T

from shared_tests.components.rare_event_memory import (
    DIGITS,
    LABELS,
    PIXELS,
    QUERIES,
    STATE,
    updated_memory,
)
from theano_impl import interchange
from theano_impl.rare_event_memory import RULES, RareEventMemory


def memory(queries, **options) -> RareEventMemory:
    model = RareEventMemory(queries, 11, 5, **options)
    interchange.load_arrays(model, STATE)
    return model


@pytest.mark.parametrize("rule", RULES)
def test_update_changes_the_shared_variables(rule):
    queries, labels = T.dmatrix(), T.lvector()
    model = memory(queries, rule=rule)
    step = theano.function([queries, labels], model.loss(labels), updates=model.update(labels))
    step(QUERIES, LABELS)
    arrays = {**STATE, "key_labels": STATE["labels"], "labels": np.array(LABELS)}
    wanted = updated_memory(QUERIES, **arrays, rule=rule)
    for name, array in interchange.to_arrays(model).items():
        np.testing.assert_allclose(array, wanted[name], rtol=0, atol=1e-14)
    assert not model.params


def test_noise_comes_from_the_seed():
    ages = []
    for seed in (1, 1, 2):
        queries, labels = T.dmatrix(), T.lvector()
        model = memory(queries, rule="circular", age_noise=20.0, seed=seed)
        theano.function([queries, labels], updates=model.update(labels))(QUERIES, LABELS)
        ages.append(model.ages.get_value())
    np.testing.assert_array_equal(ages[0], ages[1])
    assert not np.array_equal(ages[0], ages[2])


def test_a_memory_fills_up_and_names_its_orphans():
    queries, labels = T.dmatrix(), T.lvector()
    model = RareEventMemory(queries, 5, 64)
    recall = theano.function([queries], [*model.output, model.augment(queries)])
    update = theano.function([queries, labels], updates=model.update(labels))
    orphans = [theano.function([], model.orphans(age)) for age in (2, 3)]
    assert (recall(PIXELS)[0] == -1).all()
    update(PIXELS[:3], DIGITS[:3])
    found, _, slots, augmented, again = recall(PIXELS[:3])
    np.testing.assert_array_equal(found, DIGITS[:3])
    np.testing.assert_array_equal(slots, [0, 1, 2])
    np.testing.assert_array_equal(augmented, again)
    for _ in range(2):
        update(PIXELS[:1], DIGITS[:1])
    np.testing.assert_array_equal(orphans[0](), [1, 2])
    assert len(orphans[1]()) == 0


def test_loss_moves_the_queries_to_their_labels():
    moving, labels = theano.shared(QUERIES), T.lvector()
    model = memory(moving, margin=0.2)
    loss = model.loss(labels)
    step = theano.function([labels], loss, updates=[(moving, moving - T.grad(loss, moving))])
    losses = [float(step(LABELS)) for _ in range(150)]
    assert losses[0] > 0.1
    assert losses[-1] < losses[0] / 100
    np.testing.assert_array_equal(theano.function([], model.output.labels)(), LABELS)
