"""What one package refuses to load all refuse, and with ModelFileError; the others load it."""

import copy
import importlib
import random

import pytest

from fourfold.project import cells, model_name
from numpy_infer import model_file
from shared_tests.model_files.file_fuzzer import NUMBERS, VALUES, nodes
from shared_tests.model_files.random_chains import random_chain
from shared_tests.model_files.samples import SAMPLES, write_unchecked
from shared_tests.repository import CHAIN, PACKAGES

COUNT = 24  # changed files of each model


def models():
    """{name: (component, config, arrays)}: of each component one model, and chains."""
    found = {}
    for cell in cells("torch"):
        if cell.case.weights is not None and cell.dtype == "float64":
            name = f"{cell.component}.{cell.operation.name}"
            model = model_name(cell.component, cell.operation.name)
            found.setdefault(name, (model, dict(cell.case.options), dict(cell.case.weights)))
    for name, sample in SAMPLES.items():
        found[name] = (sample.component, sample.config, sample.arrays)
    for seed in range(8):
        chain = random_chain(seed)
        found[f"random chain {seed}"] = (CHAIN, chain.config, chain.arrays)
    return found


MODELS = models()
# Options that leave the arrays as they are: only a rule can tell that a value is none.
OPTIONS = [
    ("sequence_encoder.SequenceEncoder", "dropout", 5),
    ("sequence_encoder.SequenceEncoder", "dropout", 1),
    ("sequence_encoder.SequenceEncoder", "dropout", -0.1),
    ("sequence_encoder.SequenceEncoder", "reverse", 1),
    ("rare_event_memory.RareEventMemory", "rule", "oldest"),
    ("rare_event_memory.RareEventMemory", "margin", -1),
    ("rare_event_memory.RareEventMemory", "age_noise", -1),
    ("padded_embedding.PaddedEmbedding", "reduce", "max"),
    ("padded_embedding.PaddedEmbedding", "unit_norm", "no"),
    ("recursive_autoencoder.RecursiveAutoencoder", "activation", "elu"),
    ("recursive_autoencoder.RecursiveAutoencoder", "pairs", "none"),
    ("conv_autoencoder.ConvAutoencoder1d", "pool_size", 0),
    ("conv_autoencoder.ConvAutoencoder1d", "pool_size", 2**70),
    ("top_k_gating.MixtureOfExperts", "k", 2**70),
    ("top_k_gating.MixtureOfExperts", "k", 0),
    ("soft_nearest_neighbor_loss.SoftNearestNeighborLoss", "temperature", 0),
    ("soft_nearest_neighbor_loss.SoftNearestNeighborLoss", "distance", "manhattan"),
    ("soft_nearest_neighbor_loss.SoftNearestNeighborLoss", "reduction", "max"),
    ("soft_nearest_neighbor_loss.SoftNearestNeighborLoss", "block_size", 0),
]
NOT_COMPONENTS = [
    "foo.Bar",
    "triplet_loss.TripletLoss",
    "clustering_loss.ClusteringLoss",
    "layers.GRU",
]


@pytest.fixture
def interchange(framework_name):
    return importlib.import_module(f"{PACKAGES[framework_name]}.interchange")


def refused(load, path):
    """Whether a file is refused as it has to be; any other error is not caught."""
    try:
        load(path)
    except model_file.ModelFileError:
        return True
    return False


@pytest.mark.parametrize(("component", "option", "value"), OPTIONS)
def test_options_outside_of_their_rule_are_refused(interchange, component, option, value, tmp_path):
    _, config, arrays = next(one for one in MODELS.values() if one[0] == component)
    path = tmp_path / "model"
    write_unchecked(path, component, config, arrays)
    interchange.load_model(path)
    write_unchecked(path, component, config | {option: value}, arrays)
    for load in (interchange.load_model, model_file.read_model):
        with pytest.raises(model_file.ModelFileError, match=f"{option}: expected "):
            load(path)


@pytest.mark.parametrize("component", NOT_COMPONENTS)
def test_what_no_package_infers_is_refused(interchange, component, tmp_path):
    path = tmp_path / "model"
    write_unchecked(path, component, {}, {})
    for load in (interchange.load_model, model_file.read_model):
        with pytest.raises(model_file.ModelFileError, match="component: expected"):
            load(path)


def changed(config, chance):
    """The configuration with one or two values changed."""
    config = copy.deepcopy(config)
    for _ in range(chance.choice([1, 1, 2])):
        holder, key = chance.choice(nodes(config) or [(config, "layers")])
        value = holder[key] if isinstance(holder, list) else holder.get(key)
        if isinstance(value, bool | str | None):
            choices = [True, False, None, "forward", "both", "sum", "tanh", "age", *VALUES]
        elif isinstance(value, int | float):
            choices = [value - 1, value + 1, -value, *range(4), *NUMBERS]
        else:
            choices = VALUES
        holder[key] = copy.deepcopy(chance.choice(choices))
    return config


@pytest.mark.parametrize("name", MODELS)
def test_changed_configurations_are_loaded_by_all_or_none(interchange, name, tmp_path):
    component, config, arrays = MODELS[name]
    chance = random.Random(name)
    path = tmp_path / "model"
    for _ in range(COUNT):
        given = changed(config, chance)
        try:
            write_unchecked(path, component, given, arrays)
        except (TypeError, ValueError):  # what JSON cannot say
            continue
        assert refused(interchange.load_model, path) == refused(model_file.read_model, path), given
