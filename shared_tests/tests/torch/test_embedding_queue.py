"""The queue of past embeddings in PyTorch: a reference of losses, its state, halves, compile."""

import pytest
import torch

from pytorch_impl.embedding_queue import EmbeddingQueue
from pytorch_impl.interchange import save_model
from pytorch_impl.triplet_loss import all_triplets_loss
from shared_tests.fixtures import normal

X = torch.from_numpy(normal(11, 3, seed=1)).float()
LABELS = torch.arange(11) % 4
ROWS = [7, 8, 9, 10, 4, 5, 6]  # of these, in seven slots, the last ones


def filled(rows=11):
    queue = EmbeddingQueue(3, 7)
    queue.enqueue(X[:rows], LABELS[:rows])
    return queue


def test_it_is_the_reference_of_a_loss_without_gradient():
    queue = filled(5)
    anchors = X[5:].clone().requires_grad_()
    held = queue(anchors, LABELS[5:])
    loss = all_triplets_loss(
        anchors, LABELS[5:], reference=held.embeddings, reference_labels=held.labels
    )
    queue.enqueue(X, LABELS)  # what the loss was given is a copy
    loss.backward()
    wanted = all_triplets_loss(X[5:], LABELS[5:], reference=X[ROWS], reference_labels=LABELS[ROWS])
    torch.testing.assert_close(loss.detach(), wanted)
    assert anchors.grad.abs().max() > 0.01
    assert not any(one.requires_grad for one in (*held, *queue.buffers()))


def test_the_state_travels():
    queue, copy = filled(5), EmbeddingQueue(3, 7)
    assert copy.state_dict().keys() == {"embeddings", "labels", "count"}
    copy.load_state_dict(queue.state_dict())
    for got, wanted in zip(copy(X[5:], LABELS[5:]), queue(X[5:], LABELS[5:]), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)


def test_halves_are_kept_in_float32():
    queue = EmbeddingQueue(3, 7).bfloat16()
    held = queue(X.bfloat16(), LABELS)
    assert held.embeddings.dtype is torch.float32
    torch.testing.assert_close(held.embeddings, X.bfloat16().float()[ROWS], rtol=0, atol=0)
    torch.testing.assert_close(held.labels, LABELS[ROWS])


def test_compiled():
    queue, eager = torch.compile(EmbeddingQueue(3, 7), backend="eager"), EmbeddingQueue(3, 7)
    for rows in (slice(0, 5), slice(5, 11)):
        torch.testing.assert_close(queue(X[rows], LABELS[rows]), eager(X[rows], LABELS[rows]))


def test_no_model_file_holds_its_integers(tmp_path):
    refused = r"^model: expected floating-point weights, got integers in labels, count, "
    with pytest.raises(ValueError, match=refused):
        save_model(EmbeddingQueue(3, 7), tmp_path / "queue.safetensors")
    assert not any(tmp_path.iterdir())
