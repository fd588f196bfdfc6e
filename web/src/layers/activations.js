/** Entry by entry, or over one axis: what stands between two layers with weights. */

import * as tf from "@tensorflow/tfjs-core";
import { axisOf, entrywise, expectShape, overChannels, shapeOf } from "./value.js";

/** @typedef {import("./value.js").Factory} Factory */
/** @typedef {tf.Tensor} Tensor */

const SELU = { scale: 1.0507009873554805, alpha: 1.6732632423543772 };

/** alpha · (exp(x) − 1) below 0. @param {Tensor} x @param {number} alpha */
const elu = (x, alpha) => tf.add(tf.relu(x), tf.mul(tf.expm1(tf.minimum(x, 0)), alpha));

/** min(max(x + 3, 0), 6) / 6. @param {Tensor} x */
const hardSigmoid = (x) => tf.div(tf.clipByValue(tf.add(x, 3), 0, 6), 6);

/** log(1 + exp(x)), without overflow, and without loss where it is small. @param {Tensor} x */
const softplus = (x) => tf.add(tf.relu(x), tf.log1p(tf.exp(tf.neg(tf.abs(x)))));

/** x · Φ(x) by a tanh; its argument is bounded where the tanh has long been −1 or 1. @param {Tensor} x */
function geluByTanh(x) {
    const z = tf.clipByValue(x, -20, 20);
    const inner = tf.mul(
        tf.mul(tf.add(tf.mul(tf.square(z), 0.044715), 1), z),
        Math.sqrt(2 / Math.PI),
    );
    return tf.mul(tf.mul(tf.add(tf.tanh(inner), 1), 0.5), x);
}

/** x · Φ(x), Φ by the error function. @param {Tensor} x */
const gelu = (x) => tf.mul(tf.mul(tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1), 0.5), x);

/** @param {Tensor} x @param {number} axis */
export function logSoftmax(x, axis) {
    const below = tf.sub(x, tf.max(x, axis, true));
    return tf.sub(below, tf.log(tf.sum(tf.exp(below), axis, true)));
}

/** @param {Tensor} x @param {number} axis */
export function softmax(x, axis) {
    const share = tf.exp(tf.sub(x, tf.max(x, axis, true)));
    return tf.div(share, tf.sum(share, axis, true));
}

/** @param {(x: Tensor) => Tensor} compute @returns {Factory} */
const plain = (compute) => () => entrywise(compute);

/** @param {(x: Tensor, axis: number) => Tensor} compute @returns {Factory} */
const along =
    (compute) =>
    (_, { axis }) =>
    ([value]) => ({ tensor: compute(value.tensor, axisOf(value, axis)), last: value.last });

/** @type {Record<string, Factory>} */
export const ACTIVATIONS = {
    ReLU: plain((x) => tf.relu(x)),
    ReLU6: plain((x) => tf.clipByValue(x, 0, 6)),
    Sigmoid: plain((x) => tf.sigmoid(x)),
    Tanh: plain((x) => tf.tanh(x)),
    SiLU: plain((x) => tf.mul(x, tf.sigmoid(x))),
    Softplus: plain(softplus),
    SELU: plain((x) => tf.mul(elu(x, SELU.alpha), SELU.scale)),
    HardSigmoid: plain(hardSigmoid),
    HardSwish: plain((x) => tf.mul(hardSigmoid(x), x)),
    Mish: plain((x) => tf.mul(tf.tanh(softplus(x)), x)),
    LogSigmoid: plain((x) => tf.neg(softplus(tf.neg(x)))),
    Softsign: plain((x) => tf.div(x, tf.add(tf.abs(x), 1))),
    Clip: (_, { minimum, maximum }) => entrywise((x) => tf.clipByValue(x, minimum, maximum)),
    LeakyReLU: (_, { slope }) =>
        entrywise((x) => tf.add(tf.relu(x), tf.mul(tf.minimum(x, 0), slope))),
    ELU: (_, { alpha }) => entrywise((x) => elu(x, alpha)),
    GELU: (_, { approximate }) => entrywise(approximate ? geluByTanh : gelu),
    ScaleShift: (_, { scale, shift }) => entrywise((x) => tf.add(tf.mul(x, scale), shift)),
    Softmax: along(softmax),
    LogSoftmax: along(logSoftmax),
    PReLU:
        ({ slope }) =>
        ([value]) => {
            const shape = shapeOf(value);
            expectShape(
                shape.length > 1 && [1, shape[1]].includes(slope.size),
                `${slope.size} channels`,
                value,
            );
            const below = tf.mul(tf.minimum(value.tensor, 0), overChannels(slope, value));
            return { tensor: tf.add(tf.relu(value.tensor), below), last: value.last };
        },
};
