"""The PyTorch adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fourfold.backends import FileRun, Run, call_by_kind, versions
from fourfold.definition import Case, SparseInput, upstream
from fourfold.project import model_name, package_module, tools

interchange = package_module("torch", "interchange")


class TorchBackend:
    runtime_errors = ()
    device = torch.device("cpu")

    def versions(self) -> dict[str, str]:
        return versions("torch", "numpy")

    def use_device(self, device: str) -> None:
        try:
            found = torch.device(device)
        except RuntimeError:
            raise ValueError(
                f"device: expected one of PyTorch, such as cuda, got {device}"
            ) from None
        if found.type not in ("cpu", "cuda"):
            raise ValueError(f"device: expected cpu or cuda, got {device}")
        if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
            n = torch.cuda.device_count()
            raise ValueError(
                f"device: expected one of {n} CUDA devices of this machine, got {device}"
            )
        if found.type == "cuda":  # float32 is compared, not TF32, which cuDNN takes by default
            torch.backends.cudnn.allow_tf32 = False
        self.device = found

    def mode(self) -> str:
        if self.device.type == "cuda":
            return f"eager, on {self.device} ({torch.cuda.get_device_name(self.device)})"
        return "eager"

    def run(self, component: str, name: str, case: Case, differentiate: bool) -> Run:
        if tool := tools("torch").get(name):
            return tool(getattr(package_module("torch", component), name), case), {}
        inputs = {key: to_native(value) for key, value in case.inputs.items()}
        sources = {key: value for key, value in inputs.items() if is_dense_float(value)}
        for value in sources.values():
            value.requires_grad_(differentiate)
        function = build(component, name, case)
        outputs = named(function(*inputs.values()))
        values = {key: to_array(value) for key, value in outputs.items()}
        if not differentiate:
            return values, {}
        total = sum(weighted(value) for value in outputs.values() if value.is_floating_point())
        if total.requires_grad:
            total.backward()
        gradients = {key: to_array(gradient(value)) for key, value in sources.items()}
        if isinstance(function, nn.Module):
            # A gradient has its weight's layout, so it may travel in the weight's place.
            for parameter in function.parameters():
                parameter.data = gradient(parameter)
            arrays = interchange.to_arrays(function)
            gradients |= {key: arrays[key] for key in arrays.keys() - set(case.fixed)}
        return values, gradients

    def save(self, component: str, name: str, case: Case, path: Path) -> None:
        interchange.save_model(build(component, name, case), path)

    def run_file(self, path: Path, case: Case) -> FileRun:
        model = interchange.load_model(path).to(self.device).eval()
        outputs = named(model(*map(to_native, case.inputs.values())))
        values = {key: to_array(value) for key, value in outputs.items()}
        return values, interchange.to_arrays(model)


def build(component: str, name: str, case: Case) -> Any:
    """The function with its options, or the module with its weights."""
    if case.weights is not None:
        model = interchange.from_arrays(model_name(component, name), case.options, case.weights)
        return model.to(BACKEND.device).eval()  # as Keras outside of `fit`, and NumPy always
    target = getattr(package_module("torch", component), name)
    if isinstance(target, type):
        return target(**case.options).to(BACKEND.device)
    return lambda *inputs: call_by_kind(target, dict(zip(case.inputs, inputs, strict=True)), case)


def to_native(value: Any) -> Any:
    """An array, or a sparse one, as a tensor on the device of the adapter; else what it is."""
    if isinstance(value, SparseInput):
        dense = torch.from_numpy(value.array)
        return getattr(dense, f"to_sparse_{value.layout}")().to(BACKEND.device)
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy()).to(BACKEND.device)
    return value


def to_array(value: Tensor) -> np.ndarray:
    """The values of a tensor of any device."""
    array: np.ndarray = value.detach().cpu().numpy()
    return array


def is_dense_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.layout == torch.strided


def named(outputs: Any) -> dict[str, Tensor]:
    if isinstance(outputs, list):
        return {f"output {place}": one for place, one in enumerate(outputs)}
    return outputs._asdict() if hasattr(outputs, "_asdict") else {"output": outputs}


def weighted(output: Tensor) -> Tensor:
    return (output * torch.from_numpy(upstream(tuple(output.shape))).to(output)).sum()


def gradient(source: Tensor) -> Tensor:
    """The dense gradient, zero where none arrived."""
    if source.grad is None:
        return torch.zeros_like(source)
    return source.grad.to_dense() if source.grad.is_sparse else source.grad


BACKEND = TorchBackend()
