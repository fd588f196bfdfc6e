"""The training of shared_tests/defaults in PyTorch: pinned, and with PyTorch's own defaults.

Each run is the one that the reference makes of the same settings: so the trap that a variant is
named after is all that differs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from shared_tests.defaults import DECAY, OPTIMIZERS, TRAP, TRAPS, Variant, pinned, variants
from shared_tests.defaults import reference as by_hand
from shared_tests.defaults.plots import costs, legend, panels
from shared_tests.defaults.torch_runs import first_arrays, network, run
from shared_tests.support.trap_definitions import largest_error

EXACT, FLOAT32 = 1e-8, 1e-5

# What PyTorch has of its own, as settings of the reference; the start is always the run's.
OWN: dict[str, dict[str, Any]] = {
    "generator": {},
    "linear-initialization": {},
    "embedding-initialization": {},
    "default-dtypes": {},
    "sgd-rate": {"rule": by_hand.sgd(0.001)},
    "adam-epsilon": {"rule": by_hand.adam(epsilon=1e-8)},
    "weight-decay": {"rule": by_hand.adam(penalty=DECAY)},
    "all": {"rule": by_hand.adam(epsilon=1e-8)},
}
# What costs less than 1e-6.
SMALL = ("default-dtypes", "adam-epsilon")
# What PyTorch does by itself is what is pinned.
SAME = (
    "layer-norm-epsilon",
    "batch-norm-epsilon",
    "batch-norm-running",
    "sgd-momentum",
    "python-float",
    "repeated-rows",
    "rmsprop",
    "rmsprop-epsilon",
    "adagrad",
)


def test_every_variant_is_here():
    assert {*map(pinned, OPTIMIZERS), *OWN, *SAME} == set(variants("torch"))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_pinned(optimizer):
    found, wanted = run(pinned(optimizer)), by_hand.train(by_hand.PINNED[optimizer])
    for name in ("losses", "evaluation"):
        assert largest_error(found[name], wanted[name]) <= EXACT, name


@pytest.mark.parametrize("variant", OWN)
def test_own_default(variant):
    settings = {"rule": by_hand.PINNED[Variant(variant).optimizer], **OWN[variant]}
    found, wanted = run(variant), by_hand.train(begin=first_arrays(variant), **settings)
    bound = FLOAT32 if variant in ("default-dtypes", "all") else EXACT
    for name in ("losses", "evaluation"):
        assert largest_error(found[name], wanted[name]) <= bound, name
    cost = largest_error(*(one[TRAP[variant].shown] for one in (found, run(TRAP[variant].pinned))))
    assert 1e-7 < cost < 1e-6 if variant in SMALL else cost > 1e-6


@pytest.mark.parametrize("variant", SAME)
def test_default_is_the_pinned_one(variant):
    for name, losses in run(TRAP[variant].pinned).items():
        assert largest_error(run(variant)[name], losses) < 1e-12, name


def test_starts_are_where_the_default_is():
    start = first_arrays("pinned")
    for variant, changed in {
        "linear-initialization": {"hidden.weight", "hidden.bias", "output.weight", "output.bias"},
        "embedding-initialization": {"table"},
        "generator": {"table", "hidden.weight", "output.weight"},
    }.items():
        own = first_arrays(variant)
        assert {name for name in own if not np.array_equal(own[name], start[name])} == changed


def test_default_dtype():
    dtypes = {name: network(Variant(name)).output.weight.dtype for name in ("pinned", "all")}
    assert dtypes == {"pinned": torch.float64, "all": torch.float32}


def moved(losses: np.ndarray) -> np.ndarray:
    """Another framework's losses: 0.002 higher from step 7, 0.003 at the last."""
    return losses + 0.002 * (np.arange(len(losses)) >= 6) + 0.001 * (losses == losses[-1])


@pytest.fixture(scope="module")
def results():
    return {
        "torch": {name: run(name) for name in variants("torch")},
        "tf2": {
            name: {kind: moved(losses) for kind, losses in run(name).items()}
            for name in ("pinned", "pinned adam", "sgd-rate", "adam-epsilon")
        },
    }


def test_costs(results):
    rows = {row["trap"]: row for row in costs(results)}
    assert list(rows) == list(TRAP)
    row = rows["sgd-rate"]
    assert row["difference"] == pytest.approx(0.003, rel=1e-9)
    assert row["step"] == 7
    assert row["from_pinned"]["torch"] == pytest.approx(2.42, abs=0.01)
    assert row["final"]["tf2"] == pytest.approx(row["final"]["torch"] + 0.003, rel=1e-9)
    assert rows["rmsprop"]["difference"] is None
    assert rows["rmsprop"]["step"] == "never"
    assert [row["trap"] for row in costs({"theano": {"pinned": run("pinned")}})] == []


def test_panels(results):
    drawn = panels(results)
    assert [*drawn] == [trap.title for trap in TRAPS]
    (panel,) = drawn["learning rate of SGD"].axes
    assert panel.get_title(loc="left") == "learning rate of SGD"
    styles = {entry.label: (entry.color, entry.width) for entry in legend(results)}
    drawn_styles = [(line.get_color(), line.get_linewidth()) for line in panel.lines]
    assert set(drawn_styles) <= set(styles.values())
    curves = [run("sgd-rate")["losses"], moved(run("sgd-rate")["losses"]), run("pinned")["losses"]]
    for line, curve in zip(panel.lines, curves, strict=True):
        assert np.array_equal(line.get_ydata(), curve)
    assert [text.get_text() for text in panel.texts] == ["up to 0.003 apart"]
