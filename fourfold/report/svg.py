"""Figures as part of a page: colored by its style, named for those who do not see them."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from html import escape

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# What figures are drawn in, and what it is on the page, where each color has a dark twin.
THEME = {
    "#000000": "currentColor",
    "#d0d0d0": "var(--line)",
    "#777777": "var(--muted)",
    "#1f6fb4": "var(--blue)",
    "#d1711f": "var(--orange)",
    "#3d8f4f": "var(--green)",
    "#8a4fb5": "var(--violet)",
    "#b03a48": "var(--red)",
    "#8c6d1f": "var(--brown)",
}
BLACK, LINE, MUTED, BLUE, ORANGE, GREEN, VIOLET, RED, BROWN = THEME
# The marker of a line in a figure, and the same sign in the text of a legend.
MARKERS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "*": "★", "P": "✚", "X": "✖"}


@dataclass(frozen=True)
class Entry:
    """A line of a legend: its label, and how it is drawn."""

    label: str
    color: str
    width: float = 1.5
    dash: str = ""  # as SVG has it: "4 2"
    marker: str = ""

    @property
    def themed(self) -> str:
        return THEME[self.color]

    @property
    def sign(self) -> str:
        return MARKERS.get(self.marker, "")


def panel(width: float, height: float, *, left: float, title: str = "") -> tuple[Figure, Axes]:
    """A figure with one plot, in inches; its margins are given, as measuring text takes longer."""
    figure = Figure(figsize=(width, height))
    bottom, top, right = 0.5, 0.3 if title else 0.1, 0.15
    inner = (width - left - right, height - bottom - top)
    axes = figure.add_axes((left / width, bottom / height, inner[0] / width, inner[1] / height))
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    return figure, axes


def as_svg(figure: Figure, name: str, title: str) -> str:
    """The figure as an SVG element, its text as text.

    Args:
        figure: drawn in the colors of THEME.
        name: unique on the page; every id begins with it.
        title: what the figure shows.
    """
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "fourfold"}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue().partition("<svg")[2]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    for drawn, themed in THEME.items():
        text = text.replace(drawn, themed)
    attributes, _, content = text.partition(">")
    heading = f'<title id="{name}-title">{escape(title)}</title>'
    return f'<svg role="img" aria-labelledby="{name}-title"{attributes}>{heading}{content}'
