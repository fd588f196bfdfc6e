"""A real Chromium, for the tests of pages: its start, and the sizes of the screens."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"


@contextmanager
def launched(*arguments: str) -> Iterator[Browser]:
    """The system's Chromium, with more arguments; AssertionError where there is none."""
    path = shutil.which("chromium")
    assert path, "expected Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*QUIET, *arguments])
        yield browser
        browser.close()


def luminance(page, element: str, what: str) -> float:
    """How light a color of an element is, as it is shown: 0 for black, 1 for white."""
    color = page.evaluate(
        f"getComputedStyle(document.querySelector({element!r})).{what}.match(/[0-9.]+/g)"
    )
    return sum(map(float, color[:3])) / 765
