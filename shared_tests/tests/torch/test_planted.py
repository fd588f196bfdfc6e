"""PyTorch: the sanity checks see what is wrong, and accuse nothing that is well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytorch_impl.clustering_loss import clustering_loss
from pytorch_impl.gradient_flow import blocked_layers, gradient_flow
from pytorch_impl.neural_grammar import NeuralGrammar
from pytorch_impl.sanity_checks import (
    check_finite,
    check_gradients_reach,
    check_initial_loss,
    check_loss_moves,
    check_overfits,
    check_spread,
)
from pytorch_impl.smorms3 import SMORMS3
from pytorch_impl.top_k_gating import MixtureOfExperts
from pytorch_impl.triplet_loss import triplet_loss
from pytorch_impl.triplet_mining import batch_hard_triplets
from shared_tests.support import planted

Loss = Callable[..., Tensor]
X, LABELS = torch.tensor(planted.PIXELS), torch.tensor(planted.CLASSES)
ROWS, GROUPS = torch.tensor(planted.ROWS), torch.tensor(planted.GROUPS)
HARD_ROWS = torch.tensor(planted.HARD_ROWS)


def net(*hidden: nn.Module, width: int = 13) -> nn.Sequential:
    """A classifier of digits with these layers after the first."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(64, width), *hidden, nn.Linear(width, 10)).double()


def cross_entropy(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(model(x), labels)


def verdicts(model: nn.Module, loss: Loss, batch: Any, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "gradients": check_gradients_reach(model, loss, batch),
        "finite": check_finite(model, loss, batch),
        "overfits": check_overfits(model, loss, batch, **options),
    }
    found["flow"] = not blocked_layers([flow(model, loss, batch)], steps=1)
    return found


def flow(model: nn.Module, loss: Loss, batch: Any) -> dict[str, float]:
    model.zero_grad()
    loss(model, *batch).backward()
    return gradient_flow(model)


def losses(model: nn.Module, loss: Loss, batch: Any, optimizer: torch.optim.Optimizer) -> list:
    found = []
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(model, *batch)
        value.backward()
        optimizer.step()
        found.append(value.detach())
    return found


def hardest(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """The loss of the hardest triplets of a batch."""
    embeddings = model(x)
    anchor, positive, negative = (
        embeddings[rows] for rows in batch_hard_triplets(embeddings, labels, distance="euclidean")
    )
    return triplet_loss(anchor, positive, negative, margin=planted.MARGIN, distance="euclidean")


def collapsed() -> nn.Sequential:
    """Of what it embeds, nearly the bias alone is left."""
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)).double()
    with torch.no_grad():
        model[2].weight.mul_(1e-5)
    return model


def dead_relu() -> Any:
    model = net(nn.ReLU())
    nn.init.constant_(model[0].bias, -100)
    return {"gradients": check_gradients_reach(model, cross_entropy, (X, LABELS))}


def saturated_tanh() -> Any:
    model = net(nn.Tanh())
    nn.init.constant_(model[0].bias, 1000)
    return {"gradients": check_gradients_reach(model, cross_entropy, (X, LABELS))}


