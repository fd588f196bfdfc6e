"""SMORMS3's definition agrees with the published rule, written again in numbers of 50 digits."""

import mpmath
import numpy as np
import pytest

from fourfold.agreement import VALUE_TOLERANCE, error
from shared_tests.components import smorms3
from shared_tests.fixtures import normal

STEPS = 20
SCALES = [1.0, 1e-9, 1e9, 0.0]


def published_rule(parameter, gradients, lr=0.0025, epsilon=1e-16):
    """The parameter, mem, g and g2 of one entry, after all steps, in the letters of Funk's page."""
    with mpmath.workdps(50):
        w, lr, epsilon = mpmath.mpf(float(parameter)), mpmath.mpf(lr), mpmath.mpf(epsilon)
        mem, g, g2 = mpmath.mpf(1), mpmath.mpf(0), mpmath.mpf(0)
        for gradient in map(mpmath.mpf, map(float, gradients)):
            r = 1 / (mem + 1)
            g = (1 - r) * g + r * gradient
            g2 = (1 - r) * g2 + r * gradient**2
            mem = 1 + mem * (1 - g * g / (g2 + epsilon))
            w = w - gradient * min(lr, g * g / (g2 + epsilon)) / (mpmath.sqrt(g2) + epsilon)
        return [float(one) for one in (w, mem, g, g2)]


def published(parameter, gradients, **options):
    """The same for every entry of an array: {name: array}."""
    flat = gradients.reshape(len(gradients), -1).T
    rows = [published_rule(*pair, **options) for pair in zip(parameter.flat, flat, strict=True)]
    names = ("parameter", "memory", "gradient", "square")
    columns = np.array(rows).T.reshape(4, *parameter.shape)
    return dict(zip(names, columns, strict=True))


@pytest.mark.parametrize("lr", [0.0025, 0.3])
@pytest.mark.parametrize("scale", SCALES)
def test_definition_is_the_published_rule(scale, lr):
    parameter, gradients = normal(3, 5, seed=1), scale * normal(STEPS, 3, 5, seed=2)
    got = smorms3.smorms3(parameter, gradients, lr=lr)
    for name, wanted in published(parameter, gradients, lr=lr).items():
        assert error(got[name], wanted) <= VALUE_TOLERANCE["layer", "float64"], name


def test_a_moved_epsilon_is_seen():
    parameter, gradients = normal(3, 5, seed=1), 1e-9 * normal(STEPS, 3, 5, seed=2)
    got = smorms3.smorms3(parameter, gradients, epsilon=1e-17)
    wanted = published(parameter, gradients)
    assert error(got["parameter"], wanted["parameter"]) > 1e-4
