"""`python -m examples.time_series` searches; `python -m examples.time_series.serve` serves."""

from examples.support.command import command
from examples.time_series.program import run

if __name__ == "__main__":
    folder = "A folder with NAME_TRAIN.ts and NAME_TEST.ts of one or more data sets."
    command("time_series", run, data=folder, frameworks=())()
