"""Precompile the headers that Theano's C++ includes: reading them is two thirds of a compilation.

python -m shared_tests.support.theano_headers FOLDER

THEANO_FLAGS name the flags of the compiler, `-include theano_headers.h` among them, and CPATH names
FOLDER. Where flags are others, the compiler reads the headers themselves.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEADER = "theano_headers.h"
INCLUDED = (
    "Python.h",
    "iostream",
    "vector",
    "algorithm",
    "theano_mod_helper.h",
    "math.h",
    "numpy/arrayobject.h",
    "numpy/arrayscalars.h",
)
OF_EVERY_OP = ("-g", "-O3", "-fno-math-errno", "-fvisibility=hidden")  # Theano's, before the user's


def precompile(folder: Path) -> None:
    """Write the header and its precompiled form into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    header = folder / HEADER
    header.write_text("".join(f"#include <{name}>\n" for name in INCLUDED))
    # What Theano tries the compiler with when it is imported includes the header already.
    from theano_impl.support.setup import theano

    cmodule = theano.link.c.cmodule
    flags = [
        flag for flag in cmodule.GCC_compiler.compile_args() if flag not in ("-include", HEADER)
    ]
    folders = [f"-I{path}" for path in cmodule.std_include_dirs()]
    what = ("-x", "c++-header", str(header), "-o", f"{header}.gch")
    subprocess.run([theano.config.cxx, *OF_EVERY_OP, *flags, *folders, *what], check=True)


if __name__ == "__main__":
    precompile(Path(sys.argv[1]))
