/**
 * How much larger than its input can what a model computes become? Asked before it is called.
 *
 * Paddings and strides are numbers in a file, and cost nothing there. So the places along a spatial
 * axis are followed from layer to layer, as `times · n + more` for n places of the input, and may
 * not outgrow the file: a model that unfolds an entry to a million of them has arrays to match.
 */

import { row } from "./entries.js";

/** @typedef {import("./entries.js").Arrays} Arrays */
/** @typedef {[number, number][]} Space [times, more] of each spatial axis */

export const ROOM = 1024; // places for each of the input's that need no arrays

/**
 * The space of a layer's output, given those of the layers before it; an Error when it, or what is
 * padded for it, has more than `most` places for one of the input.
 *
 * @param {string} name
 * @param {Record<string, any>} config
 * @param {Arrays} arrays
 * @param {Space[]} before
 * @param {number} most
 * @returns {Space}
 */
export function spaceAfter(name, config, arrays, before, most) {
    const { combines, space: rule = "kept" } = row(name);
    if (name.includes(".")) return []; // a component may give anything
    if (combines) return largest(before);
    if (rule !== "windows" && rule !== "unfolded") {
        return (
            /** @type {Record<string, Space>} */ ({ kept: before[0], restored: before[1] })[rule] ??
            []
        );
    }
    const spans = windowSpans(config, arrays);
    const start =
        before[0].length === spans.length
            ? before[0]
            : spans.map(() => /** @type {[number, number]} */ ([1, 0]));
    const grow = rule === "unfolded" ? unfolded : padded;
    const grown = start.map((axis, i) => grow(axis, spans[i], config.stride[i], config.padding[i]));
    const growth = places(grown.map(([whole]) => whole));
    if (!(growth <= most)) {
        throw new Error(
            `padding, stride: expected at most ${most} places for one of the input, ${ROOM} and as many ` +
                `as the arrays have bytes, got ${growth}`,
        );
    }
    return grown.map(([, after]) => after);
}

/** How many places a space has for one of the input. @param {Space} space */
export function places(space) {
    return space.reduce((product, [times, more]) => product * (times + Math.max(more, 0)), 1);
}

/** How far a window of a pool or a convolution reaches on each axis, its gaps included.
 *
 * @param {Record<string, any>} config @param {Arrays} arrays
 * @returns {number[]}
 */
export function windowSpans(config, arrays) {
    if ("size" in config) return config.size;
    const kernel = arrays.get("weight")?.shape.slice(2) ?? [];
    return kernel.map((n, axis) => config.dilation[axis] * (n - 1) + 1);
}

/** The space of what several values are combined to: on each axis the largest.
 *
 * @param {Space[]} before @returns {Space}
 */
function largest(before) {
    const axes = Math.max(...before.map((space) => space.length));
    const known = before.filter((space) => space.length === axes);
    return Array.from({ length: axes }, (_, axis) =>
        known
            .map((space) => space[axis])
            .reduce((one, other) =>
                one[0] > other[0] || (one[0] === other[0] && one[1] >= other[1]) ? one : other,
            ),
    );
}

/** What windows slide over, and how many there are.
 *
 * @param {[number, number]} axis @param {number} span @param {number} stride @param {number[]} padding
 * @returns {Space}
 */
function padded([times, before], span, stride, padding) {
    const more = before + padding[0] + padding[1];
    return [
        [times, more],
        [times / stride, (more - span) / stride + 1],
    ];
}

/** The full output of a transposed convolution, and what is left of it.
 *
 * @param {[number, number]} axis @param {number} span @param {number} stride @param {number[]} padding
 * @returns {Space}
 */
function unfolded([times, more], span, stride, [before, after]) {
    const full = (more - 1) * stride + span + Math.max(0, -after);
    return [
        [times * stride, full],
        [times * stride, full - before - Math.max(0, after)],
    ];
}
