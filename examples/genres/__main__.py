"""`python -m examples.genres` trains; `python -m examples.genres.serve` serves."""

from examples.genres.program import run
from examples.support.command import command

if __name__ == "__main__":
    command(
        "genres", run, data="A text file with text<TAB>coarse<TAB>middle<TAB>fine in each line."
    )()
