"""Every component in PyTorch. Import from the component's module."""

from importlib.util import find_spec

if find_spec("torch") is None:
    raise ModuleNotFoundError(
        'pytorch_impl: expected PyTorch, which is not installed: pip install "fourfold[torch]"',
        name="torch",
    )
