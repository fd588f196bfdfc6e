/** The components: each a layer of its own, with parts that other layers are made of. */

import * as tf from "@tensorflow/tfjs-core";
import { logSoftmax, softmax } from "./activations.js";
import { convolution, transposedConvolution } from "./convolution.js";
import { l2Normalize, standardized } from "./normalization.js";
import { POOLS, unpooled } from "./pooling.js";
import { PROJECTIONS, amongTopK, checkedIds, projected, topKGating } from "./projection.js";
import { below, gru, nextState } from "./recurrent.js";
import { asFirst, entrywise, expectShape, expectWidth, first } from "./value.js";

/** @typedef {import("./value.js").Factory} Factory */
/** @typedef {import("./value.js").Value} Value */
/** @typedef {import("./value.js").Weights} Weights */
/** @typedef {import("./value.js").Keep} Keep */

const LOWEST = -3.4e38;
const relu = entrywise((x) => tf.relu(x));

/**
 * Ids (rows, longest) that are padded on the right, and which are no padding, as 1 or 0.
 *
 * @param {Value} value @param {number} size rows of the table @param {number} shortest
 */
function paddedIds(value, size, shortest) {
    const ids = checkedIds(value, size);
    expectShape(ids.rank === 2, "2 axes", value);
    const missing = Math.max(0, shortest - Number(ids.shape[1]));
    const longer = missing
        ? tf.pad(ids, [
              [0, 0],
              [0, missing],
          ])
        : ids;
    const real = tf.cast(tf.notEqual(longer, 0), "float32");
    expectRightPadded(real);
    return { ids: longer, real };
}

/** An Error unless what is real, (rows, longest) of 1 or 0, comes first in every row. @param {tf.Tensor} real */
function expectRightPadded(real) {
    const longest = real.shape[1] ?? 0;
    const data = real.dataSync();
    const early = data.findIndex((one, i) => one > 0 && i % longest > 0 && data[i - 1] === 0);
    if (early >= 0) {
        const row = Math.floor(early / longest);
        throw new RangeError(
            `ids: expected padding at the end of a row, got it earlier in row ${row}`,
        );
    }
}

/** Sum or mean of the embeddings of each row's tokens. @param {tf.Tensor} table @param {Value} value @param {boolean} mean */
function embeddedRows(table, value, mean) {
    const ids = checkedIds(value, table.shape[0]);
    expectShape(ids.rank === 2, "2 axes", value);
    const real = tf.cast(tf.notEqual(ids, 0), "float32");
    const sum = tf.sum(tf.mul(tf.gather(table, ids), tf.expandDims(real, 2)), 1);
    return mean ? tf.div(sum, tf.maximum(tf.sum(real, 1, true), 1)) : sum;
}

/** @param {Weights} weights @param {Keep} keep @returns {(value: Value) => tf.Tensor} */
function words(weights, keep) {
    const { table } = weights;
    const window = { stride: [1], padding: [[0, 0]], dilation: [1], groups: 1 };
    const compute = convolution(below(weights, "convolution."), window, keep);
    const [, , width] = weights["convolution.weight"].shape;
    return (value) => {
        const { ids, real } = paddedIds(value, table.shape[0], width);
        const vectors = tf.mul(tf.gather(table, ids), tf.expandDims(real, 2)); // (words, time, dim)
        const c = /** @type {Value} */ (compute([{ tensor: vectors, last: true }])).tensor; // (words, windows, filters)
        const lengths = tf.sum(real, 1, true); // (words, 1)
        const windows = tf.maximum(tf.sub(lengths, width - 1), 1);
        const inside = tf.less(tf.range(0, Number(c.shape[1])), windows); // (words, windows)
        const counted = tf.where(tf.expandDims(inside, 2), c, tf.fill(c.shape, LOWEST));
        return tf.mul(tf.max(counted, 1), tf.cast(tf.greater(lengths, 0), "float32"));
    };
}

/** The last state of a GRU that reads forward, or backward. @param {tf.Tensor} x @param {Weights} weights @param {boolean} reverse @param {tf.Tensor} mask */
function lastState(x, weights, reverse, mask) {
    return /** @type {tf.Tensor} */ (
        gru(x, below(weights, "gru."), reverse, mask).at(reverse ? 0 : -1)
    );
}

/** @type {Factory} */
function autoencoder(weights, { channels, pool_size: size }, keep) {
    const rank = weights["encoder.0.weight"].rank - 2;
    const window = {
        stride: Array(rank).fill(1),
        padding: Array(rank).fill([0, 0]),
        dilation: Array(rank).fill(1),
        groups: 1,
    };
    const pool = {
        size: Array(rank).fill(size),
        stride: Array(rank).fill(size),
        padding: window.padding,
    };
    const layers = /** @type {any[]} */ (channels).map((_, i) => ({
        encode: convolution(below(weights, `encoder.${i}.`), window, keep),
        decode: transposedConvolution(below(weights, `decoder.${i}.`), window, keep),
    }));
    const maxPool = POOLS.MaxPool({}, pool, keep);
    return (values) => {
        const poolInputs = /** @type {Value[]} */ ([]);
        let x = values[0];
        layers.forEach(({ encode }, i) => {
            if (i > 0) {
                poolInputs.push(x);
                x = /** @type {Value} */ (maxPool([x]));
            }
            x = /** @type {Value} */ (encode([x]));
        });
        layers.forEach(({ decode }, i) => {
            if (i > 0) x = unpooled(x, /** @type {Value} */ (poolInputs.pop()), pool);
            x = /** @type {Value} */ (decode([x]));
        });
        return x;
    };
}

