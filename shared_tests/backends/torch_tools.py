"""How a case runs what is neither a function of arrays nor a model, in PyTorch.

Optimizers, and what looks at a training. Each tool is given the class or function of the package
and the case, and returns the named outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from shared_tests.definition import Case

Tool = Callable[[Any, Case], dict[str, np.ndarray]]


TOOLS: dict[str, Tool] = {}
