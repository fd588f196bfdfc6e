"""How a command ends that cannot do what it was asked: one line, and its exit status."""

from __future__ import annotations

import click

DIFFER = 1
USAGE = 2
UNMEASURED = 3


class Failure(click.ClickException):
    """Ends the program; its text is the line to print."""

    def __init__(self, text: str, status: int = DIFFER) -> None:
        super().__init__(one_line(text))
        self.status = status

    @classmethod
    def of(cls, error: Exception, status: int = DIFFER) -> Failure:
        """What an error says; of an operating system's error the file and the reason."""
        if isinstance(error, OSError) and error.filename is not None:
            return cls(f"{error.filename}: {error.strerror}", status)
        return cls(str(error), status)


def not_installed(what: str, package: str) -> Failure:
    """The failure of what needs a package of the extra for reports."""
    wanted = f'{package}, which is not installed: pip install "fourfold[report]"'
    return Failure(f"{what}: expected {wanted}", UNMEASURED)


def one_line(text: str) -> str:
    """Text as one line, without what would steer the terminal."""
    words = " ".join(text.split())
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in words)
