"""`python -m examples.stems` trains; `python -m examples.stems.serve` serves."""

from examples.stems.program import run
from examples.support.command import command

if __name__ == "__main__":
    command("stems", run, data="A text file with a word and its stem in each line.")()
