"""On the page to be printed, links to pages that are not on it lead to the book's own pages."""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

BOOK = ".."  # the page stands in a folder of the site
ID = re.compile(r' id="([^"]+)"')
LINK = re.compile(r'href="#document-([^"#]+)(#[^"]*)?"')
ELSEWHERE = re.compile(r'\s*<link rel="(?:index|search)"[^>]*>')  # what one page does not have


def lead_out(app: Sphinx, error: Exception | None) -> None:
    if app.builder.name != "singlehtml" or error is not None:
        return
    path = Path(app.outdir) / f"{app.config.root_doc}.html"
    text = path.read_text(encoding="utf-8")
    ids = set(ID.findall(text))

    def target(link: re.Match[str]) -> str:
        document, place = link[1], link[2] or ""
        if f"document-{document}" in ids:
            return f'href="#document-{document}"'
        return f'href="{BOOK}/{document}.html{place}"'

    path.write_text(LINK.sub(target, ELSEWHERE.sub("", text)), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", lead_out)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
