"""What a module computes that its type, its options and its weights do not say.

A model file records those three. A forward that was patched on an instance, a hook that changes
an output, a parametrization, an option that was changed behind the back of a component's config:
all of them run, and none is in the file. Nothing is saved of a model that has any of them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel

# What a component keeps as plain values, which its config decides.
PLAIN = (bool, int, float, str, type(None), FunctionType, BuiltinFunctionType)
FREE = ("training", "sparse")  # what no config says
WRAPPERS = (DataParallel, DistributedDataParallel, AveragedModel)


def unwrapped(module: nn.Module) -> nn.Module:
    """The module in a `torch.compile`d one, a data-parallel one or an averaged one."""
    while True:
        inner = module._modules.get("_orig_mod")  # a compiled module has no public name for it
        if inner is None and isinstance(module, WRAPPERS):
            inner = module.module
        if inner is None or module._forward_hooks or module._forward_pre_hooks:
            return module
        module = inner


def unrecorded(module: nn.Module) -> str | None:
    """What of a module itself, not of those in it, no file records; None for nothing."""
    kind = type(module)
    if module._forward_hooks or module._forward_pre_hooks:
        return f"{kind.__name__} with a forward hook"
    if parametrize.is_parametrized(module):
        names = ", ".join(module.parametrizations)
        return f"{kind.__name__} with a parametrization of {names}"
    for name in vars(module):
        if isinstance(getattr(kind, name, None), FunctionType):
            return f"{kind.__name__} with a {name} of its own"
    if kind.__call__ is not nn.Module.__call__:
        return f"{kind.__name__} with a __call__ of its own"
    return None


def first_unrecorded(model: nn.Module) -> str | None:
    """As `unrecorded`, of a model or anything in it, with its path."""
    for path, module in _walk(model):
        found = unrecorded(module)
        if found is not None:
            return f"{found} at {path}" if path else found
    return None


def changed_option(component: nn.Module) -> str | None:
    """What of a component is not as its config makes it; None for nothing.

    A second one is made of the config, without memory for its weights.
    """
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        made = type(component)(**copy.deepcopy(component.config))
    own = dict(_walk(component))
    for path, module in _walk(made):
        found = own.get(path)
        where = f" at {path}" if path else ""
        if type(found) is not type(module):
            name = type(found).__name__ if path in own else "nothing"
            return f"{name}{where} in the place of {type(module).__name__}"
        for name, value in vars(module).items():
            kept = isinstance(value, PLAIN) and name not in FREE and name[0] != "_"
            if kept and vars(found).get(name) != value:
                return f"{type(module).__name__}({name}={vars(found).get(name)!r}){where}"
    return None


def _walk(model: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """A model and all modules in it, with their paths, out of their wrappers."""
    model = unwrapped(model)
    yield path, model
    for name, child in model.named_children():
        yield from _walk(child, f"{path}.{name}".lstrip("."))
