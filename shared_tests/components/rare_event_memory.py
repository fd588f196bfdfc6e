"""Definition of the rare event memory: each query looks at each slot by itself."""

from __future__ import annotations

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.components.distances import l2_normalize
from shared_tests.fixtures import digits, normal
from shared_tests.repository import PACKAGES


def nearest(unit, keys, usable):
    """The first of the slots that are nearest among the usable ones, or None."""
    similar = {slot: float(unit @ keys[slot]) for slot in range(len(keys)) if usable[slot]}
    if not similar or np.isnan(unit).any():
        return None
    return next(slot for slot, one in similar.items() if one >= max(similar.values()) - 1e-9)


def memory_loss(queries, labels, keys, key_labels, margin=0.1):
    hinges = []
    for unit, label in zip(l2_normalize(queries), labels, strict=True):
        same, other = key_labels == label, (key_labels != label) & (key_labels >= 0)
        if same.any() and other.any():
            near, far = nearest(unit, keys, same), nearest(unit, keys, other)
            known = near is not None and far is not None
            margins = margin + unit @ keys[far] - unit @ keys[near] if known else np.nan
            hinges.append(np.maximum(margins, 0))
    return np.mean(hinges) if hinges else np.float64(0)


def updated_memory(queries, labels, keys, key_labels, ages, jitter=None, rule="age"):
    new = {"keys": keys.copy(), "labels": key_labels.copy(), "ages": ages + 1}
    used, missed = [], []
    for unit, label in zip(l2_normalize(queries), labels, strict=True):
        if np.isnan(unit).any():
            continue
        usable = key_labels == label if rule == "average" else key_labels >= 0
        slot = None if rule == "circular" else nearest(unit, keys, usable)
        if slot is None or key_labels[slot] != label:
            missed.append((unit, label))
        else:
            new["keys"][slot] += unit
            used.append(slot)
    for slot in set(used):
        new["keys"][slot] = l2_normalize(new["keys"][None, slot])[0]
    seen_as = np.where(key_labels >= 0, ages if jitter is None else ages + jitter, np.inf)
    seen_as[used] = -np.inf
    order = sorted(range(len(keys)), key=lambda slot: (-seen_as[slot], slot))
    for number, (unit, label) in enumerate(missed):
        slot = order[number % len(keys)]
        new["keys"][slot], new["labels"][slot] = unit, label
        used.append(slot)
    new["ages"][used] = 0
    return new


def rare_event_memory(weights, queries, size, dim, margin=0.1, rule="age", age_noise=0.0):
    keys, labels = weights["keys"], weights["labels"]
    found = {
        "labels": np.zeros(len(queries), np.int64),
        "similarities": np.zeros(len(queries)),
        "slots": np.zeros(len(queries), np.int64),
        "augmented": np.zeros((len(queries), 2 * dim)),
    }
    for row, (query, unit) in enumerate(zip(queries, l2_normalize(queries), strict=True)):
        slot = nearest(unit, keys, labels >= 0)
        key = np.zeros(dim) if slot is None else keys[slot]
        found["labels"][row] = -1 if slot is None else int(labels[slot])
        found["similarities"][row] = unit @ key
        found["slots"][row] = -1 if slot is None else slot
        found["augmented"][row] = np.concatenate([query, key])
    return found


def state(size, dim, classes, *, empty=(), seed=1):
    """Canonical arrays of a memory with some empty slots."""
    keys = l2_normalize(normal(size, dim, seed=seed))
    labels = np.random.default_rng(seed).integers(0, classes, size) / 1.0
    ages = np.random.default_rng(seed).permutation(size) + 1.0
    keys[list(empty)], labels[list(empty)] = 0, -1
    return {"keys": keys, "labels": labels, "ages": ages}


def asked(queries, labels, memory, /, *names, **changes):
    """The inputs of a function: queries, their labels, and the memory's arrays."""
    memory = {**memory, **changes}
    arrays = {"keys": memory["keys"], "key_labels": memory["labels"], "ages": memory["ages"]}
    return {"queries": queries, "labels": np.array(labels)} | {one: arrays[one] for one in names}


