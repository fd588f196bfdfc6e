"""A language model with an LSTM, PyTorch to Keras, and right: both order the gates alike."""

from __future__ import annotations

import keras
import numpy as np
import torch
from torch import nn

FRAMEWORK = "keras"
WORDS, SIZE, STATE = 13, 5, 7


class LanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, SIZE)
        self.lstm = nn.LSTM(SIZE, STATE, batch_first=True)
        self.next = nn.Linear(STATE, WORDS)

    def forward(self, ids):
        states, _ = self.lstm(self.words(ids))
        return self.next(states)


def original() -> nn.Module:
    torch.manual_seed(0)
    return LanguageModel()


def port(model: nn.Module) -> keras.Model:
    state = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    ids = keras.Input((None,), dtype="int64")
    words = keras.layers.Embedding(WORDS, SIZE, name="words")(ids)
    states = keras.layers.LSTM(STATE, return_sequences=True, name="lstm")(words)
    ported = keras.Model(ids, keras.layers.Dense(WORDS, name="next")(states))
    ported.get_layer("words").set_weights([state["words.weight"]])
    ported.get_layer("lstm").set_weights(
        [
            state["lstm.weight_ih_l0"].T,
            state["lstm.weight_hh_l0"].T,
            state["lstm.bias_ih_l0"] + state["lstm.bias_hh_l0"],  # Keras has one bias
        ]
    )
    ported.get_layer("next").set_weights([state["next.weight"].T, state["next.bias"]])
    return ported


def inputs(generator: np.random.Generator) -> dict[str, np.ndarray]:
    return {"ids": generator.integers(0, WORDS, size=(3, 11))}
