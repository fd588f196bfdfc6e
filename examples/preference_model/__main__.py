"""`python -m examples.preference_model` trains; `...preference_model.serve` serves."""

from examples.preference_model.program import run
from examples.support.command import command

if __name__ == "__main__":
    command("preference_model", run, data="A text file with a text, a tab and 1 or 0 in lines.")()