QUERIES = normal(7, 5, seed=2)
LABELS = [2, 0, 1, 1, 2, 0, 1]
STATE = state(11, 5, 3, empty=(0, 8))
NOTHING = state(11, 5, 3, empty=range(11))
# Slots 1, 4 and 6 are alike, and of different classes.
ALIKE = {**STATE, "keys": STATE["keys"][[0, 1, 2, 3, 1, 5, 1, 7, 8, 9, 10]]}
ALIKE["labels"] = np.array([-1, 2, 1, 0, 1, 0, 1, 2, -1, 0, 2]) / 1.0
NEAR_ALIKE = ALIKE["keys"][[1, 1, 5, 1]] + 0.1 * normal(4, 5, seed=3)
CORNERS = {"keys": np.eye(3)[:2], "labels": np.array([0.0, 1.0]), "ages": np.array([2.0, 1.0])}
WITH_NAN = np.where(np.arange(35).reshape(7, 5) == 12, np.nan, QUERIES)
WITH_ZERO = QUERIES * (np.arange(7) != 3)[:, None]
PIXELS, DIGITS = digits(29)
# Some of the digits are a memory's keys, the others its queries.
PIXEL_STATE = {
    "keys": l2_normalize(PIXELS[:17]),
    "labels": DIGITS[:17] / 1.0,
    "ages": np.arange(17.0)[::-1] + 1,
}
LOSS = ("keys", "key_labels")
ALL = (*LOSS, "ages")
CONSTANT = {"keys": ..., "key_labels": ...}
SIZES = {"size": 11, "dim": 5}
FIXED = ("keys", "labels", "ages")


def loss_case(name, inputs, options=None, **more):
    # The gradient reaches the queries alone, though differences see the keys.
    flat = {**CONSTANT, **more.pop("flat", {})}
    return Case(name, inputs, options or {}, flat=flat, **more)


def recall_case(name, queries, memory, options=SIZES, **more):
    return Case(name, {"queries": queries}, options, memory, fixed=FIXED, **more)


BAD_MEMORY = (
    BadInput({"queries": np.ones((7, 5), int)}, TypeError),
    BadInput({"queries": QUERIES[0]}),
    BadInput({"queries": QUERIES[:0], "labels": np.zeros(0, int)}),
    BadInput({"labels": np.ones(7)}, TypeError),
    BadInput({"labels": np.array(LABELS[:6])}),
    BadInput({"labels": np.array(LABELS) - 1}),
    BadInput({"labels": np.array(LABELS) + 2**24}),
    BadInput({"keys": STATE["keys"].astype("float16")}, TypeError),
    BadInput({"keys": STATE["keys"][:, :4]}),
    BadInput({"keys": STATE["keys"][:0], "key_labels": np.zeros(0)}),
    BadInput({"key_labels": np.ones(11, int)}, TypeError),
    BadInput({"key_labels": STATE["labels"][:7]}),
)