def detached_branch() -> Any:
    def loss(model: Any, x: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(model[1:](model[0](x).detach()), labels)

    return {"gradients": check_gradients_reach(net(nn.Tanh()), loss, (X, LABELS))}


def outputs_that_a_mask_hides() -> Any:
    def loss(model: Any, x: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(model(x) * torch.zeros_like(x[:, :1]), labels)

    return {"gradients": check_gradients_reach(net(nn.Tanh()), loss, (X, LABELS))}


def frozen_parameters() -> Any:
    model = net(nn.Tanh()).requires_grad_(False)
    return {"gradients": check_gradients_reach(model, cross_entropy, (X, LABELS))}


def nan_in_the_batch() -> Any:
    x = torch.where(X.max() == X, torch.nan, X)
    return {"finite": check_finite(net(nn.Tanh()), cross_entropy, (x, LABELS))}


def too_large_weights() -> Any:
    model = net(nn.Tanh())
    with torch.no_grad():
        model[2].weight.mul_(30)
    loss = cross_entropy(model, X, LABELS)
    return {"initial loss": check_initial_loss(loss, planted.CLASSES_ASKED)}


def one_input_two_labels() -> Any:
    batch = (X[:1].tile(4, 1), LABELS[:4])
    return {"overfits": check_overfits(net(nn.Tanh()), cross_entropy, batch, steps=100)}


def softmax_twice() -> Any:
    def loss(model: Any, x: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(model(x).softmax(dim=1), labels)

    return {"overfits": check_overfits(net(nn.Tanh()), loss, (X, LABELS), steps=200)}


def learning_rate_of_zero() -> Any:
    model = net(nn.Tanh())
    optimizer = torch.optim.Adam(model.parameters(), lr=0)
    return {"loss moves": check_loss_moves(losses(model, cross_entropy, (X, LABELS), optimizer))}


def collapse_to_a_point() -> Any:
    return {"spread": check_spread(collapsed()(ROWS), GROUPS)}


def hardest_triplets_at_their_margin() -> Any:
    model = collapsed()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    found = losses(model, hardest, (HARD_ROWS, GROUPS), optimizer)
    return {"loss moves": check_loss_moves(found, planted.MARGIN)}


def neural_grammar() -> Any:
    model = NeuralGrammar(5, 7, seed=1).double()
    batch = (torch.tensor(planted.VECTORS), torch.tensor(planted.BRACKETS))
    return verdicts(model, lambda model, *batch: model(*batch).loss, batch)


def experts(k: int) -> Any:
    model = MixtureOfExperts(5, 3, 3, k, seed=4).double()
    return verdicts(model, cross_entropy, (ROWS, GROUPS), lr=0.03)


def large_sparse_table() -> Any:
    torch.manual_seed(3)
    table = nn.EmbeddingBag(planted.VOCABULARY, 5, sparse=True)
    model = nn.Sequential(table, nn.Linear(5, 2))
    return verdicts(
        model, cross_entropy, (torch.tensor(planted.IDS), torch.tensor(planted.ANSWERS)), lr=0.1
    )


def clustering() -> Any:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()

    def loss(model: Any, x: Tensor) -> Tensor:
        return clustering_loss(model(x).softmax(dim=1))

    bound = -torch.log(torch.tensor(3.0)).item()
    return verdicts(model, loss, (ROWS,), lower_bound=bound, lr=0.1)


def smoothed_labels() -> Any:
    def loss(model: Any, x: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(model(x), labels, label_smoothing=planted.SMOOTHING)

    bound = planted.entropy_of_smoothed(planted.CLASSES_ASKED)
    return verdicts(net(nn.Tanh()), loss, (X, LABELS), lower_bound=bound)


def deep_net() -> Any:
    hidden = [layer for _ in range(5) for layer in (nn.Tanh(), nn.Linear(13, 13))]

    def loss(model: Any, x: Tensor, labels: Tensor) -> Tensor:
        return 1e-6 * cross_entropy(model, x, labels)

    return verdicts(net(*hidden, nn.Tanh()), loss, (X, LABELS))


def batch_normalization() -> Any:
    return verdicts(net(nn.BatchNorm1d(13), nn.ReLU()), cross_entropy, (X, LABELS))


SITUATIONS = {
    "dead relu": dead_relu,
    "saturated tanh": saturated_tanh,
    "detached branch": detached_branch,
    "outputs that a mask hides": outputs_that_a_mask_hides,
    "frozen parameters": frozen_parameters,
    "NaN in the batch": nan_in_the_batch,
    "too large weights": too_large_weights,
    "one input, two labels": one_input_two_labels,
    "softmax twice": softmax_twice,
    "learning rate of zero": learning_rate_of_zero,
    "collapse to a point": collapse_to_a_point,
    "hardest triplets at their margin": hardest_triplets_at_their_margin,
    "neural grammar": neural_grammar,
    "one expert for each row": lambda: experts(1),
    "two experts for each row": lambda: experts(2),
    "large sparse table": large_sparse_table,
    "clustering loss": clustering,
    "smoothed labels": smoothed_labels,
    "deep net, small gradients": deep_net,
    "bias before batch normalization": batch_normalization,
}


def test_all_are_planted():
    assert list(SITUATIONS) == [*planted.BAD, *planted.GOOD]


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_situation_is_judged_rightly(name):
    planted.assert_judged(name, SITUATIONS[name]())


def test_triplets_that_learn_are_not_accused():
    """The same loss from a start that is not collapsed: it moves, and the embeddings stay apart."""
    rows = torch.tensor(planted.MIXED_ROWS)
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 17), nn.Tanh(), nn.Linear(17, 3)).double()
    start = model(rows)
    optimizer = SMORMS3(model.parameters(), lr=0.01)
    assert check_loss_moves(losses(model, hardest, (rows, GROUPS), optimizer), planted.MARGIN)
    assert check_spread(model(rows), GROUPS, start=start)
