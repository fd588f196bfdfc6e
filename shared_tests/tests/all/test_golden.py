"""Model files that were saved once load for ever, everywhere, and compute what they did."""

import pytest

from fourfold.agreement import assert_close
from numpy_infer.model_file import ModelFileError
from shared_tests import golden
from shared_tests.repository import PACKAGES

MODELS = golden.models()
NO_INFERENCE = ("soft_nearest_neighbor_loss",)  # a loss: its file is no use to NumPy


def test_every_framework_left_the_same_models():
    folders = {path.parent.name for path in MODELS}
    assert folders == set(PACKAGES) - {"numpy"}
    stems = [{path.stem for path in MODELS if path.parent.name == name} for name in folders]
    assert stems[0] == stems[1] == stems[2]


@pytest.mark.parametrize("path", MODELS, ids=[f"{one.parent.name}-{one.stem}" for one in MODELS])
def test_golden_model(backend, backend_name, path):
    call = golden.call(path)
    if backend_name == "numpy" and path.stem.startswith(NO_INFERENCE):
        with pytest.raises(ModelFileError, match="component: expected one that infers"):
            backend.run_file(path, call.case)
        return
    outputs, _ = backend.run_file(path, call.case)
    assert outputs.keys() == call.outputs.keys()
    for name, array in outputs.items():
        assert_close(array, call.outputs[name], 1e-5, name)
