/**
 * How much larger than its input can what a model computes become? Asked before it is called.
 *
 * Paddings and strides are numbers in a file, and cost nothing there. So the places along a spatial
 * axis are followed from layer to layer, as `times · n + more` for n places of the input, and may
 * not outgrow the file: a model that unfolds an entry to a million of them has arrays to match.
 */

import { row } from "./entries.js";

/** @typedef {import("./entries.js").Arrays} Arrays */
/** @typedef {[number, number][]} Axes [times, more] of each spatial axis */

/**
 * @typedef {object} Space how large a value has become
 * @property {Axes} axes none where they are not known
 * @property {number} carried what the entries had grown by before they came to other axes
 */

export const ROOM = 1024; // places for each of the input's that need no arrays
const SIZE = 2 ** 20; // places that any model may resize to, whatever its input
/** @type {Space} */
export const NOTHING = { axes: [], carried: 1 };

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
    if (name.includes(".") || before.length === 0) return NOTHING; // a component may give anything
    if (combines) return largest(before);
    if (rule === "kept" || rule === "restored") return before[rule === "restored" ? 1 : 0];
    if (rule === "lost") return { axes: [], carried: before[0].carried };
    if (rule === "carried") return { axes: [], carried: places(before[0]) };
    if (rule === "scaled" || rule === "sized") return resampled(rule, config, before[0], most);
    /** @type {number[]} */
    const ones = config.padding.map(() => 1);
    const spans = rule === "extended" ? ones : windowSpans(config, arrays);
    const steps = rule === "extended" ? ones : config.stride;
    const isKnown = before[0].axes.length === spans.length;
    const start = isKnown
        ? before[0].axes
        : spans.map(() => /** @type {[number, number]} */ ([1, 0]));
    const carried = isKnown ? before[0].carried : places(before[0]);
    const grow = rule === "unfolded" ? unfolded : padded;
    const grown = start.map((axis, i) => grow(axis, spans[i], steps[i], config.padding[i]));
    expectGrowth("padding, stride", places({ axes: grown.map(([whole]) => whole), carried }), most);
    return { axes: grown.map(([, after]) => after), carried };
}

/** A multiple of the space, or a size that is the same for every input.
 *
 * @param {string} rule @param {Record<string, any>} config @param {Space} before @param {number} most
 * @returns {Space}
 */
function resampled(rule, config, before, most) {
    if (rule === "sized") {
        const size = /** @type {number[]} */ (config.size);
        expectGrowth(
            "size",
            size.reduce((product, n) => product * n, 1),
            Math.max(most, SIZE),
        );
        return { axes: size.map((n) => [0, n]), carried: before.carried };
    }
    const scale = /** @type {number[]} */ (config.scale);
    const isKnown = before.axes.length === scale.length;
    /** @type {Space} */
    const after = {
        axes: scale.map((n, axis) => {
            const [times, more] = isKnown ? before.axes[axis] : [1, 0];
            return [times * n, more * n];
        }),
        carried: isKnown ? before.carried : places(before),
    };
    expectGrowth("scale", places(after), most);
    return after;
}

/** @param {string} name @param {number} growth @param {number} most */
function expectGrowth(name, growth, most) {
    if (!(growth <= most)) {
        throw new Error(
            `${name}: expected at most ${most} places for one of the input, ${ROOM} and as many ` +
                `as the arrays have bytes, got ${growth}`,
        );
    }
}

/** How many places a space has for one of the input. @param {Space} space */
export function places({ axes, carried }) {
    return axes.reduce((product, [times, more]) => product * (times + Math.max(more, 0)), carried);
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
    const rank = Math.max(...before.map(({ axes }) => axes.length));
    const isKnown = (/** @type {Space} */ { axes }) => axes.length === rank;
    const axes = Array.from({ length: rank }, (_, axis) =>
        before
            .filter(isKnown)
            .map((space) => space.axes[axis])
            .reduce((one, other) =>
                one[0] > other[0] || (one[0] === other[0] && one[1] >= other[1]) ? one : other,
            ),
    );
    const carried = before.map((space) => (isKnown(space) ? space.carried : places(space)));
    return { axes, carried: Math.max(...carried) };
}

/** What windows slide over, and how many there are.
 *
 * @param {[number, number]} axis @param {number} span @param {number} stride @param {number[]} padding
 * @returns {Axes}
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
 * @returns {Axes}
 */
function unfolded([times, more], span, stride, [before, after]) {
    const full = (more - 1) * stride + span + Math.max(0, -after);
    return [
        [times * stride, full],
        [times * stride, full - before - Math.max(0, after)],
    ];
}
