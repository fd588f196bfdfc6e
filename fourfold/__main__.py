"""`python -m fourfold`: the command line, where the program `fourfold` is not on the path."""

import sys

from fourfold.command_line import main

if __name__ == "__main__":
    sys.exit(main())
