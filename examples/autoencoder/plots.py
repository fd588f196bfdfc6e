"""The plots: images beside their reconstructions, and a sound beside what its tree gives back."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import numpy_infer
from examples.support.plots import save
from numpy_infer.model_file import read_arrays


def images(path: Path, model_file: Path, x: np.ndarray) -> None:
    """Images, (n, 1, height, width), over their reconstructions."""
    found = numpy_infer.load_model(model_file)[-1](x)
    figure, panels = plt.subplots(2, len(x), figsize=(len(x), 2.2), layout="constrained")
    for column, pair in enumerate(zip(x, found, strict=True)):
        for panel, image in zip(panels[:, column], pair, strict=True):
            panel.imshow(image[0], cmap="gray", vmin=0, vmax=1)
            panel.axis("off")
    save(figure, path)


def tree(path: Path, model_file: Path, frames: np.ndarray) -> None:
    """Frames, (n, mels), and what the tree decodes from its root alone down to its leaves."""
    found = numpy_infer.load_model(model_file)[-1](frames)
    arrays = read_arrays(model_file)
    n, decoded = len(frames), found.embeddings.copy()
    for node in range(2 * n - 2, n - 1, -1):
        sides = decoded[node] @ arrays["decoder.weight"] + arrays["decoder.bias"]
        decoded[found.merges[node - n]] = sides.reshape(2, -1)
    shown = {"frames": frames, "from the root": decoded[:n]}
    figure, panels = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
    for panel, (title, values) in zip(panels, shown.items(), strict=True):
        panel.imshow(values.T, origin="lower", aspect="auto", vmin=-0.6, vmax=0.6)
        panel.set(title=title, xlabel="frame", ylabel="mel band")
    save(figure, path)
