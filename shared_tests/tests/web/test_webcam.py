"""The webcam's page in Chromium, with a camera that plays photographs, and without one."""

from __future__ import annotations

import base64
import io
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from numpy_infer.model_file import load_model, read_metadata
from shared_tests.support import web
from shared_tests.support.chromium import launched

FOLDER = Path(os.environ["WEBCAM"])  # model.safetensors, and photographs as CLASS-NAME.jpg
PHOTOGRAPHS = sorted(FOLDER.glob("*.jpg"))
HOLD = 60  # frames of a photograph, of thirty a second
CAMERA = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
# Of a frame, seven a second at most: its class, and the pixels that the model was given, as PNG.
RECORD = """() => {
    window.seen = [];
    let last = 0;
    const label = document.querySelector("#label");
    const view = document.querySelector("#view");
    new MutationObserver(() => {
        const found = Number(label.dataset.class);
        if (performance.now() - last < 150) return;
        last = performance.now();
        window.seen.push({ found, picture: view.toDataURL() });
    }).observe(label, { attributeFilter: ["data-class"], attributes: true });
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page, its scripts and the model, as a server gives them."""
    folder = tmp_path_factory.mktemp("webcam") / "site"
    shutil.copytree(web.BUNDLE.parent, folder)
    (folder / "model.safetensors").symlink_to(FOLDER / "model.safetensors")
    with web.served(folder) as found:
        yield found


@pytest.fixture(scope="module")
def net():
    return load_model(FOLDER / "model.safetensors")


def decoded(picture):
    """The picture of a data URL."""
    data = base64.b64decode(picture.partition(",")[2])
    return Image.open(io.BytesIO(data)).convert("RGB")


def thumbnail(picture):
    return np.asarray(picture.resize((16, 16)), float)


def classified(net, picture):
    """The class that NumPy finds in what the page gave to the model."""
    settings = read_metadata(FOLDER / "model.safetensors")
    image = np.asarray(decoded(picture), np.float32)
    assert image.shape == (settings["size"], settings["size"], 3)
    scaled = (image - np.float32(settings["mean"])) / np.float32(settings["scale"])
    return int(net(scaled.transpose(2, 0, 1)[None].copy())[0].argmax())


def test_a_camera_shows_photographs(address, net, tmp_path):
    film = tmp_path / "film.mjpeg"
    film.write_bytes(b"".join(path.read_bytes() * HOLD for path in PHOTOGRAPHS))
    with launched(*CAMERA, f"--use-file-for-fake-video-capture={film}") as browser:
        page = browser.new_page()
        page.goto(f"{address}webcam.html?backend=wasm")
        page.evaluate(RECORD)
        page.click("#start")
        page.wait_for_function("Number(document.querySelector('#rate').dataset.frames) > 2")
        assert "frames a second on wasm" in page.locator("#rate").inner_text()
        page.wait_for_timeout(1000 * HOLD / 30 * (len(PHOTOGRAPHS) + 1))
        seen = page.evaluate("window.seen")
        assert page.locator("#message").inner_text() == ""
    assert len(PHOTOGRAPHS) == 10
    for one in seen[:: len(seen) // 10]:
        assert one["found"] == classified(net, one["picture"])
    squares = [Image.open(path).crop((80, 0, 560, 480)) for path in PHOTOGRAPHS]
    known = np.stack([thumbnail(square) for square in squares])
    found = {path.stem: Counter() for path in PHOTOGRAPHS}
    for one in seen:  # a frame is of the photograph that it is most like
        nearest = abs(known - thumbnail(decoded(one["picture"]))).mean(axis=(1, 2, 3)).argmin()
        found[PHOTOGRAPHS[nearest].stem][one["found"]] += 1
    assert all(found.values()), found
    best = {name: classes.most_common(1)[0][0] for name, classes in found.items()}
    assert sum(name.startswith(f"{number}-") for name, number in best.items()) >= 8, best


def test_a_picture_is_classified_without_a_camera(address):
    with launched() as browser:
        page = browser.new_page()
        page.goto(f"{address}webcam.html?backend=wasm")
        page.click("#start")
        page.wait_for_function("document.querySelector('#message').textContent.length > 9")
        assert page.locator("#message").inner_text() == (
            "There is no camera. Choose a picture instead."
        )
        (coffee,) = [path for path in PHOTOGRAPHS if path.stem.endswith("coffee")]
        page.set_input_files("#picture", coffee)
        page.wait_for_function("document.querySelector('#label').textContent")
        assert page.locator("#label").inner_text().startswith("espresso 0.9")
        page.locator("#threshold").fill("1")
        assert page.locator("#label").inner_text() == "Nothing that it is sure of"
        page.set_input_files("#picture", FOLDER / "model.safetensors")
        page.wait_for_function("document.querySelector('#message').textContent.length > 9")
        assert page.locator("#message").inner_text() == "model.safetensors is no picture."


def test_a_camera_that_is_not_allowed_is_named(address):
    with launched("--use-fake-device-for-media-stream", "--deny-permission-prompts") as browser:
        page = browser.new_page()
        page.goto(f"{address}webcam.html")
        page.click("#start")
        page.wait_for_function("document.querySelector('#message').textContent.length > 9")
        assert "may not use the camera" in page.locator("#message").inner_text()
