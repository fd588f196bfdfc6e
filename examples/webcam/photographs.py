"""Photographs as a camera gives them: `python -m examples.webcam.photographs FOLDER`.

They are those of scikit-image and scikit-learn that show something which has a class in ImageNet.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

WIDTH, HEIGHT = 640, 480
# {photograph: the number of its class}
SKIMAGE = {
    "camera.png": 872,  # tripod
    "chelsea.png": 285,  # a cat
    "coffee.png": 967,  # espresso
    "motorcycle_left.png": 665,  # moped
    "motorcycle_right.png": 665,
    "rocket.jpg": 657,  # missile
}
SKLEARN = {"china.jpg": 698, "flower.jpg": 985}  # palace, daisy
MIRRORED = ("chelsea.png", "coffee.png")  # once more, as a camera sees them that shows oneself


def main(arguments: Sequence[str] | None = None) -> None:
    """Write CLASS-NAME.jpg for each, the square in its middle between black bars."""
    import skimage
    import sklearn.datasets
    from PIL import Image, ImageOps

    parser = argparse.ArgumentParser(
        prog="python -m examples.webcam.photographs", description=main.__doc__
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    folder.mkdir(parents=True, exist_ok=True)
    pictures = Path(skimage.__file__).parent / "data"
    others = Path(sklearn.datasets.__file__).parent / "images"
    found = {pictures / name: number for name, number in SKIMAGE.items()}
    found |= {others / name: number for name, number in SKLEARN.items()}
    for path, number in found.items():
        square = ImageOps.fit(Image.open(path).convert("RGB"), (HEIGHT, HEIGHT))
        versions = {path.stem: square}
        if path.name in MIRRORED:
            versions[f"{path.stem}-mirrored"] = ImageOps.mirror(square)
        for name, one in versions.items():
            frame = Image.new("RGB", (WIDTH, HEIGHT))
            frame.paste(one, ((WIDTH - HEIGHT) // 2, 0))
            frame.save(folder / f"{number}-{name}.jpg", quality=95)


if __name__ == "__main__":
    main()
