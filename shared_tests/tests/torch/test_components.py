"""What is PyTorch's own: modules, sparse gradients, and the NumPy chain beside torch.nn."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import numpy_infer
import numpy_infer.layers.recurrent
import numpy_infer.sequence_encoder
from fourfold.agreement import VALUE_TOLERANCE, assert_close
from fourfold.backends.torch_backend import build
from fourfold.distributions import assert_normal
from numpy_infer.layers.convolution import convolution, transposed_convolution
from numpy_infer.layers.pooling import max_pool, max_unpool
from pytorch_impl import interchange
from pytorch_impl.char_word_encoder import CharWordEncoder, SentenceEncoder
from pytorch_impl.conv_autoencoder import ConvAutoencoder1d
from pytorch_impl.fast import recursive_autoencoder as fast_trees
from pytorch_impl.fast.sparse_projection import _argsort
from pytorch_impl.feedback_network import FeedbackNetwork
from pytorch_impl.neural_grammar import NeuralGrammar
from pytorch_impl.padded_embedding import PaddedEmbedding, pad_token_lists
from pytorch_impl.recursive_autoencoder import RecursiveAutoencoder
from pytorch_impl.sequence_encoder import SequenceEncoder
from pytorch_impl.sparse_projection import SparseProjection
from pytorch_impl.speaker_encoder import SpeakerEncoder
from pytorch_impl.support import bracketing, greedy_tree
from pytorch_impl.title_encoder import TitleEncoder, bag_of_titles, leave_one_out_loss
from pytorch_impl.top_k_gating import MixtureOfExperts
from pytorch_impl.triplet_loss import TripletLoss
from shared_tests.components import conv_autoencoder
from shared_tests.components.sequence_encoder import last_state
from shared_tests.components.sparse_projection import COLUMNS, REPEATED, ROWS, VALUES, repeated
from shared_tests.fixtures import normal

IDS = pad_token_lists([[3, 1, 10], [7], [2, 2, 9, 4, 1], []])


def test_embedding_gradient_is_sparse_when_asked():
    gradients = {}
    for sparse in (False, True):
        model = PaddedEmbedding(11, 5, sparse=sparse, seed=1)
        (model(IDS) ** 2).sum().backward()
        assert model.table.grad.is_sparse == sparse
        gradients[sparse] = model.table.grad
    touched = set(gradients[True].coalesce().indices()[0].tolist())
    assert touched == {1, 2, 3, 4, 7, 9, 10}
    torch.testing.assert_close(gradients[True].to_dense(), gradients[False])


@pytest.mark.parametrize(
    "make",
    [
        lambda sparse: SequenceEncoder(11, 3, 5, dropout=0.0, sparse=sparse, seed=1),
        lambda sparse: CharWordEncoder(11, char_dim=3, n_filters=5, sparse=sparse, seed=1),
        lambda sparse: SentenceEncoder(11, 2, char_dim=3, sparse=sparse, seed=1).words,
    ],
    ids=["sequence", "words", "sentences"],
)
def test_encoders_have_sparse_gradients_when_asked(make):
    gradients = {}
    for sparse in (False, True):
        model = make(sparse)
        model(IDS).square().sum().backward()
        assert model.table.grad.is_sparse == sparse
        gradients[sparse] = model.table.grad
    torch.testing.assert_close(gradients[True].to_dense(), gradients[False])
    assert not gradients[False][0].any()  # the padding does not learn


def test_state_travels_by_state_dict():
    model, other = (PaddedEmbedding(11, 5, seed=seed) for seed in (1, 2))
    assert not torch.equal(model(IDS), other(IDS))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(IDS), other(IDS))


def test_seed_makes_weights_repeatable():
    first, second, other = (PaddedEmbedding(11, 5, seed=seed).table for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    torch.manual_seed(3)
    drawn = PaddedEmbedding(11, 5).table
    torch.manual_seed(3)
    assert torch.equal(PaddedEmbedding(11, 5).table, drawn)


def test_modules_describe_themselves():
    assert "margin=0.5" in repr(TripletLoss(margin=0.5))
    assert "vocabulary_size=11" in repr(PaddedEmbedding(11, 5))


def randomized(module: nn.Module) -> nn.Module:
    """The module in evaluation mode, with every parameter and running statistic different."""
    for number, tensor in enumerate([*module.parameters(), *module.buffers()]):
        if tensor.is_floating_point():
            tensor.data = torch.from_numpy(normal(*tensor.shape, seed=number) ** 2 + 0.1)
    return module.double().eval()


def arrays(*tensors: torch.Tensor) -> list[np.ndarray]:
    return [tensor.detach().numpy() for tensor in tensors]


CHAIN = {
    "linear": (
        randomized(nn.Linear(7, 3)),
        lambda m: numpy_infer.Projection(numpy_infer.Input(), *arrays(m.weight.T, m.bias)),
    ),
    "batch norm": (
        randomized(nn.BatchNorm1d(7)),
        lambda m: numpy_infer.BatchNorm(
            numpy_infer.Input(), *arrays(m.weight, m.bias, m.running_mean, m.running_var)
        ),
    ),
    "layer norm": (
        randomized(nn.LayerNorm(7)),
        lambda m: numpy_infer.LayerNorm(numpy_infer.Input(), *arrays(m.weight, m.bias)),
    ),
    "relu": (nn.ReLU(), lambda m: numpy_infer.ReLU(numpy_infer.Input())),
    "tanh": (nn.Tanh(), lambda m: numpy_infer.Tanh(numpy_infer.Input())),
    "sigmoid": (nn.Sigmoid(), lambda m: numpy_infer.Sigmoid(numpy_infer.Input())),
    "softmax": (nn.Softmax(-1), lambda m: numpy_infer.Softmax(numpy_infer.Input())),
}


@pytest.mark.parametrize("name", CHAIN)
def test_numpy_chain_agrees_with_torch_nn(name):
    module, build = CHAIN[name]
    x = normal(5, 7, seed=1)
    (wanted,) = arrays(module(torch.from_numpy(x)))
    assert_close(build(module)(x), wanted, VALUE_TOLERANCE["layer", "float64"], name)


def repeated_tensor(layout: str) -> torch.Tensor:
    if layout == "coo":
        return torch.sparse_coo_tensor(np.stack([ROWS, COLUMNS]), VALUES, REPEATED.shape)
    data, indices, indptr = map(torch.from_numpy, repeated(layout))
    make = torch.sparse_csr_tensor if layout == "csr" else torch.sparse_csc_tensor
    return make(indptr, indices, data, REPEATED.shape, check_invariants=False)


@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
def test_sparse_projection_sums_what_is_stored_twice(layout):
    model = SparseProjection(7, 3, seed=1).double()
    found = []
    for x in (repeated_tensor(layout), torch.from_numpy(REPEATED)):
        output = model(x)
        found.append([output, *torch.autograd.grad((output**2).sum(), model.parameters())])
    torch.testing.assert_close(*found, rtol=0, atol=1e-12)


@pytest.mark.parametrize("width", [3, 32_766, 32_767, 40_000])
@pytest.mark.parametrize("n", [4_096, 4_097, 32_767, 32_768])
def test_sparse_projection_sorts_stably(n, width):
    indices = torch.from_numpy(np.random.default_rng(1).integers(width, size=n)).int()
    indices[: n // 2] = width - 1  # next to what pads
    torch.testing.assert_close(_argsort(indices, width), indices.argsort(stable=True))


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(("pairs", "most"), [("all", 12**2), ("adjacent", 3 * 12)])
def test_recursive_autoencoder_scores_each_pair_once(monkeypatch, pairs, most, plain):
    model, batches = RecursiveAutoencoder(3, pairs=pairs, seed=1).double(), []
    if plain:
        monkeypatch.setattr(fast_trees, "applies", lambda *_: False)
    module, name, i = (greedy_tree, "pair_scores", 3) if plain else (fast_trees, "_pair_scores", 2)
    score = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *a: batches.append(len(a[i])) or score(*a))
    model(torch.from_numpy(normal(13, 3, seed=1)))
    assert 0 < len(batches) <= 13
    assert sum(batches) <= most


LABELLED = np.array([[2, 3], [2, 4], [0, 1], [0, 4]])


def test_neural_grammar_scores_each_pair_once(monkeypatch):
    model, batches = NeuralGrammar(3, 5, seed=1).double(), []
    costs = bracketing.pair_costs
    counted = lambda *a: batches.append(a[1][..., 0].numel()) or costs(*a)  # noqa: E731
    monkeypatch.setattr(bracketing, "pair_costs", counted)
    model(torch.from_numpy(normal(13, 3, seed=1)))
    assert 0 < len(batches) <= 13
    assert sum(batches) <= 3 * 12


def test_neural_grammar_finds_the_bracketing_that_it_has_learned():
    model = NeuralGrammar(3, 7, seed=1)
    vectors, brackets = torch.from_numpy(normal(5, 3, seed=2)).float(), torch.from_numpy(LABELLED)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    while (loss := model(vectors, brackets.to(torch.int8)).loss) > 0:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = model(vectors).brackets
    assert sorted(found.tolist()) == sorted(LABELLED.tolist())


TITLES = np.array([[[1, 2, 0], [3, 0, 0], [4, 5, 6]], [[7, 8, 0], [9, 10, 0], [0, 0, 0]]])
OTHERS = np.array([[[7, 10, 0]], [[1, 6, 0]]])


@pytest.mark.parametrize("sparse", [False, True])
def test_title_encoder_works_on_bags(sparse):
    model = TitleEncoder(11, 5, sparse=sparse, seed=1).double()
    ids, others = torch.from_numpy(TITLES), torch.from_numpy(OTHERS)
    vectors, negatives = (torch.stack([model(group) for group in one]) for one in (ids, others))
    torch.testing.assert_close(model.bags(ids), bag_of_titles(vectors))
    loss = model.loss(ids, others, margin=1.5)
    torch.testing.assert_close(loss, leave_one_out_loss(vectors, negatives, margin=1.5))
    loss.backward()
    assert model.table.grad.is_sparse == sparse
    with pytest.raises(ValueError, match="negatives: expected ids"):
        model.loss(ids, others + 1)


GRU_ARRAYS = ("input_weight", "hidden_weight", "input_bias", "hidden_bias")


def gru_and_arrays(seed: int) -> tuple[nn.GRU, dict[str, np.ndarray]]:
    """PyTorch's own GRU, 3 to 5, and its weights in canonical layout."""
    gru = nn.GRU(3, 5, batch_first=True).double()
    shapes = [(3, 15), (5, 15), (15,), (15,)]
    own = [normal(*shape, seed=seed + place) for place, shape in enumerate(shapes)]
    for parameter, array in zip(gru.parameters(), own, strict=True):
        parameter.data = torch.from_numpy(array.T.copy())
    return gru, dict(zip(GRU_ARRAYS, own, strict=True))


