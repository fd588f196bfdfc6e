"""The one table of the layers that a model file can hold.

Everything that has to know a layer derives from its row: the checks of a file (`entries`,
`widths`, `growth`), the records of the framework packages, the table in docs/model_files.md and
the tests. docs/adding_a_layer.md says how to add a layer.
"""

from __future__ import annotations

from numpy_infer.format.row import (
    ATTENDED,
    AVERAGED,
    BROADCAST,
    CARRIED,
    CHANNELS,
    EXTENDED,
    FEATURES,
    IDS,
    JOINED,
    LOST,
    NOTHING,
    PERMUTED,
    REDUCED,
    RESHAPED,
    RESTORED,
    SCALED,
    SEQUENCE,
    SEVERAL,
    SIZED,
    SPATIAL,
    TIMES,
    UNFOLDED,
    WINDOWS,
    Names,
    Option,
    Row,
    Widths,
)

BIAS = {"bias": ("out",)}
STRIDE = {"stride": Option("sizes")}
DILATION = {"dilation": Option("sizes")}
GROUPS = {"groups": Option("count", 1, "absent where it is 1", later=True)}
ZEROS = {"padding": Option("pairs", note="of zeros to add")}
CUT = {"padding": Option("pairs", note='cut off the full output, a negative "after" extends it')}
POOL = {"size": Option("sizes"), **STRIDE, "padding": Option("pairs", note="of −∞")}
AVERAGE = {
    **POOL,
    "padding": Option("pairs"),
    "count_padding": Option("flag", note="whether padding counts in the average"),
}
KEEPDIMS = {"keepdims": Option("flag", note="(batch, channels, 1...) instead of (batch, channels)")}
EPSILON = {"epsilon": Option("number", 1e-5)}
BOUNDS = {"minimum": Option("number"), "maximum": Option("number", note="above the minimum")}
AXIS = {"axis": Option("axis", -1, "−1, or 1 for channels")}
HEADS = {
    "heads": Option("count", note="into which the features are divided"),
    "causal": Option("flag", False, "whether a query sees no key behind its time"),
}
PADDING = {
    "padding": Option("flag", False, "whether the mask marks what is left out, not what stays")
}
PADDED = {"padding": Option("flag", note="row 0 is zero and stays so")}
MOMENTUM = {"momentum": Option("share", note="of the new batch in the running statistics")}


def _convolution(space: str, options: Names, letters: tuple[str, str], widths: Widths) -> Row:
    return Row(
        "layers.convolution",
        options,
        arrays={"weight": (*letters, "*kernel"), **BIAS},
        optional=("bias",),
        takes=CHANNELS,
        axes=SPATIAL,
        space=space,
        widths=widths,
    )


def _pool(options: Names, space: str = WINDOWS, inputs: int = 1, note: str = "") -> Row:
    return Row(
        "layers.pooling",
        options,
        inputs=inputs,
        takes=CHANNELS,
        axes=SPATIAL,
        space=space,
        moves=((1, 1),),
        note=note,
    )


def _resampling(options: Names, space: str, note: str) -> Row:
    return Row(
        "layers.space",
        {
            **options,
            "mode": Option("mode", "nearest", 'or "linear"'),
            "corners": Option("flag", False, "whether the outermost places stay where they are"),
        },
        takes=CHANNELS,
        axes=SPATIAL,
        space=space,
        moves=((1, 1),),
        note=note,
    )


def _global_pool() -> Row:
    return Row(
        "layers.pooling",
        KEEPDIMS,
        takes=CHANNELS,
        gives=FEATURES,
        axes=REDUCED,
        space=LOST,
        moves=((1, 1), (1, -1)),
    )


def _activation(options: Names = NOTHING) -> Row:
    return Row("layers.activations", options)


def _recurrent(gates: str, biases: tuple[str, ...], note: str) -> Row:
    one_way: dict[str, tuple[str, ...]] = {
        "input_weight": ("in", gates),
        "hidden_weight": ("h", gates),
    }
    one_way |= dict.fromkeys(biases, (gates,))
    back = {f"backward.{name}": shape for name, shape in one_way.items()}
    return Row(
        "layers.recurrent",
        {
            "direction": Option("direction", note='"forward", "backward" or "both"'),
            "return_sequences": Option("flag"),
        },
        arrays={**one_way, **back},
        optional=(*biases, *back),
        takes=FEATURES,
        axes=SEQUENCE,
        widths=Widths(-1, "in", "h"),
        note=note,
    )


