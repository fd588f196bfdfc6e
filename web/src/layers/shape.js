/** What moves axes, or keeps a part of one, and leaves the entries as they are. */

import * as tf from "@tensorflow/tfjs-core";
import {
    asFirst,
    asLast,
    axisOf,
    channelsLast,
    expectShape,
    first,
    onFeatures,
    shapeOf,
} from "./value.js";

/** @typedef {import("./value.js").Factory} Factory */

/** @param {import("./value.js").Value} value */
function expectAxes(value) {
    expectShape(value.tensor.rank > 1, "a batch and at least one more axis", value);
}

/** @param {number[]} sizes */
function product(sizes) {
    return sizes.reduce((one, other) => one * other, 1);
}

/** @type {Record<string, Factory>} */
export const SHAPES = {
    Flatten: () => onFeatures((x) => tf.reshape(x, [x.shape[0], -1])),
    // The file's last axis becomes its axis 1: the same tensor, with another meaning.
    ChannelsFirst:
        () =>
        ([value]) => {
            expectAxes(value);
            return asLast(tf.clone(first(value)));
        },
    ChannelsLast:
        () =>
        ([value]) => {
            expectAxes(value);
            return asFirst(tf.clone(channelsLast(value)));
        },
    Reshape:
        (_, { shape }) =>
        ([value]) => {
            expectAxes(value);
            const [batch, ...sizes] = shapeOf(value);
            const total = product(sizes);
            const known = product(shape.filter((/** @type {number} */ n) => n !== -1));
            const fits = shape.includes(-1) ? total % known === 0 : total === known;
            expectShape(fits, `rows of shape (${shape.join(", ")})`, value);
            const own = shape.map((/** @type {number} */ n) => (n === -1 ? total / known : n));
            return asFirst(tf.reshape(first(value), [batch, ...own]));
        },
    Permute:
        (_, { order }) =>
        ([value]) => {
            expectShape(value.tensor.rank === 1 + order.length, `${1 + order.length} axes`, value);
            return asFirst(tf.transpose(first(value), [0, ...order]));
        },
    Slice:
        (_, { start, stop, axis }) =>
        ([value]) => {
            expectAxes(value);
            const { tensor, last } = value;
            const own = axisOf(value, axis);
            const wanted = `at least ${stop} places along axis ${axis}`;
            expectShape(tensor.shape[own] >= stop, wanted, value);
            const begin = tensor.shape.map((_, one) => (one === own ? start : 0));
            const size = tensor.shape.with(own, stop - start);
            return { tensor: tf.slice(tensor, begin, size), last };
        },
};
