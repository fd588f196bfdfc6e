/** What makes one array of several: sums, products and extremes, entry by entry, and joined ones. */

import * as tf from "@tensorflow/tfjs-core";
import { axisOf, channelsLast, expectShape, shapeOf } from "./value.js";

/** @typedef {import("./value.js").Factory} Factory */
/** @typedef {import("./value.js").Value} Value */

/** The values with their channels at one place: last, where one of them has them there.
 *
 * @param {Value[]} values @returns {Value[]}
 */
function alike(values) {
    for (const value of values) {
        const rank = values[0].tensor.rank;
        expectShape(value.tensor.rank === rank, `${rank} axes, as the first value has,`, value);
    }
    if (!values.some((value) => value.last)) return values;
    return values.map((value) => ({ tensor: channelsLast(value), last: true }));
}

/** @param {(x: tf.Tensor, y: tf.Tensor) => tf.Tensor} operation @returns {Factory} */
const combined = (operation) => () => (values) => {
    const [one, ...others] = alike(values);
    for (const other of others) {
        const [shape, wanted] = [other.tensor.shape, one.tensor.shape];
        const fits = shape.every(
            (n, axis) => n === wanted[axis] || (axis > 0 && (n === 1 || wanted[axis] === 1)),
        );
        expectShape(fits, `the shape (${shapeOf(one).join(", ")}), or 1 on an axis,`, other);
    }
    return {
        tensor: others.reduce((y, { tensor }) => operation(y, tensor), one.tensor),
        last: one.last,
    };
};

/** @type {Record<string, Factory>} */
export const COMBINATIONS = {
    Add: combined(tf.add),
    Subtract: combined(tf.sub),
    Multiply: combined(tf.mul),
    Maximum: combined(tf.maximum),
    Minimum: combined(tf.minimum),
    Average: () => (values) => {
        const { tensor, last } = /** @type {Value} */ (
            combined(tf.add)({}, {}, (one) => one)(values)
        );
        return { tensor: tf.div(tensor, values.length), last };
    },
    Concatenate:
        (_, { axis }) =>
        (values) => {
            const [one, ...others] = alike(values);
            const own = axisOf(one, axis);
            return {
                tensor: tf.concat([one.tensor, ...others.map(({ tensor }) => tensor)], own),
                last: one.last,
            };
        },
};
