"""Which rows are of one class: by one label, by several, and as the caller says."""

import importlib

import numpy as np
import pytest

from shared_tests.repository import PACKAGES

NUMBERS = np.array([3, 1, 3, 2, 1])
OTHERS = np.array([1, 3, 7])
# Row 0 shares a label with row 1 and row 1 with row 2, but row 0 none with row 2; row 3 has none.
SEVERAL = np.array([[1, 0, 0, 1], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]], bool)
SAME = np.arange(15).reshape(5, 3) % 2 == 0


@pytest.fixture
def relation(framework_name):
    """(labels, reference labels, same) as arrays → whether the rows are of one class."""
    module = importlib.import_module(f"{PACKAGES[framework_name]}.support.labels")
    native, plain = {
        "torch": lambda: (importlib.import_module("torch").tensor, np.asarray),
        "tf2": lambda: (importlib.import_module("tensorflow").constant, np.asarray),
        "theano": lambda: (
            importlib.import_module("theano.tensor").constant,
            lambda x: x.eval(),
        ),
    }[framework_name]()

    def found(labels, same, rows, reference_labels=None, reference_rows=None):
        given = (None if x is None else native(x) for x in (labels, same, reference_labels))
        labels, same, reference_labels = given
        labels, reference_labels, same = module.checked_relation(
            labels, same, rows, reference_labels, reference_rows
        )
        return plain(module.same_label(labels, reference_labels) if same is None else same)

    return found


def test_one_label(relation):
    np.testing.assert_array_equal(relation(NUMBERS, None, 5), NUMBERS[:, None] == NUMBERS)
    wanted = NUMBERS[:, None] == OTHERS
    np.testing.assert_array_equal(relation(NUMBERS, None, 5, OTHERS, 3), wanted)


def test_several_labels(relation):
    wanted = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]], bool)
    np.testing.assert_array_equal(relation(SEVERAL, None, 4), wanted)
    np.testing.assert_array_equal(relation(SEVERAL, None, 4, SEVERAL[1:3], 2), wanted[:, 1:3])


def test_as_the_caller_says(relation):
    np.testing.assert_array_equal(relation(None, SAME, 5, None, 3), SAME)


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ((None, None, 5), ValueError, "labels"),
        ((NUMBERS, SAME, 5, None, 3), ValueError, "same"),
        ((NUMBERS / 2, None, 5), TypeError, "labels"),
        ((NUMBERS > 1, None, 5), TypeError, "labels"),
        ((NUMBERS[:, None], None, 5), ValueError, "labels"),
        ((NUMBERS, None, 4), ValueError, "labels"),
        ((SEVERAL, None, 3), ValueError, "labels"),
        ((NUMBERS, None, 5, OTHERS, 2), ValueError, "reference_labels"),
        ((NUMBERS, None, 5, OTHERS.astype("int32"), 3), TypeError, "reference_labels"),
        ((NUMBERS, None, 5, SEVERAL, 4), TypeError, "reference_labels"),
        ((SEVERAL, None, 4, SEVERAL[:, :3], 4), ValueError, "reference_labels"),
        ((None, SAME * 1, 5, None, 3), TypeError, "same"),
        ((None, SAME[0], 5, None, 3), ValueError, "same"),
        ((None, SAME, 4, None, 3), ValueError, "same"),
        ((None, SAME, 5), ValueError, "same"),
    ],
)
def test_what_is_refused(relation, arguments, error, name):
    with pytest.raises((error, AssertionError), match=f"^{name}: expected "):
        relation(*arguments)
