/** Convolution over time or over planes, and its transpose: the kernel is not flipped. */

import * as tf from "@tensorflow/tfjs-core";
import { asLast, channelsLast, expectShape, expectWidth, shapeOf } from "./value.js";

/** @typedef {import("./value.js").Factory} Factory */
/** @typedef {import("./value.js").Value} Value */
/** @typedef {import("./value.js").Keep} Keep */

const MOST_PLACES = 2 ** 14; // besides, for each place of the input, 64, in a transposed one 4,096

/** [0, 0] before the entries of one spatial axis: a series is a plane of one row.
 *
 * @template T
 * @param {T[]} entries @param {T} filler
 * @returns {[T, T]}
 */
export function plane(entries, filler) {
    return entries.length === 1 ? [filler, entries[0]] : [entries[0], entries[1]];
}

/** The value as (batch, height, width, channels); a series has the height 1. @param {Value} value @param {number} rank */
export function asPlane(value, rank) {
    expectShape(
        value.tensor.rank === rank + 2,
        `(batch, channels, *space), ${rank + 2} axes`,
        value,
    );
    const x = channelsLast(value);
    return /** @type {tf.Tensor4D} */ (rank === 1 ? tf.expandDims(x, 1) : x);
}

/** What `asPlane` gave, back. @param {tf.Tensor} y @param {number} rank */
export function fromPlane(y, rank) {
    return asLast(rank === 1 ? tf.squeeze(y, [1]) : y);
}

/** Zeros around a plane, (batch, height, width, channels). @param {tf.Tensor4D} x @param {number[][]} padding @param {number} [value] @returns {tf.Tensor4D} */
export function padded(x, padding, value = 0) {
    const [rows, columns] = /** @type {[number, number][]} */ (padding);
    if (![...rows, ...columns].some((n) => n)) return x;
    const [, height, width] = x.shape;
    const size = (height + rows[0] + rows[1]) * (width + columns[0] + columns[1]);
    expectRoom(size, height * width, 64);
    return tf.pad(x, [[0, 0], rows, columns, [0, 0]], value);
}

/** An Error for a space out of all proportion to the input's. @param {number} size @param {number} places @param {number} times */
export function expectRoom(size, places, times) {
    const most = MOST_PLACES + times * places;
    if (size > most)
        throw new RangeError(`x: expected at most ${most} places of a layer, got ${size}`);
}

/** An Error unless a window fits into each axis of the padded plane.
 *
 * @param {Value} value @param {number[]} spans @param {number[][]} padding
 */
export function expectWindows(value, spans, padding) {
    const space = shapeOf(value).slice(2);
    const fits = spans.every(
        (span, axis) => space[axis] + padding[axis][0] + padding[axis][1] >= span,
    );
    expectShape(
        fits && Math.min(...space) > 0,
        `at least (${spans.join(", ")}) places, padding and all,`,
        value,
    );
}

/** A kernel (height, width, …) with dilation − 1 zeros between its rows and its columns.
 *
 * @param {tf.Tensor4D} kernel @param {number[]} dilation @returns {tf.Tensor4D}
 */
function spread(kernel, dilation) {
    const [height, width, depth, out] = kernel.shape;
    const [rows, columns] = [(height - 1) * dilation[0] + 1, (width - 1) * dilation[1] + 1];
    // A pixel of zeros after each row and column, by tensors of four axes: WebGL takes no more.
    const wide = tf.pad(tf.reshape(kernel, [height, width, 1, depth * out]), [
        [0, 0],
        [0, 0],
        [0, dilation[1] - 1],
        [0, 0],
    ]);
    const across = tf.slice(
        tf.reshape(wide, [height, width * dilation[1], depth * out]),
        [0, 0, 0],
        [height, columns, depth * out],
    );
    const high = tf.pad(tf.expandDims(across, 1), [
        [0, 0],
        [0, dilation[0] - 1],
        [0, 0],
        [0, 0],
    ]);
    const whole = tf.slice(
        tf.reshape(high, [height * dilation[0], columns, depth * out]),
        [0, 0, 0],
        [rows, columns, depth * out],
    );
    return tf.reshape(whole, [rows, columns, depth, out]);
}

/**
 * A convolution of planes as a function; the kernel in TensorFlow's layout.
 *
 * @param {tf.Tensor4D} weight (out, in / groups, height, width)
 * @param {tf.Tensor | undefined} bias
 * @param {{stride: [number, number], padding: [number[], number[]], dilation: [number, number], groups: number}} config
 * @param {Keep} keep
 * @returns {(x: tf.Tensor4D) => tf.Tensor}
 */
