"""What NumPy refuses of a model file, the browser's reader refuses, and says the same of it."""

import random
import re

from numpy_infer.model_file import ModelFileError, load_model, write_model
from shared_tests.backends.browser import carried
from shared_tests.model_files.file_fuzzer import mutated
from shared_tests.model_files.graphs import GRAPHS
from shared_tests.model_files.random_chains import random_chain
from shared_tests.model_files.samples import SAMPLES, put
from shared_tests.model_files.wrong_files import wrong_files
from shared_tests.support.web import refusals

FILES, CHAINS = 4000, 60
# The browser's JSON has no infinity and is nested 500 deep at most: both fail earlier there.
JSON = ("infinity of digits", "nested too deep to show")


def numpy_says(files, path):
    """What NumPy says of each file; None of a model."""
    found = []
    for data in files:
        put(path, data)
        try:
            load_model(path)
        except ModelFileError as error:
            found.append(str(error).removeprefix(f"{path}: "))
        else:
            found.append(None)
    return found


def wanted(message):
    """The place, the name and what was expected there, without what was got, as JSON writes it.

    Which components there are, is another thing in a browser.
    """
    said = re.split(r",? got ", message)[0].replace('"', "'").casefold()
    return re.sub("(component: expected one that) .*", r"\1", said)


def test_wrong_statements(tmp_path):
    names, files = zip(*wrong_files(tmp_path / "model"), strict=True)
    expected = numpy_says(files, tmp_path / "model")
    found = refusals(files, tmp_path)
    assert len(files) > 150
    assert None not in expected
    other = {
        name: (numpy, browser)
        for name, numpy, browser in zip(names, expected, found, strict=True)
        if browser is None or (name not in JSON and wanted(browser) != wanted(numpy))
    }
    assert other == {}


def test_damaged_files(tmp_path):
    """Files with bits flipped, parts moved and numbers changed: refused by both, or by neither."""
    path = tmp_path / "model"
    whole = [sample.write(path) for name, sample in SAMPLES.items() if name != "tree"]
    models = [("graph", one.config, one.arrays) for one in GRAPHS.values()]
    chains = [random_chain(seed) for seed in range(CHAINS)]
    models += [
        ("chain", one.config, one.arrays)
        for one in chains
        if {entry["layer"] for entry in one.config["layers"]} <= carried()
    ]
    for model in models:
        write_model(path, *model)
        whole.append(path.read_bytes())
    chance = random.Random(18)
    files = [mutated(chance.choice(whole), chance)[0] for _ in range(FILES)]
    expected, found = numpy_says(files, path), refusals(files, tmp_path)
    pairs = list(zip(expected, found, strict=True))
    assert [one for one in pairs if (one[0] is None) != (one[1] is None)] == []
    refused = [one for one in pairs if one[0] is not None]
    assert FILES / 2 < len(refused) < FILES - 100
    alike = sum(wanted(numpy) == wanted(browser) for numpy, browser in refused)
    assert alike > 0.99 * len(refused)
