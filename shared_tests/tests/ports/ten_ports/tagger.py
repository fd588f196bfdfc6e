"""A tagger with a GRU, PyTorch to Keras, with a trap: the gates keep the order of PyTorch.

The same author's LSTM agreed, because both frameworks order its gates alike.

Source: https://github.com/keras-team/keras/issues/15915
"""

from __future__ import annotations

import keras
import numpy as np
import torch
from torch import nn

FRAMEWORK = "keras"
FEATURES, STATE, TAGS = 5, 7, 3


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(FEATURES, STATE, batch_first=True)
        self.tags = nn.Linear(STATE, TAGS)

    def forward(self, x):
        states, _ = self.gru(x)
        return self.tags(states)


def original() -> nn.Module:
    torch.manual_seed(0)
    return Tagger()


def port(tagger: nn.Module) -> keras.Model:
    state = {name: value.detach().numpy() for name, value in tagger.state_dict().items()}
    x = keras.Input((None, FEATURES))
    states = keras.layers.GRU(STATE, return_sequences=True, name="gru")(x)
    model = keras.Model(x, keras.layers.Dense(TAGS, name="tags")(states))
    model.get_layer("gru").set_weights(
        [
            state["gru.weight_ih_l0"].T,
            state["gru.weight_hh_l0"].T,
            np.stack([state["gru.bias_ih_l0"], state["gru.bias_hh_l0"]]),
        ]
    )
    model.get_layer("tags").set_weights([state["tags.weight"].T, state["tags.bias"]])
    return model


def inputs(generator: np.random.Generator) -> dict[str, np.ndarray]:
    return {"x": generator.normal(size=(2, 11, FEATURES))}
