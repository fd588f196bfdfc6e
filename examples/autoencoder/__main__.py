"""`python -m examples.autoencoder` trains; `python -m examples.autoencoder.serve` serves."""

from examples.autoencoder.program import run
from examples.support.command import command

if __name__ == "__main__":
    command("autoencoder", run)()
