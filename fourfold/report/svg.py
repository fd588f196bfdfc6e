"""Figures as part of a page."""

from __future__ import annotations

import io

import matplotlib
from matplotlib.figure import Figure


def as_svg(figure: Figure) -> str:
    """The figure as an SVG element, its text as text."""
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "<svg" + buffer.getvalue().partition("<svg")[2]