@pytest.mark.parametrize("backward", [False, True])
def test_gru_agrees_with_torch_nn(backward):
    """NumPy's, and the definition's, which every package is held to."""
    gru, weights = gru_and_arrays(seed=1)
    x = normal(4, 7, 3, seed=5)
    read = x[:, ::-1].copy() if backward else x
    (wanted,) = arrays(gru(torch.from_numpy(read))[0])
    got = numpy_infer.layers.recurrent.gru(x, **weights, backward=backward)
    assert_close(got[:, ::-1] if backward else got, wanted, 1e-12, "numpy_infer")
    named = {f"gru.{name}": array for name, array in weights.items()}
    defined = np.array([last_state(named, row) for row in read])
    assert_close(defined, wanted[:, -1], 1e-12, "definition")


@pytest.mark.parametrize("reverse", [False, True])
def test_sequence_encoder_agrees_with_torch_nn_on_each_sequence_alone(reverse):
    lists = [[3, 1, 10], [7], [2, 2, 9, 4, 1], [10, 6]]
    gru, weights = gru_and_arrays(seed=11)
    table = normal(11, 3, seed=15)
    table[0] = 0
    config = {"vocabulary_size": 11, "embedding_dim": 3, "hidden": 5, "reverse": reverse}
    named = {"table": table} | {f"gru.{name}": array for name, array in weights.items()}
    model = interchange.from_arrays("sequence_encoder", config, named).eval()
    steps = [torch.from_numpy(table[one[::-1] if reverse else one]) for one in lists]
    wanted = torch.cat([gru(one[None])[1][0] for one in steps])
    ids = pad_token_lists(lists)
    torch.testing.assert_close(model(ids), wanted, rtol=0, atol=1e-12)
    net = numpy_infer.sequence_encoder.SequenceEncoder(
        numpy_infer.Input(), table, *weights.values(), reverse=reverse
    )
    assert_close(net(ids.numpy()), wanted.detach().numpy(), 1e-12, "numpy_infer")


