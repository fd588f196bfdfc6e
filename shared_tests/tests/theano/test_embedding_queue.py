"""The queue of past embeddings in Theano: no gradient into it, and its state in the buffers."""

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split
import numpy as np
import pytest
import theano
import theano.tensor as T

from shared_tests.fixtures import normal
from theano_impl.embedding_queue import EmbeddingQueue
from theano_impl.interchange import save_model
from theano_impl.triplet_loss import all_triplets_loss

X = normal(11, 3, seed=1).astype(theano.config.floatX)
LABELS = np.arange(11) % 4
ROWS = [7, 8, 9, 10, 4, 5, 6]  # of these, in seven slots, the last ones


def test_it_is_the_reference_of_a_loss_without_gradient():
    x, labels = T.matrix(), T.lvector()
    queue = EmbeddingQueue(x, labels, 3, 7)
    reference, reference_labels = queue.output
    loss = all_triplets_loss(x, labels, reference=reference, reference_labels=reference_labels)
    step = theano.function([x, labels], [loss, T.grad(loss, x)], updates=queue.updates)
    step(X[:5], LABELS[:5])
    copy = EmbeddingQueue(x, labels, 3, 7)
    for one, other in zip(copy.buffers, queue.buffers, strict=True):
        one.set_value(other.get_value())
    found = step(X[5:], LABELS[5:])
    fixed = all_triplets_loss(
        x, labels, reference=T.constant(X[ROWS]), reference_labels=T.constant(LABELS[ROWS])
    )
    wanted = theano.function([x, labels], [fixed, T.grad(fixed, x)])(X[5:], LABELS[5:])
    assert np.abs(wanted[1]).max() > 0.01
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
    held = theano.function([x, labels], list(copy.output))(X[5:], LABELS[5:])
    np.testing.assert_array_equal(held[0], X[ROWS])
    np.testing.assert_array_equal(held[1], LABELS[ROWS])


def test_no_model_file_holds_its_integers(tmp_path):
    refused = r"^model: expected floating-point weights, got integers in labels, count, "
    with pytest.raises(ValueError, match=refused):
        save_model(EmbeddingQueue(T.matrix(), T.lvector(), 3, 7), tmp_path / "queue.safetensors")
    assert not any(tmp_path.iterdir())
