"""Which axes layers take and give, and in which layout: what the frameworks ask of the format."""

import pytest

from numpy_infer.format.axes import fewest, gives, ranks, takes
from numpy_infer.format.vocabulary import LAYERS

KEPT = ("same", None)
# layer, options: its input's layout, its output's after "channels", axes in and out, fewest axes
ROWS = [
    ("Reshape", {"shape": [2, -1, 3]}, "features", "features", (None, 4), None),
    ("Permute", {"order": [2, 1]}, "features", "features", (3, 3), 3),
    ("Slice", {"axis": 1}, None, "channels", KEPT, None),
    ("Slice", {"axis": -1}, "features", "channels", KEPT, None),
    ("Projection", {}, "features", "channels", KEPT, None),
    ("Convolution", {"stride": [2, 1]}, "channels", "channels", (4, 4), 4),
    ("Pad", {"padding": [[1, -1], [0, 2]]}, "channels", "channels", (4, 4), 4),
    ("Upsample", {"scale": [2]}, "channels", "channels", (3, 3), 3),
    ("Resize", {"size": [2, 7]}, "channels", "channels", (4, 4), 4),
    ("MaxPool", {"stride": [2]}, "channels", "channels", (3, 3), 3),
    ("GlobalMaxPool", {"keepdims": False}, "channels", "features", (None, 2), 3),
    ("GlobalMaxPool", {"keepdims": True}, "channels", "channels", KEPT, 3),
    ("BatchNorm", {}, None, "channels", KEPT, None),
    ("Embedding", {}, "features", "features", ("grown", None), None),
    ("GRU", {"return_sequences": True}, "features", "channels", (3, 3), 3),
    ("GRU", {"return_sequences": False}, "features", "channels", (3, 2), 3),
    ("Flatten", {}, None, "features", (None, 2), 3),
    ("ChannelsFirst", {}, "features", "channels", KEPT, None),
    ("ChannelsLast", {}, "channels", "features", KEPT, None),
    ("Softmax", {"axis": -1}, "features", "channels", KEPT, None),
    ("Softmax", {"axis": 1}, None, "channels", KEPT, None),
    ("title_encoder.BagOfTitles", {}, None, "channels", KEPT, None),  # a component
]


@pytest.mark.parametrize(("name", "config", "taken", "given", "axes", "least"), ROWS)
def test_axes(name, config, taken, given, axes, least):
    assert name in LAYERS or "." in name
    assert takes(name, config) == taken
    assert gives(name, config, "channels") == given
    assert ranks(name, config) == axes
    assert fewest(name, config) == least
