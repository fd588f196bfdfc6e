"""How often a GPU waits for the host, and what it does with bad values."""

import subprocess
import sys
import warnings

import pytest
import torch

from fourfold.backends import torch_backend
from fourfold.backends.torch_backend import BACKEND, build, is_dense_float, named, to_native
from fourfold.definition import Cell
from fourfold.project import definitions
from shared_tests.backends.torch_tools import TOOLS
from shared_tests.support.sources import ROOT

SEARCH = "a tree is searched for on the host"
# Operations whose first case waits for the host, forward and backward together: how often, and for
# what. All others do not wait once.
WAITS = {
    "batch_hard_triplets": (1, "the number of triplets"),
    "semi_hard_triplets": (1, "the number of triplets"),
    "margin_violators": (1, "the number of triplets"),
    "MixtureOfExperts": (1, "the size of the batched product"),
    "updated_memory": (5, "the numbers of queries that match and that do not"),
}
NOT_COUNTED = {
    "pad_token_lists": "lists, not tensors",
    "RecursiveAutoencoder": SEARCH,
    "NeuralGrammar": SEARCH,
}

FIRST = [
    Cell(definition.component, operation, operation.cases[0], "float32")
    for definition in definitions()
    for operation in definition.operations
    if "torch" in operation.backends() and operation.name not in (*TOOLS, *NOT_COUNTED)
]


@pytest.mark.parametrize("first_cell", FIRST, ids=str)
def test_waits(first_cell):
    case = first_cell.case.cast("float32")
    inputs = {name: to_native(value) for name, value in case.inputs.items()}
    for value in inputs.values():
        if is_dense_float(value):
            value.requires_grad_()
    function = build(first_cell.component, first_cell.operation.name, case)
    if isinstance(function, torch.nn.Module):
        function.train()
    forward_and_backward(function, inputs)  # compiles the kernels
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            forward_and_backward(function, inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    found = [one for one in caught if "synchroniz" in str(one.message)]
    wanted, _ = WAITS.get(first_cell.operation.name, (0, ""))
    assert len(found) == wanted, [f"{one.filename}:{one.lineno}" for one in found]


def forward_and_backward(function, inputs):
    outputs = named(function(*inputs.values())).values()
    total = sum(one.sum() for one in outputs if one.is_floating_point())
    if isinstance(total, torch.Tensor) and total.requires_grad:
        total.backward()


BAD = """
import torch
x, labels = torch.ones(6, 3, device="cuda"), torch.arange(6, device="cuda") % 2
{}
torch.cuda.synchronize()
"""
ASSERTIONS = {
    "embeddings: expected finite numbers": (
        "from pytorch_impl.triplet_mining import BatchHardTripletLoss\n"
        "BatchHardTripletLoss()(x.log().log(), labels)"
    ),
    "ids: expected ids in 0..8": (
        "from pytorch_impl.padded_embedding import PaddedEmbedding\n"
        "PaddedEmbedding(9, 3).cuda()(labels[None] + 8)"
    ),
    "temperature: expected a number above 0": (
        "from pytorch_impl.soft_nearest_neighbor_loss import soft_nearest_neighbor_loss\n"
        "soft_nearest_neighbor_loss(x, labels, temperature=x[0, 0] - 1)"
    ),
}


@pytest.mark.parametrize("message", ASSERTIONS)
def test_bad_values_end_the_program(message):
    """With a device-side assertion, whose message names the argument."""
    program = BAD.format(ASSERTIONS[message])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode != 0
    assert message in done.stdout + done.stderr


def test_the_adapter_computes_there():
    assert BACKEND.device.type == "cuda"
    assert torch.cuda.get_device_name() in torch_backend.BACKEND.mode()
