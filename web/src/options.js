/** The rules of options: one for each kind that the table of layers names. */

import { Real, isObject, shown } from "./json.js";

const LARGEST = 2 ** 31 - 1;

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
    const right =
        typeof value === "number" && Number.isInteger(value) && value >= least && value <= LARGEST;
    return right ? value : wrong(name, `a whole number of at least ${least}`, value);
}

/** @param {string} name @param {any} value @param {number | null} length @returns {any[]} */
function list(name, value, length) {
    if (!Array.isArray(value)) return wrong(name, "a list", value);
    const right = length === null ? value.length > 0 : value.length === length;
    return right ? value : wrong(name, `${length ?? "some"} entries`, value);
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
    counts: (name, value) => list(name, value, null).map((one) => count(name, one)),
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
