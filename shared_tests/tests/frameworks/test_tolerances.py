"""How wide the tolerance of equal distances is, seen from outside."""

import numpy as np
import pytest

from fourfold.backends import backend
from fourfold.definition import Case

EPS = np.finfo("float64").eps


@pytest.mark.parametrize("block_size", [16, 4096])
def test_a_margin_that_is_met_to_within_rounding_is_met(framework_name, block_size):
    """Candidates a rounding apart below d(a, p) + margin = 2: those beyond the tolerance violate.

    The tolerance is 32 roundings of four times the largest squared distance to the pool's center,
    here the anchor's.
    """
    steps = np.arange(0, 4000, 8) * EPS
    at_margin = np.sqrt(2 - steps)[:, None]
    pool = np.concatenate([at_margin, np.full((500, 1), 3.0)])
    case = Case(
        "at the margin",
        {"anchor": np.zeros((1, 1)), "positive": np.ones((1, 1)), "pool": pool},
        {"margin": 1.0, "distance": "sqeuclidean", "block_size": block_size},
    )
    found, _ = backend(framework_name).run("triplet_mining", "margin_violators", case, False)
    center = pool.mean()
    tolerance = 32 * EPS * 4 * max(center**2, (3 - center) ** 2)
    candidates = np.concatenate([np.ravel(one) for one in found.values()])
    count = int(np.sum(steps > tolerance))
    assert 300 < count < 450  # of the 500 at the margin
    # The squares of rounded roots are a few roundings off.
    assert abs(len(candidates) // 2 - count) <= 2
