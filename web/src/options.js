/** The rules of options: one for each kind that the table of layers names. */

import { Real, isObject, shown } from "./json.js";

const LARGEST = 2 ** 31 - 1;
export const MOST_AXES = 8; // of a value
const MOST_SPACE = 3; // axes of space

/**
 * @callback Rule
 * @param {string} name @param {any} value
 * @param {number | null} rank how many spatial axes the layer has; null where its options tell
 * @param {boolean} extends_ whether what is cut off at an end may be negative
 * @returns {any}
 */

/** @param {string} name @param {string} wanted @param {any} value @returns {never} */
function wrong(name, wanted, value) {
    throw new Error(`${name}: expected ${wanted}, got ${shown(value)}`);
}

/** @param {any} value */
const isWhole = (value) => typeof value === "bigint" || Number.isInteger(value);

/** What the values of a component's options are in Python, by their kinds. */
const TYPES = /** @type {Record<string, [string, (value: any) => boolean]>} */ ({
    count: ["int", isWhole],
    counts: ["list[int]", Array.isArray],
    flag: ["bool", (value) => typeof value === "boolean"],
    choice: ["str", (value) => typeof value === "string"],
    number: [
        "float",
        (value) => ["number", "bigint"].includes(typeof value) || value instanceof Real,
    ],
});

/** An Error unless the options of a component that are given are of the types that they have.
 *
 * @param {Record<string, any>} given @param {Record<string, any>} options of the table
 */
export function expectTypes(given, options) {
    for (const [name, value] of Object.entries(given)) {
        const { kind, ...option } = options[name];
        if (value === null && "or" in option) continue;
        const [type, fits] = TYPES[Array.isArray(kind) ? "choice" : kind] ?? TYPES.number;
        if (!fits(value)) wrong(name, "or" in option ? `${type} | None` : type, value);
    }
}

/** @param {string} name @param {any} value @param {number} [least] */
function number(name, value, least = -Infinity) {
    const found =
        value instanceof Real ? value.value : typeof value === "bigint" ? Number(value) : value;
    if (typeof found !== "number") return wrong(name, "a number", value);
    const limit = least > -Infinity ? ` of at least ${least}` : "";
    return Number.isFinite(found) && found >= least
        ? found
        : wrong(name, `a finite number${limit}`, value);
}

/** @param {string} name @param {any} value @param {number} [least] @param {number} [most] */
function count(name, value, least = 1, most = LARGEST) {
    if (!isWhole(value)) return wrong(name, "a whole number", value);
    if (value >= least && value <= most) return Number(value);
    const bounded = most < LARGEST || value > most;
    const limit = bounded ? `in ${least}..${most}` : `of at least ${least}`;
    return wrong(name, `a whole number ${limit}`, value);
}

/** @param {string} name @param {any} value @param {number | null} [length] @returns {any[]} */
function list(name, value, length = null) {
    if (!Array.isArray(value)) return wrong(name, "a list", value);
    const right = length === null || value.length === length;
    return right ? value : wrong(name, `${length} entries`, value.length);
}

/** @param {string} name @param {any} value @returns {number[]} */
function counted(name, value) {
    const found = list(name, value);
    return found.length
        ? found.map((one) => count(name, one))
        : wrong(name, "at least one whole number", value);
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
    number: (name, value) => number(name, value),
    count: (name, value) => count(name, value),
    amount: (name, value) => number(name, value, 0),
    rate: (name, value) =>
        number(name, value, 0) < 1 ? number(name, value) : wrong(name, "a number below 1", value),
    share: (name, value) =>
        number(name, value, 0) <= 1
            ? number(name, value)
            : wrong(name, "a number of at most 1", value),
    flag: (name, value) =>
        typeof value === "boolean" ? value : wrong(name, "true or false", value),
    axis: (name, value) => count(name, value, -1, 1) || wrong(name, "-1 or 1", value),
    direction: oneOf(["forward", "backward", "both"]),
    mode: (_, value) => value, // which there are, depends on the layer
    counts: (name, value) => counted(name, value),
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
    sizes: (name, value, rank) => {
        if (rank !== null) return list(name, value, rank).map((one) => count(name, one));
        const found = counted(name, value);
        return found.length <= MOST_SPACE
            ? found
            : wrong(name, `1 to ${MOST_SPACE} entries`, found.length);
    },
    ends: (name, value) => {
        const found = list(name, value);
        if (found.length < 1 || found.length > MOST_SPACE)
            return wrong(name, `1 to ${MOST_SPACE} entries`, found.length);
        return found.map((pair) => list(name, pair, 2).map((end) => count(name, end, -LARGEST)));
    },
    pairs: (name, value, rank, extends_) =>
        list(name, value, rank)
            .map((pair) => list(name, pair, 2))
            .map(([before, after]) => [
                count(name, before, 0),
                count(name, after, extends_ ? -LARGEST : 0),
            ]),
};

/**
 * An Error unless the names that are needed are there, and none besides those that there may be.
 *
 * @param {string} what @param {string[]} names @param {string[]} needed @param {string[]} may
 */
export function expectNames(what, names, needed, may) {
    if (names.every((name) => may.includes(name)) && needed.every((name) => names.includes(name)))
        return;
    const wanted = may.map((name) => (needed.includes(name) ? name : `${name} (optional)`));
    const got = names.join(", ").slice(0, 999) || "none";
    throw new Error(`${what}: expected ${wanted.join(", ") || "none"}, got ${got}`);
}

/** An Error unless an object has the keys that options have, or may leave out.
 *
 * @param {string} what @param {any} given @param {Record<string, any>} options
 */
export function expectKeys(what, given, options) {
    if (!isObject(given)) wrong(what, "an object", given);
    const needed = Object.keys(options).filter((name) => !("default" in options[name]));
    expectNames(what, Object.keys(given), needed, Object.keys(options));
}

/**
 * An object with the keys that options have, each value by its rule; those left out at their default.
 *
 * @param {string} what "config" or "training"
 * @param {any} given
 * @param {Record<string, any>} options of the table
 * @param {number | null} rank how many spatial axes the layer has
 * @param {boolean} [extends_] whether what is cut off at an end may be negative
 * @returns {Record<string, any>}
 */
export function checkedOptions(what, given, options, rank, extends_ = false) {
    expectKeys(what, given, options);
    /** @type {[string, any][]} */
    const found = Object.entries(options).map(([name, option]) => {
        const value = Object.hasOwn(given, name) ? given[name] : option.default;
        if (value === null && "or" in option) return [name, null];
        const rule = Array.isArray(option.kind) ? oneOf(option.kind) : RULES[option.kind];
        return [name, rule(name, value, rank, extends_)];
    });
    return Object.fromEntries(found);
}
