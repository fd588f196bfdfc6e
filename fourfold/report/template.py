"""What the pages of reports have in common: where their templates lie, and how numbers are said."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape


def environment(*folders: Path) -> Environment:
    """Templates of these folders, and the macros and styles of this one."""
    made = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"when": when, "breakable": breakable}
    return made


def when(date: str) -> str:
    """A date of ISO 8601 in words."""
    return datetime.fromisoformat(date).strftime("%-d %B %Y, %H:%M %Z")


def breakable(name: str) -> Markup:
    """A name that may be broken at its underscores."""
    return Markup(escape(name).replace("_", Markup("_<wbr>")))
