"""Every component in Theano-PyMC. Import from the component's module."""

import sys
from importlib.util import find_spec

if sys.version_info >= (3, 12):
    raise ImportError(
        "theano_impl: expected Python 3.11, the last that Theano-PyMC 1.1.2 runs on, "
        f"got {sys.version_info.major}.{sys.version_info.minor}",
        name="theano",
    )
if find_spec("theano") is None:
    raise ModuleNotFoundError(
        'theano_impl: expected Theano-PyMC, which is not installed: pip install "fourfold[theano]"',
        name="theano",
    )

from theano_impl.support import setup  # noqa: F401  (before the first `import theano`)