def _attention(inputs: int, options: Names, note: str, integers: tuple[int, ...] = ()) -> Row:
    return Row(
        "layers.attention",
        options,
        inputs=inputs,
        combines=ATTENDED,
        integers=integers,
        takes=FEATURES,
        note=note,
    )


def _combination(inputs: int | str = SEVERAL, note: str = "") -> Row:
    return Row("layers.combinations", inputs=inputs, combines=BROADCAST, note=note)


LAYERS: dict[str, Row] = {
    "Input": Row(inputs=0),
    "Projection": Row(
        "layers.projection",
        arrays={"weight": ("in", "out"), **BIAS},
        optional=("bias",),
        takes=FEATURES,
        widths=Widths(-1, "in", "out"),
    ),
    "Convolution": _convolution(
        WINDOWS,
        {**STRIDE, **ZEROS, **DILATION, **GROUPS},
        ("out", "in / groups"),
        Widths(1, "in / groups", "out", "groups"),
    ),
    "TransposedConvolution": _convolution(
        UNFOLDED, {**STRIDE, **CUT, **DILATION}, ("in", "out"), Widths(1, "in", "out")
    ),
    "MaxPool": _pool(POOL),
    "MaxUnpool": _pool(
        POOL, RESTORED, 2, "as its `MaxPool`; `previous`: the pooled values, the pool's input"
    ),
    "AveragePool": _pool(AVERAGE),
    "GlobalAveragePool": _global_pool(),
    "GlobalMaxPool": _global_pool(),
    "BatchNorm": Row(
        "layers.normalization",
        EPSILON,
        MOMENTUM,
        dict.fromkeys(("scale", "shift", "mean", "variance"), ("channels",)),
        widths=Widths(1, "channels", "channels"),
        note="over axis 1",
    ),
    "LayerNorm": Row(
        "layers.normalization",
        EPSILON,
        arrays={"scale": ("features",), "shift": ("features",)},
        takes=FEATURES,
        widths=Widths(-1, "features", "features"),
        note="over the last axis",
    ),
    "GroupNorm": Row(
        "layers.normalization",
        {"groups": Option("count"), **EPSILON},
        arrays={"scale": ("channels",), "shift": ("channels",)},
        widths=Widths(1, "channels", "channels"),
        note="over each group of channels, axis 1, and all places",
    ),
    "RMSNorm": Row(
        "layers.normalization",
        EPSILON,
        arrays={"scale": ("features",)},
        takes=FEATURES,
        widths=Widths(-1, "features", "features"),
        note="over the last axis",
    ),
    "Affine": Row(
        "layers.normalization",
        training={"fixed": Option("flag", note="whether training leaves its arrays alone")},
        arrays={"scale": ("channels",), "shift": ("channels",)},
        optional=("shift",),
        widths=Widths(1, "channels", "channels"),
        note="x · scale + shift, over axis 1",
    ),
    "L2Normalize": Row(
        "layers.normalization",
        {"epsilon": Option("number", 1e-12, "a floor of the norm")},
        takes=FEATURES,
        note="over the last axis",
    ),
    "Embedding": Row(
        "layers.embedding",
        training=PADDED,
        arrays={"table": ("vocabulary", "dim")},
        takes=FEATURES,
        gives=FEATURES,
        axes=IDS,
        integers=(0,),
        widths=Widths(-1, None, "dim"),
    ),
    "GRU": _recurrent(
        "3h",
        ("input_bias", "hidden_bias"),
        'both biases or neither; the arrays of `backward.` with direction "both" alone',
    ),
    "LSTM": _recurrent("4h", ("bias",), "`backward.` as for the GRU"),
    "Attention": _attention(
        3, HEADS, "`previous`: query, key, value; softmax(q·kᵀ / √d)·v in each head"
    ),
    "MaskedAttention": _attention(
        4, {**HEADS, **PADDING}, "`previous`: query, key, value, a mask of the keys", (3,)
    ),
    "PositionEmbedding": Row(
        "layers.attention",
        arrays={"table": ("positions", "dim")},
        takes=FEATURES,
        axes=TIMES,
        widths=Widths(-1, "dim", "dim"),
        note="x + table[t] at each time t",
    ),
    "TimeStep": Row(
        "layers.attention",
        {"index": Option("time", note="of the time that is taken, −1 for the last one")},
        takes=FEATURES,
        axes=SEQUENCE,
        moves=((-1, -1),),
    ),
    "MaskedMean": Row(
        "layers.attention",
        PADDING,
        inputs=2,
        combines=AVERAGED,
        integers=(1,),
        takes=FEATURES,
        note="`previous`: a sequence, a mask of its times; the mean over time",
    ),
    "Pad": Row(
        "layers.space",
        {
            "padding": Option("ends", note="to add, or below 0 to cut off"),
            "mode": Option("mode", "constant", 'or "reflect" or "edge": what is added'),
            "value": Option("number", 0.0, "of a constant; 0 otherwise"),
        },
        takes=CHANNELS,
        axes=SPATIAL,
        space=EXTENDED,
        moves=((1, 1),),
    ),
    "Upsample": _resampling(
        {"scale": Option("sizes")}, SCALED, "to so many times the size along each axis of space"
    ),
    "Resize": _resampling({"size": Option("sizes")}, SIZED, "to this size of space"),
    "Flatten": Row("layers.shape", gives=FEATURES, axes=REDUCED, space=CARRIED, moves=()),
    "Reshape": Row(
        "layers.shape",
        {"shape": Option("shape", note="of a row, one of them −1 for what is left")},
        takes=FEATURES,
        gives=FEATURES,
        axes=RESHAPED,
        space=CARRIED,
        moves=(),
        note="row after row, as the entries lie in a file",
    ),
    "Permute": Row(
        "layers.shape",
        {"order": Option("order", note="the axis that comes to each place, 1 behind the batch")},
        takes=FEATURES,
        gives=FEATURES,
        axes=PERMUTED,
        space=CARRIED,
        moves=(),
    ),
    "Slice": Row(
        "layers.shape",
        {
            "start": Option("place", note="the first that is kept"),
            "stop": Option("place", note="the first that is not"),
            **AXIS,
        },
        moves=(),
    ),
    "ChannelsFirst": Row("layers.shape", takes=FEATURES, gives=CHANNELS, moves=((-1, 1),)),
    "ChannelsLast": Row("layers.shape", takes=CHANNELS, gives=FEATURES, moves=((1, -1),)),
    "Dropout": Row(training={"rate": Option("rate")}),
    "StochasticDepth": Row(
        training={"rate": Option("rate")}, note="drops whole rows of the batch, not entries"
    ),
    "ReLU": _activation(),
    "ReLU6": _activation(),
    "Sigmoid": _activation(),
    "Tanh": _activation(),
    "SiLU": _activation(),
    "Softplus": _activation(),
    "SELU": _activation(),
    "HardSigmoid": _activation(),
    "HardSwish": _activation(),
    "Mish": _activation(),
    "LogSigmoid": _activation(),
    "Softsign": _activation(),
    "Clip": _activation(BOUNDS),
    "PReLU": Row(
        "layers.activations",
        arrays={"slope": ("channels",)},
        note="over axis 1; a single slope is that of all channels",
    ),
    "LeakyReLU": _activation({"slope": Option("number", 0.01)}),
    "ELU": _activation({"alpha": Option("number", 1.0)}),
    "GELU": _activation({"approximate": Option("flag", False, "the tanh formula")}),
    "Softmax": _activation(AXIS),
    "LogSoftmax": _activation(AXIS),
    "ScaleShift": _activation(
        {
            "scale": Option("number", 1.0, "x · scale + shift"),
            "shift": Option("number", 0.0),
        }
    ),
    "Add": _combination(),
    "Multiply": _combination(),
    "Maximum": _combination(),
    "Minimum": _combination(),
    "Average": _combination(),
    "Subtract": _combination(2, "the first less the second"),
    "Concatenate": Row("layers.combinations", AXIS, inputs=SEVERAL, combines=JOINED),
    "TopKGating": Row("top_k_gating", {"k": Option("count")}, takes=FEATURES),
}
