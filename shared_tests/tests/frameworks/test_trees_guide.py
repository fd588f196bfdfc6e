"""The trainings of docs/trees.md run as they stand, and find the bracketings they were given."""

import re

import numpy as np

from shared_tests.support.sources import ROOT

TITLES = {"torch": "# PyTorch", "tf2": "# TensorFlow", "theano": "# Theano:"}
WANTED = [[[0, 1], [2, 3], [0, 3]], [[0, 1]], [[1, 2], [0, 2]]]


def test_a_training_on_a_batch_of_trees(framework_name):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/trees.md").read_text(), re.DOTALL)
    (code,) = [block for block in blocks if block.startswith(TITLES[framework_name])]
    names = {"__name__": "__main__"}
    exec(code, names)
    assert names["losses"][0] > names["losses"][-1] == 0
    found = np.asarray(names["found"])
    for tree, wanted in zip(found, WANTED, strict=True):
        assert sorted(tree[: len(wanted)].tolist()) == sorted(wanted)
        assert (tree[len(wanted) :] == -1).all()
