"""Model files that are wrong in what they say, each in one way, with what the refusal says.

The readers of NumPy and of the browser are held to them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from shared_tests.model_files.graphs import SIAMESE, Graph, graph
from shared_tests.model_files.samples import (
    SAMPLES,
    Sample,
    arrays,
    chain,
    frame,
    pack,
    seal,
    unpack,
    write_unchecked,
)

# 5 features to 3 to 2: 1.weight (5, 3), 1.bias (3,), 3.weight (3, 2), 116 bytes of float32.
SMALL = Sample(
    "chain",
    chain(("Projection", {}), ("ReLU", {}), ("Projection", {})),
    arrays(p1_weight=(5, 3), p1_bias=(3,), p3_weight=(3, 2)),
    np.ones((2, 5), np.float32),
)


NESTED = b"[" * 100_000 + b"]" * 100_000
DIGITS = b"9" * 1_000_000
ENTRY = b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
HEADERS: dict[str, tuple[Any, ...]] = {
    "nested lists": (b'{"a":' + NESTED + b"}", "nested less deeply"),
    "nested objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested less deeply"),
    "nested too deep to show": (b'{"a":' + b"[" * 900 + b"]" * 900 + b"}", "expected|recursion"),
    "open brackets": (b'{"a":' + b"[" * 100_000, "nested less deeply"),
    "a million digits": (b'{"a":' + DIGITS + b"}", "in JSON, got Exceeds"),
    "a million digits after the point": (b'{"a":0.' + DIGITS + b"}", "array 'a'"),
    "NaN": (b'{"a":NaN}', "in JSON, got NaN"),
    "infinity of digits": (b'{"a":1e999}', "array 'a'"),
    "infinity": (b'{"a":-Infinity}', "in JSON, got -Infinity"),
    "array twice": (b'{"a":' + ENTRY + b',"a":' + ENTRY + b"}", "given twice"),
    "metadata twice": (b'{"__metadata__":{},"__metadata__":{}}', "given twice"),
    "not UTF-8": (b'{"\xff\xfe":' + ENTRY + b"}", "in UTF-8"),
    "UTF-16": (('{"a":' + ENTRY.decode() + "}").encode("utf-16-le"), "in JSON"),
    "encoded surrogate": (b'{"\xed\xa0\x80":' + ENTRY + b"}", "in UTF-8"),
    "escaped surrogate": (b'{"\\ud800":' + ENTRY + b"}", "surrogates not allowed"),
    "text after it": (b'{"a":' + ENTRY + b"} {}", "in JSON, got Extra data"),
    "metadata that is a list": (b'{"__metadata__":[]}', "hold text alone"),
    "metadata that is a number": (b'{"__metadata__":{"fourfold":1}}', "hold text alone"),
    "no metadata": (b'{"a":' + ENTRY + b"}", "holds arrays, no model"),
    "other metadata": (b'{"__metadata__":{"format":"pt"},"a":' + ENTRY + b"}", "no model"),
    "description no JSON": (b'{"__metadata__":{"fourfold":"x"},"a":' + ENTRY + b"}", "in JSON"),
    "description a list": (b'{"__metadata__":{"fourfold":"[]"},"a":' + ENTRY + b"}", "an object"),
    "nested description": (
        b'{"__metadata__":{"fourfold":"' + NESTED + b'"},"a":' + ENTRY + b"}",
        "the metadata's 'fourfold' nested less deeply",
    ),
    "description of a million digits": (
        b'{"__metadata__":{"fourfold":"' + DIGITS + b'"},"a":' + ENTRY + b"}",
        "the metadata's 'fourfold' in JSON, got Exceeds",
    ),
    "key twice in the description": (
        b'{"__metadata__":{"fourfold":"{\\"version\\":1,\\"version\\":1}"},"a":' + ENTRY + b"}",
        "given twice",
    ),
    "surrogate in the description": (
        b'{"__metadata__":{"fourfold":"{\\"\\\\ud800\\":1}"},"a":' + ENTRY + b"}",
        "surrogates not allowed",
    ),
}


def change_array(name="1.weight", **fields):
    return lambda header, description: header[name].update(fields)


def change_place(place, **fields):
    return lambda header, description: description["config"]["layers"][place].update(fields)


def space(layer, **changes):
    """In the place of the ReLU a layer that changes the size of space."""
    usual = {
        "Pad": {"padding": [[1, 1]], "mode": "constant", "value": 0.0},
        "Upsample": {"scale": [2], "mode": "nearest", "corners": False},
        "Resize": {"size": [2], "mode": "nearest", "corners": False},
    }
    return change_place(2, layer=layer, config=usual[layer] | changes)


def change(**fields):
    return lambda header, description: description.update(fields)


def change_config(**fields):
    return lambda header, description: description["config"].update(fields)


def remove(name):
    """Takes an array out; what is behind it moves up."""

    def edit(header, description):
        begin, end = header.pop(name)["data_offsets"]
        for entry in header.values():
            if entry["data_offsets"][0] >= end:
                entry["data_offsets"] = [at - end + begin for at in entry["data_offsets"]]
        return begin, end

    return edit


def rename(old, new):
    def edit(header, description):
        header[new] = header.pop(old)

    return edit


# (what is done to the header and the description, what the message says); sealed again
EDITS: dict[str, tuple[Any, ...]] = {
    # shapes, types and places of arrays
    "product that overflows": (change_array(shape=[2**32, 2**32, 2**32]), "bytes for shape"),
    "product that overflows to the right size": (change_array(shape=[2**47, 2**17]), "bytes for"),
    "negative axes": (change_array(shape=[-5, -3]), "expected a shape"),
    "axes that are floats": (change_array(shape=[5.0, 3.0]), "expected a shape"),
    "an axis that is true": (change_array(shape=[15, True]), "expected a shape"),
    "an axis of 10^18": (change_array(shape=[10**18]), "expected a shape"),
    "axes of 10^18 times none": (change_array(shape=[10**18, 0]), "expected a shape"),
    "a thousand axes": (change_array(shape=[1] * 998 + [5, 3]), "expected a shape"),
    "an axis of none": (change_array(shape=[5, 0, 3]), "bytes for shape"),
    "shape that is text": (change_array(shape="53"), "expected a shape"),
    "shape that is none": (change_array(shape=None), "expected a shape"),
    "no shape": (lambda h, d: h["1.weight"].pop("shape"), "expected dtype, shape and"),
    "one field too many": (change_array(stride=1), "expected dtype, shape and data_offsets"),
    "entry that is a list": (lambda h, d: h.update({"1.weight": []}), "expected dtype, shape"),
    "other shape of the same size": (change_array(shape=[3, 5]), "layer 1 .*bias"),
    "flat": (change_array(shape=[15]), r"layer 1 \(Projection\): weight: expected 2 axes"),
    "unknown type": (change_array(dtype="F33"), "expected one of F64"),
    "type that is a number": (change_array(dtype=32), "expected one of F64"),
    "type that is a long text": (change_array(dtype="F" * 10**6), "expected one of F64"),
    "bfloat": (change_array(dtype="BF16", shape=[5, 6]), "expected one of F64"),
    "half": (change_array(dtype="F16", shape=[5, 6]), "expected float32 or float64 through"),
    "whole numbers": (change_array(dtype="I32"), "expected float32 or float64 throughout"),
    "mixed": (change_array("3.weight", dtype="F64", shape=[3, 1]), "got float32, float64"),
    "offsets of one number": (change_array(data_offsets=[60]), "two data_offsets"),
    "offsets that are floats": (change_array(data_offsets=[0.0, 60.0]), "two data_offsets"),
    "offsets that are negative": (change_array(data_offsets=[-60, 0]), "two data_offsets"),
    "offsets that fall": (change_array(data_offsets=[60, 0]), "bytes for shape"),
    "offsets of 2^63": (change_array(data_offsets=[2**63, 2**63 + 60]), "two data_offsets"),
    "offsets far away": (change_array(data_offsets=[2**62, 2**62 + 60]), "to begin at byte 0"),
    "overlap": (change_array("1.bias", data_offsets=[48, 60]), "to begin at byte 60, got 48"),
    "same place twice": (change_array("1.bias", data_offsets=[0, 12]), "to begin at byte"),
    "hole": (change_array("3.weight", data_offsets=[76, 100]), "to begin at byte 72, got 76"),
    "past the end": (change_array("3.weight", shape=[3, 3], data_offsets=[72, 108]), "108 bytes"),
    "bytes of no array": (lambda h, d: h.pop("3.weight"), "expected 72 bytes of arrays, got 96"),
    # the description
    "version 2": (change(version=2), "version: expected 1, got 2"),
    "version 0": (change(version=0), "version: expected 1, got 0"),
    "version that is text": (change(version="1"), "version: expected 1, got '1'"),
    "version that is true": (change(version=True), "version: expected 1, got True"),
    "version that is a float": (change(version=1.0), "version: expected 1, got 1.0"),
    "no version": (lambda h, d: d.pop("version"), "version: expected 1, got None"),
    "no component": (lambda h, d: d.pop("component"), "expected version, component and config"),
    "no config": (lambda h, d: d.pop("config"), "expected version, component and config"),
    "one key too many": (change(code="import os"), "expected version, component and config"),
    "component that is a number": (change(component=3), "component as text"),
    "config that is a list": (change(config=[]), "config as an object"),
    "component os.system": (change(component="os.system"), "layer: expected one of"),
    "component os.System": (change(component="os.System"), "expected one that infers"),
    "component ..": (change(component=".."), "layer: expected one of"),
    "component ../../x.Y": (change(component="../../x.Y"), "layer: expected one of"),
    "component numpy_infer.__main__": (change(component="numpy_infer.__main__"), "expected one of"),
    "component __main__.Converted": (change(component="__main__.Converted"), "expected one of"),
    "component of two files": (change(component="layer.layer.Layer"), "expected one of"),
    "component layer.Layer": (change(component="layer.Layer"), "expected one that infers"),
    "component of a chain": (change(component="projection.Projection"), "one that infers"),
    "component that is a function": (change(component="model_file.Model"), "one that infers"),
    "component of nothing": (change(component=""), "layer: expected one of"),
    "component with a newline": (change(component="a.B\n"), "layer: expected one of"),
    "other config": (change_config(seed=1), "config: expected a list of layers"),
    "no layers": (change_config(layers=[]), "config: expected a list of layers"),
    "the input alone": (
        change_config(layers=chain()["layers"]),
        "a layer after the input, got none",
    ),
    "layers that are text": (change_config(layers="Input"), "config: expected a list of layers"),
    "layers that are numbers": (change_config(layers=[1, 2]), "before its name|expected layer"),
    "one layer less": (lambda h, d: d["config"]["layers"].pop(), "expected a place in 0..2"),
    # entries of a chain
    "unknown layer": (
        change_place(2, layer="Quadratic"),
        r"layer 2 \(Quadratic\): layer: expected one of",
    ),
    "layer os.system": (change_place(2, layer="os.system"), r"layer 2 .*expected one of"),
    "layer ..": (change_place(2, layer=".."), r"layer 2 .*expected one of"),
    "layer numpy_infer.__main__": (change_place(2, layer="numpy_infer.__main__"), "expected one"),
    "layer Layer": (change_place(2, layer="Layer"), r"layer 2 .*expected one of"),
    "layer that is a number": (change_place(2, layer=2), "layer 2: expected Input first"),
    "layer that is a long text": (change_place(2, layer="x" * 10**6), "expected one of"),
    "a second input": (change_place(2, layer="Input"), "layer 2: expected Input first"),
    "no input": (change_place(0, layer="ReLU"), "layer 0: expected Input first"),
    "input with a config": (change_place(0, config={"a": 1}), r"layer 0 \(Input\)"),
    "entry without config": (
        lambda h, d: d["config"]["layers"][2].pop("config"),
        "layer 2: expected layer, previous and config",
    ),
    "entry with more": (change_place(2, code="1"), "layer 2: expected layer, previous and config"),
    "config that is no object": (change_place(2, config=[]), r"layer 2 \(ReLU\): config"),
    "unknown config": (change_place(2, config={"slope": 1}), r"layer 2 \(ReLU\): config: .*slope"),
    "config named as an array": (
        change_place(3, config={"weight": [[1.0]]}),
        r"layer 3 \(Projection\): config: expected none, got weight",
    ),
    "config named previous": (change_place(3, config={"previous": 1}), "expected none, got prev"),
    "config named self": (change_place(3, config={"self": 1}), "expected none, got self"),
    "training of nothing": (change_place(2, training={"rate": 1}), "training: expected nothing"),
    "training that is a list": (change_place(2, training=[]), "training: expected nothing"),
    # the graph
    "forward reference": (change_place(1, previous=[2]), r"layer 1 .*earlier places, got \[2\]"),
    "cycle of one": (change_place(2, previous=[2]), r"layer 2 .*earlier places, got \[2\]"),
    "place that is negative": (change_place(2, previous=[-1]), "earlier places"),
    "place that is true": (change_place(2, previous=[True]), "earlier places"),
    "place that is a float": (change_place(2, previous=[1.0]), "earlier places"),
    "place that is huge": (change_place(2, previous=[10**30]), "earlier places"),
    "previous that is a number": (change_place(2, previous=1), "earlier places"),
    "input after something": (change_place(0, previous=[0]), r"layer 0 .*earlier places"),
    "nothing before": (change_place(2, previous=[]), r"layer 2 .*previous: expected 1 .*got 0"),
    "two before": (change_place(2, previous=[0, 1]), r"layer 2 .*previous: expected 1 .*got 2"),
    "layer of another kind": (
        change_place(2, layer="Projection", previous=[1]),
        r"layer 2 \(Projection\): arrays: expected weight, bias \(optional\), got none",
    ),
    # what changes the size of space
    "padding of no axis": (space("Pad", padding=[]), "padding: expected 1 to 3 entries, got 0"),
    "padding of four axes": (space("Pad", padding=[[1, 1]] * 4), "expected 1 to 3 entries, got 4"),
    "padding of one end": (space("Pad", padding=[[1]]), "padding: expected 2 entries, got 1"),
    "padding that is a float": (space("Pad", padding=[[1.5, 1]]), "padding: expected a whole"),
    "padding that is huge": (space("Pad", padding=[[0, 2**31]]), "padding: expected a whole"),
    "padding far beyond the file": (
        space("Pad", padding=[[0, 2**30]]),
        "padding, stride: expected at most",
    ),
    "padding in a circle": (
        space("Pad", mode="circular"),
        "mode: expected one of constant, reflect, edge, got 'circular'",
    ),
    "an edge with a value": (space("Pad", mode="edge", value=1.0), "value: expected 0 with mode"),
    "scale of no axis": (space("Upsample", scale=[]), "scale: expected at least one whole number"),
    "scale of four axes": (space("Upsample", scale=[1] * 4), "scale: expected 1 to 3 entries"),
    "scale of none": (space("Upsample", scale=[0]), "scale: expected a whole number of at least 1"),
    "scale far beyond the file": (space("Upsample", scale=[2**30]), "scale: expected at most"),
    "size far beyond the file": (space("Resize", size=[2**30]), "size: expected at most"),
    "cubic": (space("Resize", size=[3], mode="cubic"), "mode: expected one of nearest, linear"),
    "corners of the nearest": (
        space("Resize", size=[3], corners=True),
        "corners: expected False with mode nearest, got True",
    ),
    # arrays of the model
    "array missing": (remove("3.weight"), r"layer 3 \(Projection\): arrays: expected weight"),
    "array in a place that has none": (rename("1.bias", "2.bias"), r"layer 2 .*expected none, got"),
    "array of an unknown name": (rename("1.bias", "1.shift"), "got weight, shift|got shift, wei"),
    "array without a place": (rename("1.bias", "bias"), "expected a place in 0..3"),
    "array without a name": (rename("1.bias", "1."), "expected a place in 0..3"),
    "array past the places": (rename("1.bias", "4.bias"), "expected a place in 0..3"),
    "array of place 01": (rename("1.bias", "01.bias"), "expected a place in 0..3"),
    "array of place -1": (rename("1.bias", "-1.bias"), "expected a place in 0..3"),
    "array of the input": (rename("1.bias", "0.bias"), r"layer 0 \(Input\): expected no config"),
    "array named previous": (rename("1.bias", "1.previous"), r"layer 1 .*arrays: expected"),
    "array named self": (rename("1.bias", "1.self"), r"layer 1 .*arrays: expected"),
    "array named as a dunder": (rename("1.bias", "1.__class__"), r"layer 1 .*arrays: expected"),
}


# (sample, config of the place or of the component, what the message says)
CONFIGS: dict[str, tuple[Any, ...]] = {
    "size that is a float": ("mixture", {"in_features": 5.0}, "in_features: expected int, got 5.0"),
    "size that is true": ("mixture", {"k": True}, "k: expected int, got True"),
    "size that is text": ("mixture", {"n_experts": "3"}, "n_experts: expected int, got '3'"),
    "size that is a list": ("mixture", {"n_experts": [3]}, "n_experts: expected int"),
    "size that is huge": ("mixture", {"n_experts": 10**4000}, "n_experts: expected a whole number"),
    "size that is negative": (
        "mixture",
        {"in_features": -5},
        "in_features: expected a whole number",
    ),
    "size that is another": ("mixture", {"out_features": 7}, "arrays: expected"),
    "flag that is a number": ("mixture", {"noisy": 0}, "noisy: expected bool, got 0"),
    "flag that asks for more": ("mixture", {"noisy": True}, "arrays: expected .*noise_weight"),
    "more than there are": ("mixture", {"k": 4}, r"k: expected a whole number in 1\.\.3, got 4"),
    "unknown option": ("mixture", {"seed": 1}, "config: expected in_features, .* got .*seed"),
    "unknown choice": ("padded embedding", {"reduce": "max"}, "reduce: expected one of mean, sum"),
    "choice that is a list": ("padded embedding", {"reduce": []}, "reduce: expected str, got"),
}


TRAINED = {"momentum": 0.1}
NORM = ("scale", "shift", "mean", "variance")
CONVOLUTION = {"stride": [1], "padding": [[0, 0]], "dilation": [1]}
WIDTHS: dict[str, tuple[Any, ...]] = {
    "projections": (
        chain(("Projection", {}), ("ReLU", {}), ("Projection", {})),
        arrays(p1_weight=(5, 3), p3_weight=(4, 2)),
        r"layer 3 \(Projection\): previous: expected 4 features, got 3",
    ),
    "convolutions": (
        chain(("Convolution", CONVOLUTION), ("Sigmoid", {}), ("Convolution", CONVOLUTION)),
        arrays(p1_weight=(3, 2, 5), p3_weight=(2, 5, 5)),
        r"layer 3 \(Convolution\): previous: expected 5 channels, got 3",
    ),
    "convolutions in groups": (
        chain(("Convolution", CONVOLUTION), ("Convolution", {**CONVOLUTION, "groups": 2})),
        arrays(p1_weight=(6, 2, 5), p2_weight=(2, 3, 5)),
        None,
    ),
    "convolutions in other groups": (
        chain(("Convolution", CONVOLUTION), ("Convolution", {**CONVOLUTION, "groups": 2})),
        arrays(p1_weight=(3, 2, 5), p2_weight=(2, 3, 5)),
        r"layer 2 \(Convolution\): previous: expected 6 channels, got 3",
    ),
    "groups that divide no filters": (
        chain(("Convolution", {**CONVOLUTION, "groups": 2})),
        arrays(p1_weight=(3, 2, 5)),
        r"layer 1 \(Convolution\): groups: expected a divisor of 3 channels, got 2",
    ),
    "normalization of channels": (
        chain(("Convolution", CONVOLUTION), ("LayerNorm", {"epsilon": 1e-5})),
        arrays(p1_weight=(3, 2, 5), p2_scale=(7,), p2_shift=(7,)),
        None,  # over the last axis, whose width comes with the input
    ),
    "pooled channels": (
        chain(
            ("TransposedConvolution", CONVOLUTION),
            ("GlobalMaxPool", {"keepdims": False}),
            ("Projection", {}),
        ),
        arrays(p1_weight=(3, 2, 5), p3_weight=(3, 5)),
        r"layer 3 \(Projection\): previous: expected 3 features, got 2",
    ),
    "embedding": (
        chain(
            ("Embedding", {}, {"padding": False}),
            ("GRU", {"direction": "forward", "return_sequences": True}),
        ),
        arrays(p1_table=(7, 3), p2_input_weight=(5, 6), p2_hidden_weight=(2, 6)),
        r"layer 2 \(GRU\): previous: expected 5 features, got 3",
    ),
    "both directions": (
        chain(
            ("GRU", {"direction": "both", "return_sequences": False}),
            ("Projection", {}),
        ),
        arrays(
            p1_input_weight=(5, 6),
            p1_hidden_weight=(2, 6),
            **{"p1_backward.input_weight": (5, 6), "p1_backward.hidden_weight": (2, 6)},
            p2_weight=(2, 3),
        ),
        r"layer 2 \(Projection\): previous: expected 2 features, got 4",
    ),
    "moved channels": (
        chain(("Projection", {}), ("ChannelsFirst", {}), ("BatchNorm", {"epsilon": 1e-5}, TRAINED)),
        arrays(p1_weight=(5, 3), **{f"p3_{name}": (5,) for name in NORM}),
        r"layer 3 \(BatchNorm\): previous: expected 5 channels, got 3",
    ),
}


def changed(example: Graph, **changes: Any) -> dict[str, Any]:
    """The config with other values: `layers_3_previous` for config["layers"][3]["previous"]."""
    config = copy.deepcopy(example.config)
    for path, value in changes.items():
        *keys, last = [int(one) if one.isdigit() else one for one in path.split("__")]
        holder: Any = config
        for key in keys:
            holder = holder[key]
        if value is None:
            del holder[last]
        else:
            holder[last] = value
    return config


GRAPHS: dict[str, tuple[dict[str, Any], str]] = {
    "a later place": ({"layers__4__previous": [9]}, "previous: expected earlier places"),
    "itself": ({"layers__4__previous": [4]}, "previous: expected earlier places"),
    "one of two": ({"layers__6__previous": [4]}, "previous: expected 2 of them, got 1"),
    "one of several": ({"layers__7__previous": [6]}, "previous: expected 2 to 1024 of them, got 1"),
    "too many": ({"layers__7__previous": [6] * 1025}, "expected 2 to 1024 of them, got 1025"),
    "no outputs": ({"outputs": {}}, "outputs: expected 1 to 1024 by their names, got {}"),
    "output of nothing": ({"outputs__output": 13}, "outputs: expected places in 2..12, got 13"),
    "output of an input": ({"outputs__output": 1}, "outputs: expected places in 2..12, got 1"),
    "no inputs": ({"inputs": {}}, "inputs: expected 1 to 1024 by their names, got {}"),
    "an input too few": (
        {"inputs__right": None},
        "layer 1: expected Input first and nowhere else, got 'Input'",
    ),
    "a name with a blank": (
        {"outputs": {"a b": 12}},
        "outputs: expected an identifier as a name, got 'a b'",
    ),
    "a keyword": ({"outputs": {"class": 12}}, "expected an identifier as a name, got 'class'"),
    "no dtype": ({"inputs__left": {"shape": [None, 7]}}, "expected shape and dtype of left"),
    "another dtype": (
        {"inputs__left__dtype": "float16"},
        "inputs: expected dtype float or int64, got 'float16' for left",
    ),
    "ids for floats": (
        {"inputs__left__dtype": "int64"},
        r"layer 2 \(Projection\): previous: expected floats, got int64",
    ),
    "a negative size": ({"inputs__left__shape": [None, -7]}, "inputs: expected a shape of 1 to 8"),
    "a batch of three": ({"inputs__left__shape": [3, 7]}, "inputs: expected a shape of 1 to 8"),
    "another width": (
        {"inputs__left__shape": [None, 8]},
        r"layer 2 \(Projection\): previous: expected 7 features, got \(n, 8\)",
    ),
    "an unread layer": (
        {"layers__10__previous": [8, 4]},
        r"layer 9 \(Minimum\): expected one that is read, got no reader",
    ),
    "a name twice": ({"layers__12__name": "tower"}, "layer 12: name: expected another than 2's"),
    "a name inside another": (
        {"layers__12__name": "tower.head"},
        "layer 12: name: expected none inside that of 2, got tower.head",
    ),
    "a path with a slash": ({"layers__12__name": "a/b"}, "name: expected a path, as a.b.c"),
    "sharing with another layer": (
        {"layers__12__shares": 2},
        r"layer 12 \(Projection\): shares: expected no arrays and no name besides",
    ),
    "sharing with what has none": (
        {"layers__3__shares": 0},
        r"layer 3 \(Projection\): shares: expected an earlier place with arrays, got 0",
    ),
    "sharing with what shares": (
        {"layers__3__shares": 3},
        r"layer 3 \(Projection\): shares: expected an earlier place with arrays, got 3",
    ),
    "sharing as another layer": (
        {"layers__4": {"layer": "Tanh", "previous": [2], "config": {}, "shares": 2}},
        r"layer 4 \(Tanh\): shares: expected the layer and the config of place 2, got others",
    ),
    "a further key": ({"layers__4__more": 1}, "layer 4: expected layer, previous and config"),
    "a key too few": ({"outputs": None}, "config: expected inputs, layers and outputs"),
    "no axis to join on": ({"layers__11__config": {"axis": 0}}, "axis: expected -1 or 1, got 0"),
    "a pool of rows": (
        {"layers__4": {"layer": "GlobalMaxPool", "previous": [2], "config": {"keepdims": False}}},
        r"layer 4 \(GlobalMaxPool\): previous: expected 3 axes, got \(n, 5\)",
    ),
}


def joined(count: int) -> dict[str, Any]:
    """Each entry joins the one before it with itself."""
    entries = [("Concatenate", [place, place], {"axis": -1}) for place in range(count)]
    return graph({"x": [None, 3]}, *entries, output=count)


def held(count: int) -> dict[str, Any]:
    """As many values as can be, each of twice the input, all held until they are added."""
    entries = [("Concatenate", [0, 0], {"axis": -1}), *[("ReLU", [1], {})] * count]
    added: tuple[Any, ...] = ("Add", [*range(2, count + 2)], {})
    return graph({"x": [None, 3]}, *entries, added, output=count + 2)


def wrong_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """The name and the bytes of each file; path: where they can be written."""
    for name, (text, _) in HEADERS.items():
        yield name, frame(text, bytes(4))
    for name in EDITS:
        yield name, edited(name, SMALL.write(path))
    for name, (sample, config, _) in CONFIGS.items():
        header, description, body = unpack(SAMPLES[sample].write(path))
        description["config"].update(config)
        yield name, pack(header, seal(header, description, body), body)
    for name, (config, weights, message) in WIDTHS.items():
        if message is not None:
            write_unchecked(path, "chain", config, weights)
            yield name, path.read_bytes()
    for name, (changes, _) in GRAPHS.items():
        write_unchecked(path, "graph", changed(SIAMESE, **changes), SIAMESE.arrays)
        yield name, path.read_bytes()
    for name, config in {"a joined graph": joined(40), "a wide graph": held(520)}.items():
        write_unchecked(path, "graph", config, {})
        yield name, path.read_bytes()


def edited(name: str, data: bytes) -> bytes:
    """A file with one of the `EDITS`, sealed again."""
    header, description, body = unpack(data)
    cut = EDITS[name][0](header, description)
    if isinstance(cut, tuple):
        body = body[: cut[0]] + body[cut[1] :]
    return pack(header, seal(header, description, body), body)
