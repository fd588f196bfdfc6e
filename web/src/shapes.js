/**
 * The shape of each value of a graph, from the shapes of its inputs: what fits, and what cannot.
 *
 * A shape is [batch, ...sizes], null for a size that is not known, the batch's always; a value of
 * which nothing is known, as the output of a component, has the shape null.
 */

import { row } from "./entries.js";
import { windowSpans } from "./growth.js";
import { tuple } from "./json.js";
import { sizesOf } from "./widths.js";

/** @typedef {import("./entries.js").Arrays} Arrays */
/** @typedef {number | null} Size */
/** @typedef {Size[]} Shape */
/** @typedef {Record<string, any>} Config */

/**
 * The shape of a layer's output; an Error when the shapes before it are not what it takes.
 *
 * @param {string} name @param {Config} config @param {Arrays} arrays @param {(Shape | null)[]} before
 * @returns {Shape | null}
 */
export function shapeAfter(name, config, arrays, before) {
    if (name.includes(".")) return null; // a component may give anything
    const { combines, widths, moves } = row(name);
    if (combines === "attended" || combines === "averaged")
        return overTime(combines, before, config.heads ?? 1);
    if (combines) {
        const known = before.filter((shape) => shape !== null);
        expectEqualRanks(known);
        if (known.length < before.length) return null;
        return combines === "joined" ? joined(known, config.axis) : broadcast(known);
    }
    const x = before[0];
    if (x === null) return null;
    const wanted = exactRank(name, config);
    const least = wanted ?? fewest(name);
    if (wanted === null ? x.length < least : x.length !== wanted)
        throw new Error(`previous: expected ${least} axes, got ${text(x)}`);
    if (widths) {
        const width = sizesOf(name, config, arrays).taken;
        const got = x.at(widths.axis) ?? null;
        if (width !== null && got !== null && got !== width) {
            const what = widths.axis === 1 ? "channels" : "features";
            throw new Error(`previous: expected ${width} ${what}, got ${text(x)}`);
        }
    }
    const after = afterOne(name, config, arrays, x, before[1] ?? null);
    if (widths) after.splice(widths.axis, 1, sizesOf(name, config, arrays).made);
    if (after.some((one) => one !== null && one < 1))
        throw new Error(`previous: expected larger windows of data, got ${text(x)}`);
    return after;
}

/** How many axes a layer's input has; null where there can be several.
 *
 * @param {string} name @param {Config} config @returns {number | null}
 */
function exactRank(name, config) {
    const { axes } = row(name);
    const { stride, padding, scale, size } = config;
    if (axes === "spatial") return 2 + (stride ?? padding ?? scale ?? size).length;
    if (axes === "sequence" || axes === "times") return 3;
    return axes === "permuted" ? 1 + config.order.length : null;
}

/** The fewest axes that a layer's input can have, where there can be several. @param {string} name */
function fewest(name) {
    const { axes, moves } = row(name);
    return axes === "reduced" && moves?.length !== 0 ? 3 : moves?.length === 0 ? 2 : 0;
}

/** The shape after a layer of one input, or of an unpool's two, but for a width that arrays fix.
 *
 * @param {string} name @param {Config} config @param {Arrays} arrays
 * @param {Shape} x @param {Shape | null} other
 * @returns {Shape}
 */
function afterOne(name, config, arrays, x, other) {
    const { axes, moves, space = "kept" } = row(name);
    if (axes === "ids") return [...x, null];
    if (axes === "reshaped") return [x[0], ...reshaped(x.slice(1), config.shape)];
    if (axes === "permuted") return [x[0], ...config.order.map((/** @type {number} */ n) => x[n])];
    if (name === "Slice") return x.with(config.axis, kept(x, config));
    if (axes === "reduced") {
        const width = moves?.length ? x[1] : product(x.slice(1));
        return config.keepdims ? [x[0], x[1], ...x.slice(2).map(() => 1)] : [x[0], width];
    }
    if (axes === "sequence" && !config.return_sequences) return [x[0], x[2]];
    if (axes === "spatial")
        return [x[0], x[1], ...spaceOf(space, config, arrays, x.slice(2), other)];
    const [[from, to] = [0, 0]] = moves ?? [];
    if (from === to) return [...x];
    return from === -1
        ? [x[0], /** @type {Size} */ (x.at(-1)), ...x.slice(1, -1)]
        : [x[0], ...x.slice(2), x[1]];
}

/** The sizes of a row in another shape; an Error where the entries are not as many.
 *
 * @param {Size[]} sizes @param {number[]} shape @returns {Size[]}
 */
function reshaped(sizes, shape) {
    const [total, known] = [product(sizes), Number(product(shape.filter((one) => one !== -1)))];
    const open = shape.includes(-1);
    if (total !== null && (open ? total % known !== 0 : total !== known)) {
        const wanted = open ? `a multiple of ${known}` : String(known);
        throw new Error(`previous: expected ${wanted} entries for each row, got ${total}`);
    }
    return shape.map((one) => (one !== -1 ? one : total === null ? null : total / known));
}

/** How many places a slice keeps; an Error where there are not as many.
 *
 * @param {Shape} x @param {Config} config
 */
