"""`python -m examples.subtitle_classifier` trains; `….subtitle_classifier.serve` serves."""

from examples.subtitle_classifier.program import run
from examples.support.command import command

if __name__ == "__main__":
    command("subtitle_classifier", run, data="A text file with text<TAB>class in each line.")()
