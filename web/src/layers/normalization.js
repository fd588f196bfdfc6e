/** Normalization as it is at inference: batch, layer, group, root-mean-square and unit norm. */

import * as tf from "@tensorflow/tfjs-core";
import {
    asFirst,
    expectShape,
    expectWidth,
    first,
    onFeatures,
    overChannels,
    shapeOf,
} from "./value.js";

/** @typedef {import("./value.js").Factory} Factory */

/** (x − mean) / √(variance + epsilon), over the last axis. @param {tf.Tensor} x @param {number} epsilon */
export function standardized(x, epsilon) {
    const centered = tf.sub(x, tf.mean(x, -1, true));
    return tf.div(centered, tf.sqrt(tf.add(tf.mean(tf.square(centered), -1, true), epsilon)));
}

/** x / max(‖x‖, epsilon) over the last axis; a zero vector stays zero.
 *
 * The largest entry is scaled to 1 first: squares of small and of large numbers have no float32.
 *
 * @param {tf.Tensor} x @param {number} [epsilon]
 */
export function l2Normalize(x, epsilon = 1e-12) {
    const rows = tf.reshape(x, [-1, Number(x.shape.at(-1))]); // WebGL chooses among four axes at most
    const largest = tf.max(tf.abs(rows), 1, true);
    const scale = tf.where(tf.greater(largest, 0), largest, tf.onesLike(largest));
    const scaled = tf.div(rows, scale);
    const norm = tf.sqrt(tf.sum(tf.square(scaled), 1, true));
    return tf.reshape(tf.div(scaled, tf.maximum(norm, tf.div(epsilon, scale))), x.shape);
}

/** @type {Record<string, Factory>} */
export const NORMALIZATIONS = {
    BatchNorm: ({ scale, shift, mean, variance }, { epsilon }, keep) => {
        const factor = keep(tf.div(scale, tf.sqrt(tf.add(variance, epsilon))));
        const offset = keep(tf.sub(shift, tf.mul(mean, factor)));
        return ([value]) => {
            expectWidth(value, 1, factor.size);
            const scaled = tf.mul(value.tensor, overChannels(factor, value));
            return { tensor: tf.add(scaled, overChannels(offset, value)), last: value.last };
        };
    },
    Affine:
        ({ scale, shift }) =>
        ([value]) => {
            expectWidth(value, 1, scale.size);
            const scaled = tf.mul(value.tensor, overChannels(scale, value));
            const tensor = shift ? tf.add(scaled, overChannels(shift, value)) : scaled;
            return { tensor, last: value.last };
        },
    LayerNorm:
        ({ scale, shift }, { epsilon }) =>
        ([value]) => {
            expectWidth(value, -1, scale.size);
            return asFirst(tf.add(tf.mul(standardized(first(value), epsilon), scale), shift));
        },
    GroupNorm:
        ({ scale, shift }, { groups, epsilon }) =>
        ([value]) => {
            expectWidth(value, 1, scale.size);
            expectShape(!shapeOf(value).slice(2).includes(0), "at least one place", value);
            const x = first(value);
            const grouped = tf.reshape(x, [x.shape[0], groups, -1]);
            const y = asFirst(tf.reshape(standardized(grouped, epsilon), x.shape));
            return asFirst(
                tf.add(tf.mul(y.tensor, overChannels(scale, y)), overChannels(shift, y)),
            );
        },
    RMSNorm:
        ({ scale }, { epsilon }) =>
        ([value]) => {
            expectWidth(value, -1, scale.size);
            const x = first(value);
            return asFirst(
                tf.mul(tf.div(x, tf.sqrt(tf.add(tf.mean(tf.square(x), -1, true), epsilon))), scale),
            );
        },
    L2Normalize: (_, { epsilon }) => onFeatures((x) => l2Normalize(x, epsilon)),
};
