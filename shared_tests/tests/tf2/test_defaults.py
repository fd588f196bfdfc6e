"""The training of shared_tests/defaults in TensorFlow: pinned, and with Keras's own defaults.

Each run is the one that the reference makes of the same settings: so the trap that a variant is
named after is all that differs.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from shared_tests.defaults import DECAY, OPTIMIZERS, TRAP, Variant, pinned, variants
from shared_tests.defaults import reference as by_hand
from shared_tests.defaults.tf2_runs import first_arrays, run
from shared_tests.support.trap_definitions import largest_error

EXACT, FLOAT32 = 1e-8, 1e-5


def float32(number: float) -> float:
    """As Keras keeps a constant."""
    return float(np.float32(number))


# Keras corrects the bias of Adam's means with these, whatever its floatx is.
BETAS = (float32(0.9), float32(0.999))
RUNNING = {"share": 0.01, "unbiased": False}
KERAS_ADAM: dict[str, Any] = {"epsilon": 1e-7, "before_correction": True, "betas": BETAS}

# What Keras has of its own, as settings of the reference; the start is always the run's.
OWN: dict[str, dict[str, Any]] = {
    "generator": {},
    "linear-initialization": {},
    "embedding-initialization": {},
    "layer-norm-epsilon": {"layer_epsilon": 1e-3},
    "batch-norm-epsilon": {"batch_epsilon": 1e-3},
    "batch-norm-running": RUNNING,
    "default-dtypes": {},
    "sgd-rate": {"rule": by_hand.sgd(0.01)},
    "sgd-momentum": {"rule": by_hand.momentum(memory=float32(0.9), rate_inside=True)},
    "adam-epsilon": {"rule": by_hand.adam(**KERAS_ADAM)},
    "python-float": {"rule": by_hand.adam(float32(0.001), betas=BETAS)},
    "repeated-rows": {"rule": by_hand.adam(betas=BETAS), "summed": False},
    "rmsprop": {"rule": by_hand.rmsprop(0.001, memory=0.9, epsilon=1e-7, inside=True)},
    "rmsprop-epsilon": {"rule": by_hand.rmsprop(epsilon=1e-7, inside=True)},
    "adagrad": {
        "rule": by_hand.adagrad(0.001, first=float32(0.1), epsilon=1e-7, inside=True),
    },
    # Pinned, but for the betas.
    "weight-decay": {"rule": by_hand.adam(decay=DECAY, betas=BETAS)},
    "all": {
        "rule": by_hand.adam(**KERAS_ADAM),
        "layer_epsilon": 1e-3,
        "batch_epsilon": 1e-3,
        "summed": False,
        **RUNNING,
    },
}


def test_every_variant_is_here():
    assert {*map(pinned, OPTIMIZERS), *OWN} == set(variants("tf2"))


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
    assert 1e-7 < cost < 1e-6 if variant == "default-dtypes" else cost > 1e-6


def test_running_statistics_show_in_evaluation_alone():
    found, wanted = run("batch-norm-running"), run("pinned")
    assert largest_error(found["losses"], wanted["losses"]) < 1e-12


def test_starts_are_where_the_default_is():
    start = first_arrays("pinned")
    for variant, changed in {
        "linear-initialization": {"hidden.weight", "output.weight"},
        "embedding-initialization": {"table"},
        "generator": {"table", "hidden.weight", "output.weight"},
    }.items():
        own = first_arrays(variant)
        assert {name for name in own if not np.array_equal(own[name], start[name])} == changed


def test_default_dtype():
    found = {name: run(name)["losses"].dtype for name in ("pinned", "default-dtypes", "all")}
    assert found == {"pinned": "float64", "default-dtypes": "float32", "all": "float32"}


def test_keras_is_left_as_it_was():
    run("pinned")
    assert keras.config.floatx() == keras.config.dtype_policy().name == "float32"
