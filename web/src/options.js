/** The rules of options: one for each kind that the table of layers names. */

import { Real, isObject, shown } from "./json.js";

const LARGEST = 2 ** 31 - 1;
export const MOST_AXES = 8; // of a value

/** @typedef {(name: string, value: any, rank: number | null) => any} Rule */

/** @param {string} name @param {string} wanted @param {any} value @returns {never} */
function wrong(name, wanted, value) {
    throw new Error(`${name}: expected ${wanted}, got ${shown(value)}`);
}

/** @type {Rule} */
function number(name, value) {
    const found =
        value instanceof Real ? value.value : typeof value === "bigint" ? Number(value) : value;
    return typeof found === "number" && Number.isFinite(found)
        ? found
        : wrong(name, "a finite number", value);
}

/** @param {string} name @param {any} value @param {number} [least] */
function count(name, value, least = 1) {
    const isWhole = typeof value === "bigint" || Number.isInteger(value);
    if (!isWhole) return wrong(name, "a whole number", value);
    if (value > LARGEST) return wrong(name, `a whole number in ${least}..${LARGEST}`, value);
    return value >= least
        ? Number(value)
        : wrong(name, `a whole number of at least ${least}`, value);
}

/** @param {string} name @param {any} value @param {number | null} [length] @returns {any[]} */
function list(name, value, length = null) {
    if (!Array.isArray(value)) return wrong(name, "a list", value);
    const right = length === null || value.length === length;
    return right ? value : wrong(name, `${length} entries`, value.length);
}

/** Whether there can be so many axes behind the batch. @param {number[]} axes */
function isBehindBatch(axes) {
    return axes.length >= 1 && axes.length < MOST_AXES;
}

/** @param {string[]} choices @returns {Rule} */
const oneOf = (choices) => (name, value) =>
    choices.includes(value) ? value : wrong(name, `one of ${choices.join(", ")}`, value);

/** @type {Record<string, Rule>} */
export const RULES = {
    number,
    count: (name, value) => count(name, value),
    amount: (name, value) =>
        number(name, value, null) >= 0
            ? number(name, value, null)
            : wrong(name, "0 or more", value),
    rate: (name, value) =>
        within(value) && number(name, value, null) < 1
            ? number(name, value, null)
            : wrong(name, "0 to below 1", value),
    share: (name, value) =>
        within(value) ? number(name, value, null) : wrong(name, "0 to 1", value),
    flag: (name, value) =>
        typeof value === "boolean" ? value : wrong(name, "true or false", value),
    axis: (name, value) => (value === -1 || value === 1 ? value : wrong(name, "-1 or 1", value)),
    direction: oneOf(["forward", "backward", "both"]),
    counts: (name, value) => {
        const found = list(name, value);
        return found.length
            ? found.map((one) => count(name, one))
            : wrong(name, "at least one whole number", value);
    },
    place: (name, value) => count(name, value, 0),
    time: (name, value) => count(name, value, -LARGEST),
    shape: (name, value) => {
        const found = list(name, value).map((one) => count(name, one, -1));
        const open = found.filter((one) => one === -1).length;
        const right = isBehindBatch(found) && !found.includes(0) && open < 2;
        const wanted = `1 to ${MOST_AXES - 1} sizes of at least 1, one of which may be −1`;
        return right ? found : wrong(name, wanted, value);
    },
    order: (name, value) => {
        const found = list(name, value).map((one) => count(name, one));
        const right = isBehindBatch(found) && found.every((_, axis) => found.includes(axis + 1));
        return right ? found : wrong(name, `each of 1..n once, n below ${MOST_AXES}`, value);
    },
    sizes: (name, value, rank) => list(name, value, rank).map((one) => count(name, one)),
    pairs: (name, value, rank) =>
        list(name, value, rank).map((pair) => {
            const [before, after] = list(name, pair, 2);
            return [count(name, before, 0), count(name, after, -LARGEST)];
        }),
};

/** @param {any} value */
function within(value) {
    const found = number("share", value, null);
    return found >= 0 && found <= 1;
}

/**
 * An object with the keys that options have, each value by its rule; those left out at their default.
 *
 * @param {string} what "config" or "training"
 * @param {any} given
 * @param {Record<string, any>} options of the table
 * @param {number | null} rank how many spatial axes the layer has
 * @returns {Record<string, any>}
 */
export function checkedOptions(what, given, options, rank) {
    const names = isObject(given) ? Object.keys(given) : [];
    const needed = Object.keys(options).filter((name) => !("default" in options[name]));
    const unknown = names.some((name) => !Object.hasOwn(options, name));
    if (unknown || !isObject(given) || !needed.every((name) => Object.hasOwn(given, name))) {
        throw new Error(
            `${what}: expected ${Object.keys(options).join(", ") || "none"}, got ${shown(given)}`,
        );
    }
    /** @type {[string, any][]} */
    const found = Object.entries(options).map(([name, option]) => {
        const value = Object.hasOwn(given, name) ? given[name] : option.default;
        if (value === null && "or" in option) return [name, null];
        const rule = Array.isArray(option.kind) ? oneOf(option.kind) : RULES[option.kind];
        return [name, rule(name, value, rank)];
    });
    return Object.fromEntries(found);
}
