"""Transformers and recurrent networks, written by hand or of PyTorch's modules, go into files."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import numpy_infer
from fourfold.agreement import assert_close
from numpy_infer import model_file
from pytorch_impl import interchange


class SelfAttention(nn.Module):
    """Attention of a sequence to itself by hand, with a mask of its keys, or causal."""

    def __init__(self, width, heads, longest, kind):
        super().__init__()
        self.heads, self.kind = heads, kind
        self.parts = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.out, self.drop = nn.Linear(width, width), nn.Dropout(0.1)
        self.register_buffer("seen", torch.ones(1, 1, longest, longest).tril())

    def forward(self, x, mask=None):
        b, t, w = x.shape
        q, k, v = (
            one(x).view(b, t, self.heads, w // self.heads).transpose(1, 2) for one in self.parts
        )
        if self.kind == "fused":
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            scores = q @ k.transpose(-2, -1) / math.sqrt(w // self.heads)
            if self.kind == "causal":
                scores = scores.masked_fill(self.seen[:, :, :t, :t] == 0, float("-inf"))
            if mask is not None:
                scores = scores + mask
            y = self.drop(F.softmax(scores, dim=-1)) @ v
        return self.out(y.transpose(1, 2).contiguous().view(b, t, w))


class Bert(nn.Module):
    """Words, types and positions, one layer, the mean of the real words at unit norm."""

    def __init__(self, kind, width=6, heads=2, longest=9):
        super().__init__()
        self.kind = kind
        self.words, self.types = nn.Embedding(11, width), nn.Embedding(2, width)
        self.places = nn.Embedding(longest, width)
        self.register_buffer("ids", torch.arange(longest)[None])
        self.norm, self.last = nn.LayerNorm(width, eps=1e-12), nn.LayerNorm(width)
        self.attend = SelfAttention(width, heads, longest, kind)
        self.up, self.down = nn.Linear(width, 8), nn.Linear(8, width)

    def forward(self, ids, mask, types):
        x = self.norm(self.words(ids) + self.types(types) + self.places(self.ids[:, : ids.size(1)]))
        wide = {
            "added": lambda: (1.0 - mask[:, None, None, :].to(x.dtype)) * -1e9,
            "fused": lambda: mask[:, None, None, :].bool(),
            "causal": lambda: None,
        }[self.kind]()
        x = self.last(x + self.attend(x, wide))
        x = x + self.down(F.gelu(self.up(x)))
        column = mask.unsqueeze(-1).to(x.dtype)
        return F.normalize((x * column).sum(1) / column.sum(1).clamp(min=1e-9), dim=-1)


class Encoder(nn.Module):
    """PyTorch's own encoder, the norms behind or before; its first word, attended, and its mean."""

    def __init__(self, norm_first):
        super().__init__()
        self.words, self.positions = nn.Embedding(11, 6), nn.Parameter(torch.randn(1, 9, 6))
        options = {"batch_first": True, "norm_first": norm_first, "activation": "gelu"}
        layer = nn.TransformerEncoderLayer(6, 3, 10, **options)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(6), enable_nested_tensor=False)
        self.pool = nn.MultiheadAttention(6, 2, batch_first=True, bias=False)

    def forward(self, ids):
        x = self.words(ids) + self.positions[:, : ids.shape[1]]
        x = self.encoder(x, src_key_padding_mask=ids == 0)
        y, _ = self.pool(x, x, x, key_padding_mask=(ids == 0))
        return {"first": y[:, 0], "mean": x.mean(1), "largest": x.amax(1)}


class Reader(nn.Module):
    """Two recurrent layers: all states and last ones, or the last ones of both directions."""

    def __init__(self, kind, both, bias=True):
        super().__init__()
        options = {"batch_first": True, "bidirectional": both, "dropout": 0.1, "bias": bias}
        self.rnn, self.both = kind(6, 5, num_layers=2, **options), both

    def forward(self, x):
        out, last = self.rnn(x)
        if isinstance(self.rnn, nn.LSTM):
            last, _ = last
        if self.both:
            return {"last": torch.cat([last[-2], last[-1]], dim=1)}
        return {"all": out, "last": last[-1], "first": last[0]}


def ids(seed, most=11):
    return torch.randint(1, most, (3, 7), generator=torch.Generator().manual_seed(seed))


MASK = torch.tensor([[1, 1, 1, 0, 1, 1, 0], [1] * 7, [0, 0, 0, 0, 0, 1, 0]])
WORDS = {"ids": ids(1), "mask": MASK, "types": ids(2, 2)}
X = {"x": torch.randn(3, 7, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))}
MODELS = {
    "added": (lambda: Bert("added"), WORDS),
    "fused": (lambda: Bert("fused"), WORDS),
    "causal": (lambda: Bert("causal"), WORDS),
    "norms behind": (lambda: Encoder(False), {"ids": ids(1) * MASK}),
    "norms before": (lambda: Encoder(True), {"ids": ids(1) * MASK}),
    "gru": (lambda: Reader(nn.GRU, False), X),
    "lstm": (lambda: Reader(nn.LSTM, False), X),
    "gru both ways": (lambda: Reader(nn.GRU, True), X),
    "lstm both ways": (lambda: Reader(nn.LSTM, True, bias=False), X),
}


def arrays_of(named):
    return named if isinstance(named, dict) else {"output": named}