function planeConvolution(weight, bias, { stride, padding, dilation, groups }, keep) {
    const [out, depth] = weight.shape;
    const depthwise = depth === 1 && groups > 1;
    let kernel = tf.transpose(weight, [2, 3, 1, 0]); // (height, width, in / groups, out)
    // TensorFlow.js takes a stride or a dilation: of both, the kernel has the dilation.
    const both = Math.max(...stride) > 1 && Math.max(...dilation) > 1;
    if (both) kernel = spread(kernel, dilation);
    const steps = /** @type {[number, number]} */ (both ? [1, 1] : dilation);
    if (depthwise) {
        const [height, width] = kernel.shape;
        kernel = tf.reshape(kernel, [height, width, groups, out / groups]);
    }
    const kernels =
        depthwise || groups === 1
            ? [keep(kernel)]
            : tf.split(kernel, groups, 3).map((one) => keep(one));
    return (x) => {
        const whole = padded(x, padding);
        const parts = kernels.length === 1 ? [whole] : tf.split(whole, groups, 3);
        const given = parts.map((part, i) => {
            const [plane, own] = /** @type {[tf.Tensor4D, tf.Tensor4D]} */ ([part, kernels[i]]);
            const compute = depthwise ? tf.depthwiseConv2d : tf.conv2d;
            return compute(plane, own, stride, "valid", "NHWC", steps);
        });
        const y = given.length === 1 ? given[0] : tf.concat(given, 3);
        return bias ? tf.add(y, bias) : y;
    };
}

/** The weight of one or two spatial axes with two: (…, …, 1, time) for a series. @param {tf.Tensor} weight */
function planeWeight(weight) {
    return /** @type {tf.Tensor4D} */ (weight.rank === 3 ? tf.expandDims(weight, 2) : weight);
}

/** @type {Factory} */
export function convolution({ weight, bias }, { stride, padding, dilation, groups }, keep) {
    const rank = weight.rank - 2;
    const [, depth, ...kernel] = weight.shape;
    const spans = kernel.map((n, axis) => dilation[axis] * (n - 1) + 1);
    const config = {
        stride: plane(stride, 1),
        padding: plane(padding, [0, 0]),
        dilation: plane(dilation, 1),
        groups,
    };
    const compute = planeConvolution(planeWeight(weight), bias, /** @type {any} */ (config), keep);
    return ([value]) => {
        expectWidth(value, 1, depth * groups);
        expectWindows(value, spans, padding);
        return fromPlane(compute(asPlane(value, rank)), rank);
    };
}

/** @type {Factory} */
export function transposedConvolution({ weight, bias }, { stride, padding, dilation }, keep) {
    const rank = weight.rank - 2;
    const [depth, out] = weight.shape;
    const strides = plane(stride, 1);
    const cuts = /** @type {[number[], number[]]} */ (plane(padding, [0, 0]));
    const turned = /** @type {tf.Tensor4D} */ (tf.transpose(planeWeight(weight), [2, 3, 1, 0]));
    const kernel = keep(spread(turned, plane(dilation, 1)));
    return ([value]) => {
        expectWidth(value, 1, depth);
        const x = asPlane(value, rank);
        const [batch, ...space] = x.shape.slice(0, 3);
        const full = space.map((n, axis) => (n - 1) * strides[axis] + kernel.shape[axis]);
        const longer = cuts.map(([, after]) => Math.max(0, -after));
        const sizes = full.map((n, axis) => n + longer[axis]);
        expectRoom(sizes[0] * sizes[1], space[0] * space[1], 4096);
        const kept = sizes.map((n, axis) => n - cuts[axis][0] - Math.max(0, cuts[axis][1]));
        expectShape(Math.min(...kept) > 0, "more places than padding cuts off", value);
        const shape = /** @type {[number, number, number, number]} */ ([batch, ...full, out]);
        const whole = tf.conv2dTranspose(x, kernel, shape, strides, "valid");
        const extended = padded(
            whole,
            longer.map((n) => [0, n]),
        );
        const y = tf.slice(extended, [0, cuts[0][0], cuts[1][0], 0], [batch, ...kept, out]);
        return fromPlane(bias ? tf.add(y, bias) : y, rank);
    };
}

/** @type {Record<string, Factory>} */
export const CONVOLUTIONS = {
    Convolution: convolution,
    TransposedConvolution: transposedConvolution,
};