DEFINITION = Definition(
    "rare_event_memory",
    operations=(
        Operation(
            "memory_loss",
            memory_loss,
            cases=(
                loss_case("batch", asked(QUERIES, LABELS, STATE, *LOSS)),
                loss_case("wide margin", asked(QUERIES, LABELS, STATE, *LOSS), {"margin": 1.5}),
                loss_case("one query", asked(QUERIES[:1], LABELS[:1], STATE, *LOSS)),
                loss_case("labels that are not there", asked(QUERIES, [7] * 7, STATE, *LOSS)),
                loss_case(
                    "some labels are not there", asked(QUERIES, [7] * 5 + [0, 1], STATE, *LOSS)
                ),
                loss_case(
                    "no other label", asked(QUERIES, [1] * 7, STATE, *LOSS, labels=np.ones(11))
                ),
                loss_case(
                    "no other label and an empty slot",
                    asked(
                        -STATE["keys"][1:2],
                        [1],
                        STATE,
                        *LOSS,
                        labels=np.where(np.arange(11) == 0, -1.0, 1.0),
                    ),
                    {"margin": 1.5},
                ),
                loss_case("empty memory", asked(QUERIES, LABELS, NOTHING, *LOSS)),
                loss_case(
                    "keys alike", asked(NEAR_ALIKE, [1, 2, 0, 0], ALIKE, *LOSS), {"margin": 0.5}
                ),
                loss_case(
                    "margin met exactly",
                    asked(np.eye(3)[:1], [0], CORNERS, *LOSS),
                    {"margin": 1.0},
                    flat={"queries": ...},
                ),
                loss_case(
                    "a zero query", asked(WITH_ZERO, LABELS, STATE, *LOSS), flat={"queries": 3}
                ),
                loss_case("digits", asked(PIXELS[17:], DIGITS[17:], PIXEL_STATE, *LOSS)).vanishes(
                    "gradient:queries"
                ),
                loss_case("nan", asked(WITH_NAN, LABELS, STATE, *LOSS), differentiate=False),
            ),
            bad_inputs=(*BAD_MEMORY, BadInput({"margin": -0.1})),
            numpy=True,
        ),
        Operation(
            "updated_memory",
            updated_memory,
            cases=(
                Case(
                    "jitter",
                    asked(QUERIES, LABELS, STATE, *ALL) | {"jitter": 5 * normal(11, seed=4)},
                ),
                Case("age", asked(QUERIES, LABELS, STATE, *ALL)),
                Case("circular", asked(QUERIES, LABELS, STATE, *ALL), {"rule": "circular"}),
                Case("average", asked(QUERIES, LABELS, STATE, *ALL), {"rule": "average"}),
                Case(
                    "average, a new label",
                    asked(QUERIES, [7, 8, 7, 0, 1, 2, 2], STATE, *ALL),
                    {"rule": "average"},
                ),
                Case("one query", asked(QUERIES[:1], LABELS[:1], STATE, *ALL)),
                Case("several at one slot", asked(NEAR_ALIKE, [2, 2, 0, 1], ALIKE, *ALL)),
                Case(
                    "several at one slot, average",
                    asked(NEAR_ALIKE, [1, 2, 0, 1], ALIKE, *ALL),
                    {"rule": "average"},
                ),
                Case(
                    "more than slots", asked(normal(17, 5, seed=5), np.arange(17) % 5, STATE, *ALL)
                ),
                Case(
                    "slots in use come last",
                    asked(
                        np.concatenate([STATE["keys"][[3, 5]], QUERIES, -QUERIES]),
                        [int(STATE["labels"][3]), int(STATE["labels"][5]), *[9] * 14],
                        STATE,
                        *ALL,
                    ),
                ),
                Case("equal ages", asked(QUERIES, LABELS, STATE, *ALL, ages=np.full(11, 3.0))),
                Case("empty memory", asked(QUERIES, LABELS, NOTHING, *ALL)),
                Case("one slot", asked(QUERIES, LABELS, state(1, 5, 3), *ALL)),
                Case("digits", asked(PIXELS[17:], DIGITS[17:], PIXEL_STATE, *ALL)),
                Case("nan", asked(WITH_NAN, LABELS, STATE, *ALL)),
            ),
            bad_inputs=(
                *BAD_MEMORY,
                BadInput({"rule": "youngest"}),
                BadInput({"ages": np.ones(11, int)}, TypeError),
                BadInput({"ages": STATE["ages"][:7]}),
                BadInput({"jitter": STATE["ages"][:7]}),
            ),
            differentiable=False,
            numpy=True,
        ),
        Operation(
            "RareEventMemory",
            rare_event_memory,
            cases=(
                recall_case(
                    "nearest",
                    QUERIES,
                    STATE,
                    {**SIZES, "margin": 0.3, "rule": "average", "age_noise": 2.0},
                ),
                recall_case("defaults", QUERIES, STATE),
                recall_case("one query", QUERIES[:1], STATE),
                recall_case("empty batch", QUERIES[:0], STATE),
                recall_case("empty memory", QUERIES, NOTHING),
                recall_case("keys alike", NEAR_ALIKE, ALIKE),
                recall_case("one slot", QUERIES, state(1, 5, 3), {"size": 1, "dim": 5}),
                recall_case(
                    "one feature",
                    QUERIES[:, :1],
                    state(11, 1, 3),
                    {"size": 11, "dim": 1},
                    differentiate=False,
                ),
                recall_case("a zero query", WITH_ZERO, STATE, differentiate=False),
                recall_case("digits", PIXELS[17:], PIXEL_STATE, {"size": 17, "dim": 64}),
                recall_case("nan", WITH_NAN, STATE, differentiate=False),
            ),
            bad_inputs=(
                BadInput({"queries": np.ones((7, 5), int)}, TypeError),
                BadInput({"queries": QUERIES.astype("float16")}, TypeError),
                BadInput({"queries": QUERIES[0]}),
                BadInput({"queries": QUERIES[:, :4]}),
                BadInput({"size": 0}, numpy=False),
                BadInput({"size": 2.0}, TypeError, numpy=False),
                BadInput({"dim": 0}, numpy=False),
                BadInput({"margin": -1.0}, numpy=False),
                BadInput({"rule": "youngest"}, numpy=False),
                BadInput({"age_noise": -1.0}, numpy=False),
            ),
            kind="model",
            numpy=True,
        ),
    ),
    mutants=(
        Mutant(
            "empty slots are of another class",
            "memory_loss",
            "no other label and an empty slot",
            dict.fromkeys(PACKAGES.values(), ("~same & (key_labels >= 0)", "~same")),
        ),
        Mutant(
            "mean over all queries",
            "memory_loss",
            "some labels are not there",
            {
                "pytorch_impl": ("both.sum().clamp(min=1)", "len(both)"),
                "tf2_impl": (
                    "tf.math.count_nonzero(both, dtype=hinge.dtype)",
                    "tf.cast(tf.size(both), hinge.dtype)",
                ),
                "theano_impl": ("T.sum(both), 1", "both.size, 1"),
                "numpy_infer": ("both.sum(), 1", "both.size, 1"),
            },
        ),
        Mutant(
            "the keys learn",
            "memory_loss",
            "batch",
            {
                "pytorch_impl": ("keys = keys.detach()", "keys = keys * 1"),
                "tf2_impl": ("keys = tf.stop_gradient(keys)", "keys = keys * 1"),
                "theano_impl": ("keys = disconnected_grad(keys)", "keys = keys * 1"),
            },
        ),
        Mutant(
            "the slot keeps its length",
            "updated_memory",
            "average",
            {
                "pytorch_impl": ("l2_normalize(grown[slots])", "grown[slots]"),
                "tf2_impl": (
                    "l2_normalize(tf.gather_nd(grown, slots))",
                    "tf.gather_nd(grown, slots)",
                ),
                "theano_impl": ("l2_normalize(grown[slots])", "grown[slots]"),
                "numpy_infer": ("l2_normalize(grown[slots])", "grown[slots]"),
            },
        ),
        Mutant(
            "one query at a slot overwrites another",
            "updated_memory",
            "several at one slot, average",
            {
                "pytorch_impl": (
                    "keys.index_add(0, slots, unit[match])",
                    "keys.index_copy(0, slots, keys[slots] + unit[match])",
                ),
                "tf2_impl": ("tf.tensor_scatter_nd_add(keys", "tf.tensor_scatter_nd_update(keys"),
                "theano_impl": ("T.inc_subtensor(keys", "T.set_subtensor(keys"),
                "numpy_infer": (
                    "np.add.at(grown, slots, unit[match])",
                    "grown[slots] += unit[match]",
                ),
            },
        ),
        Mutant(
            "the youngest is overwritten",
            "updated_memory",
            "digits",
            {
                "pytorch_impl": ("argsort(descending=True", "argsort(descending=False"),
                "tf2_impl": ('direction="DESCENDING"', 'direction="ASCENDING"'),
                "theano_impl": ("T.argsort(-T.switch", "T.argsort(T.switch"),
                "numpy_infer": ("np.argsort(-np.where", "np.argsort(np.where"),
            },
            file="support.memory_slots",
        ),
        Mutant(
            "a slot in use is overwritten",
            "updated_memory",
            "slots in use come last",
            {
                "pytorch_impl": ("ages.masked_fill(matched, -math.inf)", "ages"),
                "tf2_impl": ("tf.where(matched, -infinity, ages)", "ages"),
                "theano_impl": ("T.switch(matched, -infinity, ages)", "ages"),
                "numpy_infer": ("np.where(matched, -np.inf, ages)", "ages"),
            },
            file="support.memory_slots",
        ),
        Mutant(
            "a NaN is written",
            "updated_memory",
            "nan",
            dict.fromkeys(PACKAGES.values(), ("missed = known & ~match", "missed = ~match")),
        ),
        Mutant(
            "an empty slot is a neighbour",
            "RareEventMemory",
            "a zero query",
            {
                "pytorch_impl": ("filled = self.labels >= 0", "filled = self.labels >= EMPTY"),
                "tf2_impl": ("filled = labels >= 0", "filled = labels >= EMPTY"),
                "theano_impl": ("filled = self.labels >= 0", "filled = self.labels >= EMPTY"),
                "numpy_infer": ("filled = self.labels >= 0", "filled = self.labels >= EMPTY"),
            },
        ),
        Mutant(
            "neighbour and query change places",
            "RareEventMemory",
            "nearest",
            dict.fromkeys(PACKAGES.values(), ("([queries, near]", "([near, queries]")),
        ),
    ),
)
