"""The definitions that rounding could spoil agree with the same formulas in 50 digits."""

import mpmath
import numpy as np
import pytest

from fourfold.agreement import VALUE_TOLERANCE, error
from shared_tests.components import soft_nearest_neighbor_loss as soft

mpmath.mp.dps = 50


@pytest.mark.parametrize(
    ("inputs", "temperature"),
    [
        (soft.BATCH, 1.0),
        (soft.DIGITS, 2.0),
        (soft.BATCH, 1e9),
        (soft.BATCH, 1e-6),
        (soft.FAR, 1e-2),
        (soft.SIMPLEX, 1e-2),
    ],
    ids=["ordinary", "digits", "huge temperature", "tiny temperature", "far apart", "simplex"],
)
def test_soft_nearest_neighbor_loss(inputs, temperature):
    got = soft.soft_nearest_neighbor_loss(**inputs, temperature=temperature, reduction="none")
    wanted = plain_ratio(**inputs, temperature=temperature)
    assert error(got, wanted) <= VALUE_TOLERANCE["layer", "float64"]


def plain_ratio(embeddings, labels, temperature):
    """−log of a ratio of sums, which float64 would make 0/0 of, in numbers of any exponent."""
    points = [mpmath.matrix(row.tolist()) for row in embeddings]
    temperature = mpmath.mpf(temperature)
    losses = []
    for i, anchor in enumerate(points):
        others = [j for j in range(len(points)) if j != i]
        closeness = {
            j: mpmath.exp(-mpmath.fsum(points[j] - anchor, squared=True) / temperature)
            for j in others
        }
        partners = [closeness[j] for j in others if labels[j] == labels[i]]
        share = mpmath.fsum(partners) / mpmath.fsum(closeness.values())
        losses.append(-mpmath.log(share) if partners else mpmath.mpf(0))
    return np.array([float(loss) for loss in losses])
