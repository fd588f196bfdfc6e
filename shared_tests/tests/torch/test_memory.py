"""The rare event memory's own ways in PyTorch: buffers that change, and a source of noise."""

import copy

import numpy as np
import pytest
import torch

from pytorch_impl import interchange
from pytorch_impl.rare_event_memory import RULES, RareEventMemory, updated_memory
from shared_tests.components.rare_event_memory import DIGITS, LABELS, PIXELS, QUERIES, STATE

queries, labels = torch.from_numpy(QUERIES), torch.tensor(LABELS)


def memory(**options) -> RareEventMemory:
    return interchange.from_arrays("rare_event_memory", {"size": 11, "dim": 5, **options}, STATE)


@pytest.mark.parametrize("rule", RULES)
def test_update_changes_the_buffers(rule):
    model = memory(rule=rule)
    wanted = updated_memory(queries, labels, *model.memory, rule=rule)
    kept = model.keys
    model.update(queries, labels)
    assert model.keys is kept
    for got, one in zip(model.memory, wanted, strict=True):
        assert torch.equal(got, one)
    assert list(model.state_dict()) == ["keys", "labels", "ages"]
    assert not list(model.parameters())


def test_noise_comes_from_the_seed():
    ages = []
    for seed in (1, 1, 2):
        model = memory(rule="circular", age_noise=20.0, seed=seed)
        copy.deepcopy(model).update(queries, labels)
        model.update(queries, labels)
        ages.append(model.ages)
    assert torch.equal(ages[0], ages[1])
    assert not torch.equal(ages[0], ages[2])


def test_a_memory_fills_up_and_names_its_orphans():
    model = RareEventMemory(5, 64)
    pixels = torch.from_numpy(PIXELS).float()
    assert model(pixels).labels.tolist() == [-1] * len(pixels)
    model.update(pixels[:3], torch.from_numpy(DIGITS[:3]))
    assert model(pixels[:3]).labels.tolist() == DIGITS[:3].tolist()
    assert model(pixels[:3]).slots.tolist() == [0, 1, 2]
    for _ in range(2):
        model.update(pixels[:1], torch.from_numpy(DIGITS[:1]))
    assert model.orphans(2).tolist() == [1, 2]
    assert model.orphans(3).tolist() == []
    assert torch.equal(model.augment(pixels), model(pixels).augmented)


def test_loss_moves_the_queries_to_their_labels():
    model, moving = memory(margin=0.2), queries.clone().requires_grad_()
    optimizer = torch.optim.Adam([moving], lr=0.1)
    start = model.loss(moving, labels).item()
    for _ in range(100):
        optimizer.zero_grad()
        loss = model.loss(moving, labels)
        loss.backward()
        optimizer.step()
    assert start > 0.1
    assert loss.item() < start / 100
    np.testing.assert_array_equal(model(moving).labels, LABELS)
