"""The training of shared_tests/defaults in Theano: pinned, and with Theano's own defaults.

Each run is the one that the reference makes of the same settings: so the trap that a variant is
named after is all that differs.
"""

from __future__ import annotations

from typing import Any

import pytest

from shared_tests.defaults import OPTIMIZERS, TRAP, Variant, pinned, variants
from shared_tests.defaults import reference as by_hand
from shared_tests.defaults.theano_runs import run
from shared_tests.support.trap_definitions import largest_error

EXACT = 1e-8

# What Theano has of its own, as settings of the reference.
OWN: dict[str, dict[str, Any]] = {
    "batch-norm-epsilon": {"batch_epsilon": 1e-4},
    "all": {"batch_epsilon": 1e-4},
}
# What Theano does by itself is what is pinned.
SAME = ("batch-norm-running", "default-dtypes")


def test_every_variant_is_here():
    assert {*map(pinned, OPTIMIZERS), *OWN, *SAME} == set(variants("theano"))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_pinned(optimizer):
    found, wanted = run(pinned(optimizer)), by_hand.train(by_hand.PINNED[optimizer])
    for name in ("losses", "evaluation"):
        assert largest_error(found[name], wanted[name]) <= EXACT, name


@pytest.mark.parametrize("variant", OWN)
def test_own_default(variant):
    settings = {"rule": by_hand.PINNED[Variant(variant).optimizer], **OWN[variant]}
    found, wanted = run(variant), by_hand.train(**settings)
    for name in ("losses", "evaluation"):
        assert largest_error(found[name], wanted[name]) <= EXACT, name
    cost = largest_error(*(one[TRAP[variant].shown] for one in (found, run(TRAP[variant].pinned))))
    assert cost > 1e-6


@pytest.mark.parametrize("variant", SAME)
def test_default_is_the_pinned_one(variant):
    for name, losses in run(TRAP[variant].pinned).items():
        assert largest_error(run(variant)[name], losses) < 1e-12, name
