/** Pooling over windows or over all places; of equal entries the first is the largest. */

import * as tf from "@tensorflow/tfjs-core";
import { asPlane, expectWindows, fromPlane, padded, plane } from "./convolution.js";
import { channelsLast, asFirst, asLast, expectShape, shapeOf } from "./value.js";

/** @typedef {import("./value.js").Factory} Factory */
/** @typedef {import("./value.js").Value} Value */

const LOWEST = -3.4e38; // stands for −∞, with which some graphics cards do not compute

/**
 * @param {"max" | "avg"} kind @param {tf.Tensor4D} x @param {Record<string, any>} config
 * @returns {tf.Tensor}
 */
function pooled(kind, x, { size, stride }) {
    const compute = kind === "max" ? tf.maxPool : tf.avgPool;
    return compute(x, plane(size, 1), plane(stride, 1), "valid");
}

/** @type {Factory} */
function maxPool(_, config) {
    const rank = config.size.length;
    return ([value]) => {
        expectWindows(value, config.size, config.padding);
        const x = padded(asPlane(value, rank), plane(config.padding, [0, 0]), LOWEST);
        return fromPlane(pooled("max", x, config), rank);
    };
}

/** @type {Factory} */
function averagePool(_, config) {
    const rank = config.size.length;
    const padding = plane(config.padding, [0, 0]);
    const counted = config.count_padding || !padding.flat().some((n) => n);
    return ([value]) => {
        expectWindows(value, config.size, config.padding);
        const x = asPlane(value, rank);
        const mean = pooled("avg", padded(x, padding), config);
        if (counted) return fromPlane(mean, rank);
        const [, height, width] = x.shape;
        const real = pooled("avg", padded(tf.ones([1, height, width, 1]), padding), config);
        return fromPlane(tf.div(mean, real), rank);
    };
}

/**
 * Each value where the largest entry of its window stood, zeros elsewhere: the windows of a pool do
 * not overlap, so that a plane is a grid of cells, each a window and what lies before the next one.
 *
 * @param {Value} values (batch, channels, *windows)
 * @param {Value} poolInput (batch, channels, *space)
 * @param {Record<string, any>} config of the pool
 */
export function unpooled(values, poolInput, { size, stride, padding }) {
    const rank = size.length;
    const [y, x] = [asPlane(values, rank), asPlane(poolInput, rank)];
    const [sizes, jumps, pads] = [plane(size, 1), plane(stride, 1), plane(padding, [0, 0])];
    const [batch, rows, columns, channels] = y.shape;
    const cells = [rows * jumps[0], columns * jumps[1]];
    const space = [x.shape[1], x.shape[2]];
    const counts = space.map(
        (n, axis) =>
            Math.floor((n + pads[axis][0] + pads[axis][1] - sizes[axis]) / jumps[axis]) + 1,
    );
    expectShape(
        counts[0] === rows && counts[1] === columns,
        `(${counts.join(", ")}) windows`,
        values,
    );
    // Padded or cut to whole cells: what stands behind the last window is in none.
    const behind = cells.map((n, axis) => n - space[axis] - pads[axis][0]);
    const wide = padded(
        x,
        pads.map(([before], axis) => [before, Math.max(0, behind[axis])]),
        LOWEST,
    );
    const grid = tf.slice(wide, [0, 0, 0, 0], [batch, ...cells, channels]);
    /** What stands at one place of every cell. @param {number} row @param {number} column */
    const at = (row, column) =>
        tf.stridedSlice(grid, [0, row, column, 0], grid.shape, [1, ...jumps, 1]);
    const within = Array.from({ length: sizes[0] }, (_, row) =>
        Array.from({ length: sizes[1] }, (_, column) => at(row, column)),
    );
    const largest = within.flat().reduce((one, other) => tf.maximum(one, other));
    let before = tf.zerosLike(largest); // 1 where the largest has been met
    const put = within.map((entries) =>
        entries.map((entry) => {
            const isFirst = tf.mul(tf.cast(tf.equal(entry, largest), "float32"), tf.sub(1, before));
            before = tf.add(before, isFirst);
            return tf.mul(isFirst, y);
        }),
    );
    const none = tf.zerosLike(y);
    const rowsOf = put.map((entries) => woven(entries, none, 2, jumps[1]));
    const whole = woven(rowsOf, tf.zerosLike(rowsOf[0]), 1, jumps[0]);
    const longer = padded(
        whole,
        behind.map((n) => [0, Math.max(0, -n)]),
    );
    const start = [0, pads[0][0], pads[1][0], 0];
    return fromPlane(tf.slice(longer, start, [batch, ...space, channels]), rank);
}

/** Planes whose rows (axis 1), or columns (2), alternate, filled up to `jump` planes.
 *
 * @param {tf.Tensor[]} planes @param {tf.Tensor} filler @param {1 | 2} axis @param {number} jump
 * @returns {tf.Tensor4D}
 */
function woven(planes, filler, axis, jump) {
    const every = [...planes, ...Array(jump - planes.length).fill(filler)];
    const { shape: before } = planes[0];
    const shape = before.with(axis, Number(before[axis]) * jump);
    return tf.reshape(
        tf.stack(every, axis + 1),
        /** @type {[number, number, number, number]} */ (shape),
    );
}

/** @param {(x: tf.Tensor, axes: number[], keepdims: boolean) => tf.Tensor} reduce @returns {Factory} */
const overAll =
    (reduce) =>
    (_, { keepdims }) =>
    ([value]) => {
        const { length } = shapeOf(value);
        expectShape(
            [3, 4].includes(length) && !value.tensor.shape.includes(0),
            "(batch, channels, *space), 3 or 4 axes",
            value,
        );
        const axes = Array.from({ length: length - 2 }, (_, axis) => axis + 1);
        const y = reduce(channelsLast(value), axes, keepdims);
        return keepdims ? asLast(y) : asFirst(y);
    };

/** @type {Record<string, Factory>} */
export const POOLS = {
    MaxPool: maxPool,
    AveragePool: averagePool,
    MaxUnpool:
        (_, config) =>
        ([values, poolInput]) =>
            unpooled(values, poolInput, config),
    GlobalAveragePool: overAll(tf.mean),
    GlobalMaxPool: overAll(tf.max),
};