def test_sequence_encoder_drops_out_in_training_alone():
    model = SequenceEncoder(11, 3, 5, dropout=0.5, seed=1)
    torch.manual_seed(1)
    assert not torch.equal(model(IDS), model(IDS))
    assert torch.equal(model.eval()(IDS), model(IDS))


def test_sequence_encoder_takes_its_seed_alone():
    states = [SequenceEncoder(11, 3, 5, seed=seed).eval()(IDS) for seed in (1, 1, 2)]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_feedback_network_agrees_with_torch_nn_fed_the_features_again_and_again():
    model = FeedbackNetwork(7, [2, 3, 5], hidden=5, seed=1).double()
    x = torch.from_numpy(normal(3, 7, seed=1))
    features = model.norm(model.projection(x)).relu()
    states, _ = model.gru(features[:, None].expand(-1, 3, -1))
    for place, (level, got) in enumerate(zip(model.levels, model(x), strict=True)):
        wanted = level(states[:, place]).log_softmax(1)
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


AUTOENCODERS = [("ConvAutoencoder1d", "three levels"), ("ConvAutoencoder2d", "digits")]


@pytest.mark.parametrize(("name", "case"), AUTOENCODERS)
def test_conv_autoencoder_keeps_the_positions_of_its_definition(name, case):
    case = conv_autoencoder.DEFINITION.cell(name, case).case
    x, size = case.inputs["x"], case.options["pool_size"]
    model = build("conv_autoencoder", name, case)
    encoding = model.encode(torch.from_numpy(x))
    code, positions, spaces = conv_autoencoder.encode(case.weights, x, size)
    np.testing.assert_allclose(encoding.code.detach(), code, rtol=0, atol=1e-12)
    for got, wanted in zip(encoding.positions, positions, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert list(map(tuple, encoding.spaces)) == spaces
    assert not model.decode(encoding._replace(code=encoding.code + 1)).equal(model.decode(encoding))


def test_conv_autoencoder_has_the_shapes_of_its_source():
    model = ConvAutoencoder1d(128, seed=1)
    x = torch.from_numpy(normal(1, 128, 44, seed=1)).float()
    encoding = model.encode(x)
    assert encoding.code.shape == (1, 16, 19)
    assert [tuple(one.shape) for one in encoding.positions] == [(1, 16, 21)]
    assert encoding.spaces == ((42,),)
    # The source's own layers, one after the other.
    pooled, positions = F.max_pool1d(model.encoder[0](x), 2, return_indices=True)
    unpooled = F.max_unpool1d(model.decoder[0](model.encoder[1](pooled)), positions, 2)
    torch.testing.assert_close(model(x), model.decoder[1](unpooled), rtol=0, atol=0)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (2, 1, 3)])
