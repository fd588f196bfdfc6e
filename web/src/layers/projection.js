/** A dense projection over the last axis, rows of a table, and a softmax over the largest alone. */

import * as tf from "@tensorflow/tfjs-core";

import { asFirst, expectShape, expectWidth, first, shapeOf } from "./value.js";

/** @typedef {import("./value.js").Factory} Factory */

/** x·weight + bias over the last axis. @param {tf.Tensor} x @param {tf.Tensor} weight @param {tf.Tensor} [bias] */
export function projected(x, weight, bias) {
    const [rows, [features, out]] = [x.shape.slice(0, -1), weight.shape];
    const flat = tf.matMul(
        /** @type {tf.Tensor2D} */ (tf.reshape(x, [-1, features])),
        /** @type {tf.Tensor2D} */ (weight),
    );
    const y = tf.reshape(flat, [...rows, out]);
    return bias ? tf.add(y, bias) : y;
}

/** Whether each number is among the k largest on the last axis, as 1 or 0; of equal ones the first.
 *
 * @param {tf.Tensor} x @param {number} k
 */
export function amongTopK(x, k) {
    const n = x.shape[x.rank - 1];
    const { indices } = tf.topk(x, k);
    return tf.sum(tf.oneHot(tf.cast(indices, "int32"), n), -2);
}

/** A softmax over the k largest logits, exactly 0 elsewhere. @param {tf.Tensor} logits @param {number} k */
export function topKGating(logits, k) {
    const share = tf.mul(tf.exp(tf.sub(logits, tf.max(logits, -1, true))), amongTopK(logits, k));
    return tf.div(share, tf.sum(share, -1, true));
}

/** @type {Record<string, Factory>} */
export const PROJECTIONS = {
    Projection:
        ({ weight, bias }) =>
        ([value]) => {
            expectWidth(value, -1, weight.shape[0]);
            return asFirst(projected(first(value), weight, bias));
        },
    Embedding:
        ({ table }) =>
        ([value]) =>
            asFirst(tf.gather(table, /** @type {tf.Tensor} */ (checkedIds(value, table.shape[0])))),
    TopKGating:
        (_, { k }) =>
        ([value]) => {
            expectShape(Number(shapeOf(value).at(-1)) >= k, `at least ${k} features`, value);
            return asFirst(topKGating(first(value), k));
        },
};

/** The ids as a tensor; an Error for what is no id of the table. @param {import("./value.js").Value} value @param {number} size */
export function checkedIds({ tensor }, size) {
    if (tensor.dtype !== "int32")
        throw new TypeError(`ids: expected integers, got ${tensor.dtype}`);
    const wrong = tensor.dataSync().find((id) => id < 0 || id >= size);
    if (wrong !== undefined)
        throw new RangeError(`ids: expected ids in 0..${size - 1}, got ${wrong}`);
    return tensor;
}
