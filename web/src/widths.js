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
    const { widths, moves } = row(name);
    if (name.includes(".")) return new Map(); // a component may give anything
    if (widths) {
        const { axis } = widths;
        const { taken, made } = sizesOf(name, config, arrays);
        const got = before.get(axis) ?? taken;
        if (taken !== null && got !== taken) {
            const what = axis === 1 ? "channels" : "features";
            throw new Error(`previous: expected ${taken} ${what}, got ${got}`);
        }
        return new Map([...(widths.taken === widths.made ? before : []), [axis, made]]);
    }
    if (!moves) return before;
    const kept = moves.filter(
        ([axis, to]) => before.has(axis) && (axis === to || !config.keepdims),
    );
    return new Map(kept.map(([axis, to]) => [to, Number(before.get(axis))]));
}

/**
 * The widths of what a layer with widths takes and makes; null where it takes any.
 *
 * @param {string} name
 * @param {Record<string, any>} config
 * @param {Arrays} arrays
 * @returns {{taken: number | null, made: number}}
 */
export function sizesOf(name, config, arrays) {
    const { arrays: shapes = {}, widths } = row(name);
    const { taken, made, times } = /** @type {NonNullable<typeof widths>} */ (widths);
    /** @param {string} letter */
    const size = (letter) => {
        const [own, letters] = /** @type {[string, string[]]} */ (
            Object.entries(shapes).find(([one, all]) => all.includes(letter) && arrays.has(one))
        );
        return Number(arrays.get(own)?.shape[letters.indexOf(letter)]);
    };
    const ways = config.direction === "both" ? 2 : 1;
    return {
        taken: taken === null ? null : size(taken) * (times ? config[times] : 1),
        made: ways * size(made),
    };
}