def test_convolutions_of_numpy_are_those_of_torch(rank, stride, padding, dilation):
    x, bias = normal(2, 3, *(11, 13)[:rank], seed=1), normal(5, seed=2)
    weight = normal(5, 3, *(3, 2)[:rank], seed=3)
    kinds = (F.conv1d, F.conv_transpose1d), (F.conv2d, F.conv_transpose2d)
    named = {"stride": stride, "padding": padding, "dilation": dilation}
    options = {"stride": [stride] * rank, "dilation": [dilation] * rank}
    options["padding"] = [[padding, padding]] * rank
    weights = weight, weight.swapaxes(0, 1).copy()
    for ours, theirs, own in zip(
        (convolution, transposed_convolution), kinds[rank - 1], weights, strict=True
    ):
        wanted = theirs(*map(torch.from_numpy, (x, own, bias)), **named)
        np.testing.assert_allclose(ours(x, own, bias, **options), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize(("size", "stride", "padding"), [(2, 2, 0), (3, 3, 1), (2, 3, 1)])
def test_pools_of_numpy_are_those_of_torch(rank, size, stride, padding):
    x = np.round(normal(2, 3, *(11, 13)[:rank], seed=1))  # many are equal
    window = [size] * rank, [stride] * rank, [[padding, padding]] * rank
    pool, unpool = [(F.max_pool1d, F.max_unpool1d), (F.max_pool2d, F.max_unpool2d)][rank - 1]
    given = torch.from_numpy(x)
    values, positions = pool(given, size, stride, padding, return_indices=True)
    got = max_pool(x, *window)
    np.testing.assert_array_equal(got.values, values)
    np.testing.assert_array_equal(got.positions, positions)
    wanted = unpool(values, positions, size, stride, padding, output_size=x.shape[2:])
    np.testing.assert_array_equal(max_unpool(got.values, got.positions, x.shape), wanted)


def test_speaker_encoder_is_the_sketch_of_its_source_with_activations():
    model = SpeakerEncoder(128, seed=1)
    x = torch.from_numpy(normal(3, 128, 22, seed=1)).float()
    first, second = model.convolutions
    h = F.relu(second(F.max_pool1d(F.relu(first(x)), 2)))
    mean = F.adaptive_avg_pool2d(h, (32, 1)).squeeze(2)
    wanted = F.normalize(F.linear(mean, model.projection.weight))
    torch.testing.assert_close(model(x), wanted)
    assert model.projection.bias is None


def test_noise_of_the_gates_is_standard_normal():
    """Times softplus(0) = log 2 before noise_weight has learnt; the gates are then its softmax."""
    model = MixtureOfExperts(3, 2, 2, 2, noisy=True, seed=1)
    torch.manual_seed(1)
    gates = model.train().gates(torch.zeros(3000, 3)).detach().numpy()
    assert_normal(np.log(gates[:, 0] / gates[:, 1]) / np.log(2), 2**0.5)


def test_the_size_that_ties_depend_on_is_the_longest_length():
    vectors = torch.tensor([[3.0, -4.0], [1.0, -5.0], [np.inf, 1.0], [np.nan, 9.0]])
    assert float(greedy_tree.largest_length(vectors)) == pytest.approx(26**0.5)
