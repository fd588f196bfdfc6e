/**
 * What reads sequences as a whole: attention, positions, single steps and means over time.
 *
 *     attention:  softmax(q·kᵀ / √d)·v for each head, whose features stand side by side
 *
 * over the keys that a query sees: none that is padding, and with `causal` none that comes after the
 * query. A query that sees no key at all gives zeros.
 */

import * as tf from "@tensorflow/tfjs-core";
import { asFirst, expectShape, expectWidth, first, shapeOf } from "./value.js";

/** @typedef {import("./value.js").Factory} Factory */
/** @typedef {import("./value.js").Value} Value */

const LOWEST = -3.4e38;

/** @param {Value} value @param {string} name */
function expectSequences(value, name) {
    expectShape(value.tensor.rank === 3, "(batch, time, features), 3 axes", value, name);
}

/** Which times a mask leaves, 1 or 0.
 *
 * @param {Value} mask (batch, time), integers or bool @param {Value} beside (batch, time, features)
 * @param {boolean} padding whether the mask is not 0 where a time is left out
 * @returns {tf.Tensor}
 */
function realTimes(mask, beside, padding) {
    const { tensor } = mask;
    if (!["int32", "bool"].includes(tensor.dtype))
        throw new TypeError(`mask: expected integers or bool, got ${tensor.dtype}`);
    const [batch, times] = shapeOf(beside);
    const fits = tensor.rank === 2 && tensor.shape[0] === batch && tensor.shape[1] === times;
    expectShape(fits, `shape (${batch}, ${times})`, mask, "mask");
    const zero = tf.equal(tf.cast(tensor, "int32"), 0);
    return tf.cast(padding ? zero : tf.logicalNot(zero), "float32");
}

/** @param {Value} query @param {Value} key @param {Value} value @param {number} heads */
function expectAlike(query, key, value, heads) {
    for (const [name, one] of Object.entries({ query, key, value })) {
        expectSequences(one, name);
        const features = Number(shapeOf(one)[2]);
        expectShape(features % heads === 0, `${heads} equal heads`, one, name);
    }
    const [[batch, , width], [, keys]] = [shapeOf(query), shapeOf(key)];
    expectShape(shapeOf(key)[2] === width, `${width} features`, key, "key");
    expectShape(shapeOf(key)[0] === batch, `a batch of ${batch}`, key, "key");
    const fits = shapeOf(value)[0] === batch && shapeOf(value)[1] === keys;
    expectShape(fits, `a batch of ${batch} and ${keys} times`, value, "value");
    expectShape(keys > 0, "at least one time step", key, "key");
}

/**
 * Attention by one product of all scores and one of all means.
 *
 * @param {Value} query (batch, times, d)
 * @param {Value} key (batch, keys, d)
 * @param {Value} value (batch, keys, d')
 * @param {tf.Tensor | null} real (batch, keys), 1 for the keys that count; all when null
 * @param {Record<string, any>} config heads and causal
 * @returns {tf.Tensor} (batch, times, d')
 */
function attention(query, key, value, real, { heads, causal }) {
    expectAlike(query, key, value, heads);
    const [batch, times, width] = shapeOf(query);
    const keys = shapeOf(key)[1];
    const [q, k, v] = [query, key, value].map((one) => {
        const [, steps, features] = shapeOf(one);
        const parts = tf.reshape(first(one), [batch, steps, heads, features / heads]);
        return tf.transpose(parts, [0, 2, 1, 3]); // (batch, heads, steps, features of a head)
    });
    const scores = tf.matMul(tf.mul(q, 1 / Math.sqrt(width / heads)), k, false, true);
    let seen = real ? tf.reshape(real, [batch, 1, 1, keys]) : tf.ones([1, 1, 1, keys]);
    if (causal) {
        const [t, s] = [tf.range(0, times), tf.range(0, keys)];
        const earlier = tf.cast(tf.lessEqual(s, tf.reshape(t, [times, 1])), "float32");
        seen = tf.mul(seen, tf.reshape(earlier, [1, 1, times, keys]));
    }
    // Multiplying and adding, unlike choosing, spreads `seen` over the heads on every backend.
    const kept = tf.add(tf.mul(scores, seen), tf.mul(tf.sub(1, seen), LOWEST));
    const share = tf.mul(tf.exp(tf.sub(kept, tf.max(kept, 3, true))), seen);
    const total = tf.maximum(tf.sum(share, 3, true), 1); // the largest share is 1; of no key it is 0
    const means = tf.div(tf.matMul(share, v), total); // (batch, heads, times, d' / heads)
    return tf.reshape(tf.transpose(means, [0, 2, 1, 3]), [batch, times, shapeOf(value)[2]]);
}

/** @type {Record<string, Factory>} */
export const ATTENTION = {
    Attention:
        (_, config) =>
        ([query, key, value]) =>
            asFirst(attention(query, key, value, null, config)),
    MaskedAttention:
        (_, config) =>
        ([query, key, value, mask]) => {
            const real = realTimes(mask, key, config.padding);
            return asFirst(attention(query, key, value, real, config));
        },
    PositionEmbedding:
        ({ table }) =>
        ([value]) => {
            expectSequences(value, "x");
            const [positions, dim] = table.shape;
            expectWidth(value, -1, dim);
            const times = shapeOf(value)[1];
            expectShape(times <= positions, `at most ${positions} times`, value);
            return asFirst(tf.add(first(value), tf.slice(table, [0, 0], [times, dim])));
        },
    TimeStep:
        (_, { index }) =>
        ([value]) => {
            expectSequences(value, "x");
            const [batch, times, features] = shapeOf(value);
            expectShape(index >= -times && index < times, `a time ${index}`, value);
            const t = index < 0 ? index + times : index;
            const step = tf.slice(first(value), [0, t, 0], [batch, 1, features]);
            return asFirst(tf.reshape(step, [batch, features]));
        },
    MaskedMean:
        (_, { padding }) =>
        ([value, mask]) => {
            expectSequences(value, "x");
            const real = tf.expandDims(realTimes(mask, value, padding), 2); // (batch, time, 1)
            const total = tf.sum(tf.mul(first(value), real), 1);
            return asFirst(tf.div(total, tf.maximum(tf.sum(real, 1), 1)));
        },
};
