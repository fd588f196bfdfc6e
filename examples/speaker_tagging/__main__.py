"""`python -m examples.speaker_tagging` trains; the module serve beside this one serves."""

from examples.speaker_tagging.program import run
from examples.support.command import command

if __name__ == "__main__":
    command(
        "speaker_tagging", run, data="A folder with one folder of WAV files for each speaker."
    )()
