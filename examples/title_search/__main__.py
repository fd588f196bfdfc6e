"""`python -m examples.title_search` trains; `python -m examples.title_search.serve` serves."""

from examples.support.command import command
from examples.title_search.program import run

if __name__ == "__main__":
    command(
        "title_search", run, data="A text file with a title, a tab and its category in lines."
    )()
