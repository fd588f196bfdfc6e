/**
 * Do the layers of a chain fit together, as far as their arrays tell without an input?
 *
 * The widths of the output are followed from layer to layer, {1: channels, -1: features}, each
 * where it is certain. A layer that meets another width than its own can never run.
 */

import { row } from "./entries.js";

/** @typedef {import("./entries.js").Arrays} Arrays */
/** @typedef {Map<number, number>} Widths */

/**
 * The widths of a layer's output; an Error when those before it are not what it takes.
 *
 * @param {string} name
 * @param {Record<string, any>} config
 * @param {Arrays} arrays
 * @param {Widths} before
 * @returns {Widths}
 */
export function widthsAfter(name, config, arrays, before) {
    const { arrays: shapes = {}, widths, moves } = row(name);
    if (name.includes(".")) return new Map(); // a component may give anything
    if (widths) {
        const { axis, taken, made, times } = widths;
        /** @param {string} letter */
        const size = (letter) => {
            const [own, letters] = /** @type {[string, string[]]} */ (
                Object.entries(shapes).find(([one, all]) => all.includes(letter) && arrays.has(one))
            );
            return Number(arrays.get(own)?.shape[letters.indexOf(letter)]);
        };
        if (taken !== null) {
            const width = size(taken) * (times ? config[times] : 1);
            const got = before.get(axis) ?? width;
            const what = axis === 1 ? "channels" : "features";
            if (got !== width) throw new Error(`previous: expected ${width} ${what}, got ${got}`);
        }
        const ways = config.direction === "both" ? 2 : 1;
        return new Map([...(taken === made ? before : []), [axis, ways * size(made)]]);
    }
    if (!moves) return before;
    const kept = moves.filter(
        ([axis, to]) => before.has(axis) && (axis === to || !config.keepdims),
    );
    return new Map(kept.map(([axis, to]) => [to, Number(before.get(axis))]));
}
