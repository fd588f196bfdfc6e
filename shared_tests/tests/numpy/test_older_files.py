"""Model files that say what older versions said."""

import numpy as np
import pytest

from numpy_infer.format.older_files import LOSS, MIXTURE, todays
from numpy_infer.model_file import ModelFileError, load_model, read_model, write_model
from shared_tests.components.top_k_gating import SIZES, WEIGHTS, X, mixture_of_experts

ONE = {**SIZES, "k": 1}
WHOLE = {"renormalize": True}


@pytest.mark.parametrize("chain", [False, True])
def test_a_single_gate_of_an_older_file_is_one(tmp_path, chain):
    """A file without `renormalize` was written when every model divided by the sum of its gates."""
    path = tmp_path / "model.safetensors"
    component, config, arrays = MIXTURE, {**ONE, "noisy": False}, WEIGHTS
    if chain:
        layers = [
            {"layer": "Input", "previous": [], "config": {}},
            {"layer": MIXTURE, "previous": [0], "config": config},
        ]
        component, config = "chain", {"layers": layers}
        arrays = {f"1.{name}": array for name, array in arrays.items()}
    write_model(path, component, config, arrays)
    wanted = mixture_of_experts(WEIGHTS, **X, **ONE, **WHOLE)
    np.testing.assert_allclose(load_model(path)[-1](X["x"]), wanted, rtol=0, atol=1e-12)


def test_an_older_temperature_becomes_its_logarithm():
    config, arrays = todays(LOSS, {}, {"inverse_temperature": np.array(0.7)})
    assert (config, arrays) == ({}, {"log_inverse_temperature": np.log(0.7)})
    with pytest.raises(ValueError, match="inverse_temperature': expected a number above 0"):
        todays(LOSS, {}, {"inverse_temperature": np.array(-0.1)})


def test_what_is_saved_today_stays_as_it_is(tmp_path):
    path = tmp_path / "model.safetensors"
    config = {**ONE, "noisy": False, "renormalize": False}
    write_model(path, MIXTURE, config, WEIGHTS)
    assert read_model(path).config == config


def test_a_config_that_is_no_flag_is_refused(tmp_path):
    config = {**ONE, "noisy": False, "renormalize": 1}
    with pytest.raises((ModelFileError, ValueError), match="renormalize: expected"):
        write_model(tmp_path / "model.safetensors", MIXTURE, config, WEIGHTS)
