"""Model files in a browser: what `web/` computes in Chromium, for the parity report.

It loads what the frameworks have saved and saves nothing itself. TensorFlow.js computes in
WebAssembly, in float32.
"""

from __future__ import annotations

import atexit
import re
import shutil
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fourfold.definition import Case, SparseInput
from shared_tests.repository import CHAIN
from shared_tests.support import web
from shared_tests.support.sources import ROOT


def lacking() -> str:
    """What this machine has not that a browser needs, in one line; empty where all is there."""
    if shutil.which("chromium") is None:
        return "chromium: expected it on the path, got none"
    if not web.BUNDLE.exists():
        path = web.BUNDLE.relative_to(ROOT)
        return f"{path}: expected the bundle, which Node.js and npm make, got none"
    return ""


def carries(component: str, operation: str) -> bool:
    """Whether browsers run the model of an operation: web/README.md lists those that they do."""
    return component == CHAIN or f"{component}.{operation}" in carried()


def carried() -> set[str]:
    """The layers and the components that web/README.md says to run."""
    readme = (ROOT / "web" / "README.md").read_text(encoding="utf-8")
    listed = readme.partition("<!-- carried -->")[2].partition("<!-- end -->")[0]
    return {*re.findall(r"`([\w.]+)`", listed)}


class Browser:
    """A page in Chromium that stays open until the process ends."""

    @cached_property
    def page(self) -> Any:
        from shared_tests.support.chromium import launched

        stack = ExitStack()
        atexit.register(stack.close)
        address = stack.enter_context(web.served(web.BUNDLE.parent))
        page = stack.enter_context(launched()).new_page()
        web.started(page, address, "wasm")
        return page

    def use_device(self, device: str) -> None:
        if device != "cpu":
            raise ValueError(f"device: expected cpu for a browser, got {device}")

    def versions(self) -> dict[str, str]:
        found = {"tfjs-core": self.page.evaluate("fourfold.tf.version_core")}
        return found | {"chromium": self.page.context.browser.version}

    def mode(self) -> str:
        return "WebAssembly"

    def run_file(
        self, path: Path, case: Case
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The outputs of the model in a file for a case's inputs, and its arrays."""
        inputs = {
            name: one.array if isinstance(one, SparseInput) else one
            for name, one in case.inputs.items()
        }
        (found,) = web.computed(self.page, [(path.read_bytes(), inputs)])
        if "error" in found:
            raise ValueError(found["error"])
        return {_named(name): one for name, one in found["outputs"].items()}, found["arrays"]


def _named(output: str) -> str:
    """Of a list of outputs, whose names are their places, the names that NumPy gives them."""
    return f"output {output}" if output.isdigit() else output


BACKEND = Browser()
