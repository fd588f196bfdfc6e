/**
 * What a layer gives: a tensor, and where its channels stand.
 *
 * A file means (batch, channels, *space), and TensorFlow.js is fast on (batch, *space, channels). So
 * convolutions and pools leave their channels last, what works entry by entry leaves them where they
 * are, and only a layer that needs the file's order moves them back.
 */

import * as tf from "@tensorflow/tfjs-core";

/**
 * @typedef {object} Value
 * @property {tf.Tensor} tensor
 * @property {boolean} last whether what the file means as axis 1 is the tensor's last axis
 */

/** @typedef {(values: Value[]) => Value | Value[]} Run */
/** @typedef {Record<string, tf.Tensor>} Weights the arrays of a layer in the file's layout */
/** @typedef {<T extends tf.Tensor>(tensor: T) => T} Keep lets a tensor live as long as the net */
/** @typedef {(weights: Weights, config: Record<string, any>, keep: Keep) => Run} Factory */

/** The tensor as the file means it. @param {Value} value */
export function first({ tensor, last }) {
    return last && tensor.rank > 2 ? moved(tensor, tensor.rank - 1, 1) : tensor;
}

/** The tensor with its channels, axis 1 of the file, last. @param {Value} value */
export function channelsLast({ tensor, last }) {
    return !last && tensor.rank > 2 ? moved(tensor, 1, tensor.rank - 1) : tensor;
}

/** @param {tf.Tensor} tensor @param {number} from @param {number} to */
function moved(tensor, from, to) {
    const axes = tensor.shape.map((_, axis) => axis).filter((axis) => axis !== from);
    return tf.transpose(tensor, axes.toSpliced(to, 0, from));
}

/** @param {tf.Tensor} tensor @returns {Value} */
export function asFirst(tensor) {
    return { tensor, last: false };
}

/** @param {tf.Tensor} tensor @returns {Value} */
export function asLast(tensor) {
    return { tensor, last: true };
}

/** The shape as the file means it. @param {Value} value */
export function shapeOf({ tensor: { shape }, last }) {
    return last && shape.length > 2
        ? [shape[0], shape[shape.length - 1], ...shape.slice(1, -1)]
        : shape;
}

/** A layer that works entry by entry. @param {(x: tf.Tensor) => tf.Tensor} compute @returns {Run} */
export function entrywise(compute) {
    return ([{ tensor, last }]) => ({ tensor: compute(tensor), last });
}

/** A layer that works on the file's order of axes. @param {(x: tf.Tensor) => tf.Tensor} compute @returns {Run} */
export function onFeatures(compute) {
    return ([value]) => asFirst(compute(first(value)));
}

/** An array of one number for each channel, so that it can be multiplied with the value's tensor.
 *
 * @param {tf.Tensor} array (channels,) @param {Value} value
 */
export function overChannels(array, { tensor, last }) {
    return last || tensor.rank < 3
        ? array
        : tf.reshape(array, [-1, ...Array(tensor.rank - 2).fill(1)]);
}

/** The axis of the tensor that the file means. @param {Value} value @param {number} axis 1 or -1 */
export function axisOf({ tensor, last }, axis) {
    if (!last || tensor.rank < 3) return axis < 0 ? tensor.rank - 1 : axis;
    return axis === 1 ? tensor.rank - 1 : tensor.rank - 2;
}

/** @param {boolean} right @param {string} wanted @param {Value} value @param {string} [name] */
export function expectShape(right, wanted, value, name = "x") {
    if (!right)
        throw new RangeError(
            `${name}: expected ${wanted}, got shape (${shapeOf(value).join(", ")})`,
        );
}

/** An Error unless the value has so many channels, or features. @param {Value} value @param {number} axis @param {number} size */
export function expectWidth(value, axis, size) {
    const shape = shapeOf(value);
    expectShape(shape.at(axis) === size, `${size} ${axis === 1 ? "channels" : "features"}`, value);
}