/** @type {Record<string, Factory>} */
export const COMPONENT_LAYERS = {
    "char_word_encoder.CharWordEncoder": (weights, _, keep) => {
        const encode = words(weights, keep);
        return ([value]) => asFirst(encode(value));
    },
    "char_word_encoder.SentenceEncoder": (weights, { reverse }, keep) => {
        const encode = words(below(weights, "words."), keep);
        return ([value]) => {
            expectShape(value.tensor.rank === 3, "3 axes", value);
            const [sentences, count, longest] = value.tensor.shape;
            const vectors = encode(asFirst(tf.reshape(value.tensor, [sentences * count, longest])));
            const real = tf.cast(tf.any(tf.notEqual(value.tensor, 0), 2), "float32"); // (sentences, words)
            expectRightPadded(real);
            return asFirst(
                lastState(tf.reshape(vectors, [sentences, count, -1]), weights, reverse, real),
            );
        };
    },
    "conv_autoencoder.ConvAutoencoder1d": autoencoder,
    "conv_autoencoder.ConvAutoencoder2d": autoencoder,
    "feedback_network.FeedbackNetwork":
        (weights, { classes }) =>
        ([value]) => {
            const g = below(weights, "gru.");
            expectWidth(value, -1, weights["projection.weight"].shape[0]);
            const x = projected(
                first(value),
                weights["projection.weight"],
                weights["projection.bias"],
            );
            const normed = tf.add(
                tf.mul(standardized(x, 1e-5), weights["norm.scale"]),
                weights["norm.shift"],
            );
            const xGates = projected(tf.relu(normed), g.input_weight, g.input_bias);
            let h = /** @type {tf.Tensor} */ (tf.zerosLike(normed));
            return classes.map((/** @type {number} */ _, /** @type {number} */ level) => {
                h = nextState(xGates, projected(h, g.hidden_weight, g.hidden_bias), h);
                const own = below(weights, `levels.${level}.`);
                return asFirst(logSoftmax(projected(h, own.weight, own.bias), 1));
            });
        },
    "padded_embedding.PaddedEmbedding":
        ({ table }, { reduce, unit_norm: unit }) =>
        ([value]) => {
            const vectors = embeddedRows(table, value, reduce === "mean");
            return asFirst(unit ? l2Normalize(vectors) : vectors);
        },
    "sequence_encoder.SequenceEncoder":
        (weights, { reverse, out_features: out }) =>
        ([value]) => {
            const { ids, real } = paddedIds(value, weights.table.shape[0], 1);
            const state = lastState(tf.gather(weights.table, ids), weights, reverse, real);
            return asFirst(
                out === null
                    ? state
                    : projected(state, weights["projection.weight"], weights["projection.bias"]),
            );
        },
    "sparse_projection.SparseProjection": PROJECTIONS.Projection,
    "speaker_encoder.SpeakerEncoder": (weights, { channels }, keep) => {
        const window = { stride: [1], padding: [[0, 0]], dilation: [1], groups: 1 };
        const layers = channels.map((/** @type {number} */ _, /** @type {number} */ i) =>
            convolution(below(weights, `convolutions.${i}.`), window, keep),
        );
        const pool = POOLS.MaxPool({}, { size: [2], stride: [2], padding: [[0, 0]] }, keep);
        return (values) => {
            let x = values[0];
            layers.forEach(
                (/** @type {import("./value.js").Run} */ layer, /** @type {number} */ i) => {
                    if (i > 0) x = /** @type {Value} */ (pool([x]));
                    x = /** @type {Value} */ (relu([/** @type {Value} */ (layer([x]))]));
                },
            );
            return asFirst(
                l2Normalize(projected(tf.mean(x.tensor, 1), weights["projection.weight"])),
            );
        };
    },
    "title_encoder.TitleEncoder":
        ({ table }) =>
        ([value]) =>
            asFirst(l2Normalize(embeddedRows(table, value, false))),
    "top_k_gating.MixtureOfExperts":
        (weights, { k, renormalize }) =>
        ([value]) => {
            const { gate_weight: gate, expert_weight: expert, expert_bias: bias } = weights;
            expectWidth(value, -1, gate.shape[0]);
            const x = /** @type {tf.Tensor2D} */ (first(value));
            const logits = projected(x, gate);
            const gates = renormalize
                ? topKGating(logits, k)
                : tf.mul(softmax(logits, 1), amongTopK(logits, k));
            // Every expert takes every row: choosing rows would wait for the gates.
            const outputs = tf
                .unstack(expert, 0)
                .map((weight, i) => projected(x, weight, tf.gather(bias, i)));
            return asFirst(tf.sum(tf.mul(tf.stack(outputs, 1), tf.expandDims(gates, 2)), 1));
        },
};
