"""The examples of the tour run as they stand."""

import re
from pathlib import Path

import numpy as np

TOUR = Path(__file__).parents[3] / "docs" / "tour.md"
TITLES = {"torch": "# PyTorch", "tf2": "# TensorFlow", "theano": "# Theano", "numpy": "# NumPy"}


def test_example_runs(backend_name):
    blocks = re.findall(r"```python\n(.*?)```", TOUR.read_text(), re.DOTALL)
    (code,) = [block for block in blocks if block.startswith(TITLES[backend_name])]
    names = {"arrays": {"table": np.random.default_rng(1).normal(size=(1000, 64))}}
    exec(code, names)
    vectors = names["vectors"]
    vectors = vectors.detach() if hasattr(vectors, "detach") else vectors
    assert vectors.shape == (3, 64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=0, atol=1e-6)