@pytest.mark.parametrize("shaped", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_sequences_travels(name, shaped, tmp_path):
    make, inputs = MODELS[name]
    torch.manual_seed(7)
    model = make().double().eval()
    shapes = {key: (None, None, *one.shape[2:]) for key, one in inputs.items()}
    path = tmp_path / "model"
    interchange.save_model(model, path, inputs=shapes if shaped else inputs)
    wanted = arrays_of(model(**inputs))
    net = numpy_infer.load_model(path)
    found = net({key: one.numpy() for key, one in inputs.items()}) if len(inputs) > 1 else None
    found = net(next(iter(inputs.values())).numpy()) if found is None else found
    again = interchange.load_model(path).eval()(*inputs.values())
    for key, value in wanted.items():
        value = value.detach().numpy()
        assert_close(arrays_of(found).get(key, found), value, 1e-12, key)
        assert_close(arrays_of(again).get(key, again).detach().numpy(), value, 1e-12, key)


class Cast(nn.Module):
    """Attention whose mask, a causal one or that of the real words, was cast before."""

    def __init__(self, cast, causal):
        super().__init__()
        self.words, self.cast, self.causal = nn.Embedding(11, 6), cast, causal
        self.register_buffer("seen", torch.ones(7, 7).tril().bool())

    def forward(self, ids):
        x = self.words(ids)
        mask = self.cast(self.seen if self.causal else (ids != 0)[:, None, :], x)
        return F.scaled_dot_product_attention(x, x, x, attn_mask=mask)


BOOLS = [
    lambda mask, x: mask,
    lambda mask, x: mask.to(x.device),
    lambda mask, x: mask.float().bool(),
    lambda mask, x: mask.to(torch.int32).to(torch.bool),
]
NUMBERS = [
    lambda mask, x: mask.float(),
    lambda mask, x: mask.to(torch.float32),
    lambda mask, x: mask.to(x.dtype),
    lambda mask, x: mask.to(device=x.device, dtype=x.dtype),
    lambda mask, x: mask.type_as(x),
]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("cast", range(len(BOOLS)))
def test_a_mask_of_bools_leaves_keys_out(cast, causal, tmp_path):
    model = Cast(BOOLS[cast], causal).eval()
    words = ids(1) * MASK
    interchange.save_model(model, tmp_path / "model", inputs={"ids": words})
    found = numpy_infer.load_model(tmp_path / "model")(words.numpy())
    assert_close(found, model(words).detach().numpy(), 1e-6, "output")


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("cast", range(len(NUMBERS)))
def test_a_mask_of_numbers_is_added_and_so_refused(cast, causal, tmp_path):
    """PyTorch adds 1 and 0 to the scores; no file has a sum of scores and numbers."""
    model = Cast(NUMBERS[cast], causal)
    assert model(ids(1)).isfinite().all()
    with pytest.raises(ValueError, match="Tensor seen" if causal else "of a mask"):
        interchange.save_model(model, tmp_path / "model", inputs={"ids": ids(1)})


def test_last_states_alone_are_of_a_layer_that_gives_no_others(tmp_path):
    shape = {"x": (None, None, 6)}
    interchange.save_model(Reader(nn.GRU, True), tmp_path / "model", inputs=shape)
    _, config, _ = model_file.read_model(tmp_path / "model")
    assert [one["layer"] for one in config["layers"]] == ["Input", "GRU", "Dropout", "GRU"]
    assert config["layers"][3]["config"] == {"direction": "both", "return_sequences": False}


def test_an_lstm_with_two_biases_is_loaded_with_their_sum():
    rnn = nn.LSTM(6, 5, batch_first=True)
    model = Called(rnn, lambda m, x: m(x)[0])
    arrays = interchange.to_arrays(model)
    total = rnn.bias_ih_l0 + rnn.bias_hh_l0
    assert torch.equal(torch.from_numpy(arrays["1.bias"]), total.detach())
    interchange.load_arrays(model, arrays)
    assert torch.equal(rnn.bias_ih_l0, total)
    assert not rnn.bias_hh_l0.any()


class Called(nn.Module):
    """A module that is called somehow."""

    def __init__(self, module, call):
        super().__init__()
        self.module, self.call = module, call

    def forward(self, x):
        return self.call(self.module, x)


ATTENTION = nn.MultiheadAttention(6, 2, batch_first=True)
REFUSED = [
    (nn.LSTM(6, 5), lambda m, x: m(x)[0], "LSTM(batch_first=False)"),
    (nn.LSTM(6, 5, batch_first=True, proj_size=2), lambda m, x: m(x)[0], "LSTM(proj_size=2)"),
    (nn.GRU(6, 5, batch_first=True), lambda m, x: m(x, x)[0], "as a state to begin with"),
    (
        nn.GRU(6, 5, batch_first=True, bidirectional=True),
        lambda m, x: (m(x)[0], torch.cat([m(x)[1][0], m(x)[1][1]], -1)),
        "all states of a GRU or the last ones, got both",
    ),
    (nn.LSTM(6, 5, batch_first=True), lambda m, x: m(x)[1][1][0], "or of a memory"),
    (nn.MultiheadAttention(6, 2), lambda m, x: m(x, x, x)[0], "(batch_first=False)"),
    (ATTENTION, lambda m, x: m(x, x, x, attn_mask=torch.zeros(7, 7))[0], "that is not causal"),
    (ATTENTION, lambda m, x: m(x, x, x)[1], "the output of a part of attention"),
    (nn.Linear(6, 6), lambda m, x: m(x) @ x, "matmul()"),
]


@pytest.mark.parametrize(("module", "call", "message"), REFUSED, ids=[one[2] for one in REFUSED])
def test_what_no_file_holds_is_refused_by_name(module, call, message, tmp_path):
    model, shape = Called(module, call), {"x": (None, None, 6)}
    with pytest.raises(ValueError, match=re.escape(message)):
        interchange.save_model(model, tmp_path / "model", inputs=shape)
    assert not (tmp_path / "model").exists()