function kept(x, { start, stop, axis }) {
    const size = x.at(axis) ?? null;
    if (size !== null && size < stop)
        throw new Error(`previous: expected ${stop} places along axis ${axis}, got ${text(x)}`);
    return stop - start;
}

/**
 * @param {string} rule @param {Config} config @param {Arrays} arrays
 * @param {Size[]} sizes @param {Shape | null} restored
 * @returns {Size[]}
 */
function spaceOf(rule, config, arrays, sizes, restored) {
    if (rule === "restored") return restored ? restored.slice(2) : sizes.map(() => null);
    if (rule === "sized") return [...config.size];
    if (rule === "extended" || rule === "scaled") {
        return sizes.map((n, axis) => {
            if (n === null) return null;
            if (rule === "scaled") return n * config.scale[axis];
            const [before, after] = config.padding[axis];
            return n + before + after;
        });
    }
    if (rule !== "windows" && rule !== "unfolded") return sizes;
    const spans = windowSpans(config, arrays);
    return sizes.map((n, axis) => {
        if (n === null) return null;
        const [before, after] = config.padding[axis];
        const [span, stride] = [spans[axis], config.stride[axis]];
        return rule === "unfolded"
            ? (n - 1) * stride + span - before - after
            : Math.floor((n + before + after - span) / stride) + 1;
    });
}

/** What attention gives, or a mean over time; a mask, (batch, time), comes last.
 *
 * @param {string} rule @param {(Shape | null)[]} before @param {number} heads
 * @returns {Shape | null}
 */
function overTime(rule, before, heads) {
    const count = rule === "attended" ? 3 : 1;
    const [sequences, masks] = [before.slice(0, count), before.slice(count)];
    for (const shape of sequences) {
        if (shape && shape.length !== 3)
            throw new Error(`previous: expected 3 axes, got ${text(shape)}`);
        if (shape && shape[2] !== null && shape[2] % heads)
            throw new Error(`previous: expected ${heads} equal heads, got ${text(shape)}`);
    }
    for (const shape of masks) {
        if (shape && shape.length !== 2)
            throw new Error(`previous: expected a mask of 2 axes, got ${text(shape)}`);
    }
    // What has to be equal: the times of keys, of values and of their mask, and the widths of heads.
    const times = [...sequences.slice(-2), ...masks].map((shape) => shape?.[1] ?? null);
    const widths = sequences.slice(0, -1).map((shape) => shape?.[2] ?? null);
    for (const sizes of [times, widths]) {
        if (new Set(sizes.filter((one) => one !== null)).size > 1) {
            throw new Error(
                "previous: expected equal times of keys, values and mask, and equal widths of " +
                    `queries and keys, got ${all(before.filter((shape) => shape !== null))}`,
            );
        }
    }
    const [first, last] = [sequences[0], sequences[count - 1]];
    if (rule === "averaged") return last && [last[0], last[2]];
    return first && last && [first[0], first[1], last[2]];
}

/** @param {Shape[]} shapes */
function expectEqualRanks(shapes) {
    const other = shapes.find((shape) => shape.length !== shapes[0].length);
    if (other) {
        const got = `${text(shapes[0])} and ${text(other)}`;
        throw new Error(`previous: expected as many axes of each, got ${got}`);
    }
}

/** @param {Shape[]} shapes @returns {Shape} */
function broadcast(shapes) {
    return shapes[0].map((_, axis) => {
        const sizes = shapes.map((shape) => shape[axis]);
        const larger = [...new Set(sizes.filter((one) => one !== null && one !== 1))];
        if (larger.length > 1)
            throw new Error(`previous: expected equal sizes, or 1, got ${all(shapes)}`);
        return larger[0] ?? (sizes.includes(null) ? null : 1);
    });
}

/** @param {Shape[]} shapes @param {number} axis @returns {Shape} */
function joined(shapes, axis) {
    const own = axis < 0 ? axis + shapes[0].length : axis;
    if (own === 0) throw new Error(`previous: expected at least 2 axes, got ${text(shapes[0])}`);
    const rest = shapes.map((shape) => shape.with(own, 1));
    const differ = rest[0].some(
        (_, one) => new Set(rest.map((shape) => shape[one]).filter((n) => n !== null)).size > 1,
    );
    if (differ) {
        const wanted = `shapes that differ on axis ${own} alone`;
        throw new Error(`previous: expected ${wanted}, got ${all(shapes)}`);
    }
    const sizes = shapes.map((shape) => shape[own]);
    const sum = sizes.reduce((one, n) => (one === null || n === null ? null : one + n), 0);
    return broadcast(rest).with(own, sum);
}

/** How many entries axes of these sizes have; null where one is not known. @param {Size[]} sizes */
function product(sizes) {
    return sizes.reduce((one, n) => (one === null || n === null ? null : one * n), 1);
}

/** A shape as text, n where it is not known: (n, 3, 32, 32). @param {Shape} shape */
function text(shape) {
    return tuple(shape.map((size) => size ?? "n"));
}

/** @param {Shape[]} shapes */
function all(shapes) {
    return shapes.slice(0, 9).map(text).join(" and ");
}
