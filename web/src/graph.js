/** Graphs: networks with branches, several inputs and several outputs. Their form and their names. */

import { byPlace, checkEntry, row } from "./entries.js";
import { isObject, pythonText, shown } from "./json.js";
import { MOST_AXES } from "./options.js";

/** @typedef {import("./entries.js").Arrays} Arrays */

const DTYPES = ["float", "int64"];
const MOST_NAMES = 1024; // inputs, outputs, and entries that share
const PATH = /^[A-Za-z0-9_]{1,99}(\.[A-Za-z0-9_]{1,99}){0,19}$/;
const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]{0,98}$/;
// Python's keywords: a name of an input is an argument in the other packages.
const KEYWORDS = new Set(
    (
        "False None True and as assert async await break class continue def del elif else except " +
        "finally for from global if import in is lambda nonlocal not or pass raise return try while with yield self"
    ).split(" "),
);

/**
 * An Error unless inputs, entries and outputs have the form and the names that they may.
 *
 * @param {Record<string, any>} config @param {Arrays} arrays
 */
export function checkGraph(config, arrays) {
    const { inputs, layers: entries, outputs } = config;
    if (Object.keys(config).sort().join() !== "inputs,layers,outputs" || !Array.isArray(entries)) {
        throw new Error(`config: expected inputs, layers and outputs, got ${shown(config)}`);
    }
    for (const [what, named] of Object.entries({ inputs, outputs })) {
        const count = isObject(named) ? Object.keys(named).length : 0;
        if (count < 1 || count > MOST_NAMES) {
            throw new Error(
                `${what}: expected 1 to ${MOST_NAMES} by their names, got ${shown(named)}`,
            );
        }
        for (const name of Object.keys(named)) {
            if (!IDENTIFIER.test(name) || KEYWORDS.has(name)) {
                throw new Error(`${what}: expected an identifier as a name, got ${shown(name)}`);
            }
        }
    }
    for (const [name, one] of Object.entries(inputs)) checkInput(name, one);
    const first = Object.keys(inputs).length;
    if (entries.length <= first)
        throw new Error("layers: expected a layer after the inputs, got none");
    const owned = byPlace(arrays, entries.length);
    const read = new Set(Object.values(outputs));
    entries.forEach((entry, place) => {
        checkEntry(place, entry, first, ["name", "shares"]);
        checkShares(place, entries, owned);
        for (const one of entry.previous) read.add(one);
    });
    if (entries.filter((entry) => "shares" in entry).length > MOST_NAMES) {
        throw new Error(`layers: expected at most ${MOST_NAMES} that share, got more`);
    }
    checkNames(entries);
    for (const [name, place] of Object.entries(outputs)) {
        if (!Number.isInteger(place) || place < first || place >= entries.length) {
            const wanted = `places in ${first}..${entries.length - 1}`;
            throw new Error(`outputs: expected ${wanted}, got ${shown(place)} for ${name}`);
        }
    }
    const unread = entries.findIndex((_, place) => !read.has(place));
    if (unread >= 0) {
        throw new Error(
            `layer ${unread} (${entries[unread].layer}): expected one that is read, got no reader`,
        );
    }
}

/** @param {string} name @param {any} one */
function checkInput(name, one) {
    if (!isObject(one) || Object.keys(one).sort().join() !== "dtype,shape") {
        throw new Error(`inputs: expected shape and dtype of ${name}, got ${shown(one)}`);
    }
    const { shape, dtype } = one;
    const isSize = (/** @type {any} */ n) =>
        n === null || (Number.isInteger(n) && n > 0 && n < 2 ** 31);
    const right = Array.isArray(shape) && shape.length >= 1 && shape.length <= MOST_AXES;
    if (!right || shape[0] !== null || !shape.every(isSize)) {
        throw new Error(
            `inputs: expected a shape of 1 to ${MOST_AXES} axes, null or a count each and null first, ` +
                `got ${shown(shape)} for ${name}`,
        );
    }
    if (!DTYPES.includes(dtype)) {
        throw new Error(
            `inputs: expected dtype ${DTYPES.join(" or ")}, got ${shown(dtype)} for ${name}`,
        );
    }
}

/** An Error unless an entry that shares is like the one whose arrays it uses.
 *
 * @param {number} place @param {any[]} entries @param {Arrays[]} owned
 */
function checkShares(place, entries, owned) {
    const { shares: other, ...entry } = entries[place];
    if (!("shares" in entries[place])) return;
    const what = `layer ${place} (${entry.layer.slice(0, 99)}): shares`;
    const earlier = Number.isInteger(other) && other >= 0 && other < place;
    if (!earlier || owned[other].size === 0) {
        throw new Error(`${what}: expected an earlier place with arrays, got ${shown(other)}`);
    }
    const alike = ["layer", "config", "training"].every(
        (key) => pythonText(entry[key] ?? null) === pythonText(entries[other][key] ?? null),
    );
    if (!alike)
        throw new Error(`${what}: expected the layer and the config of place ${other}, got others`);
    if (owned[place].size || "name" in entry) {
        throw new Error(`${what}: expected no arrays and no name besides, got some`);
    }
}

/** An Error unless names are paths, each once, and none stands inside another.
 *
 * @param {any[]} entries
 */
function checkNames(entries) {
    const seen = new Map();
    entries.forEach(({ name }, place) => {
        if (name === undefined) return;
        if (typeof name !== "string" || !PATH.test(name)) {
            throw new Error(`layer ${place}: name: expected a path, as a.b.c, got ${shown(name)}`);
        }
        if (seen.has(name)) {
            throw new Error(
                `layer ${place}: name: expected another than ${seen.get(name)}'s, ${name}`,
            );
        }
        seen.set(name, place);
    });
    for (const [name, place] of seen) {
        const parts = name.split(".");
        for (let count = 1; count < parts.length; count += 1) {
            const above = parts.slice(0, count).join(".");
            if (seen.has(above)) {
                throw new Error(
                    `layer ${place}: name: expected none inside that of ${seen.get(above)}, got ${name}`,
                );
            }
        }
    }
}

/** How many copies of entries of the input stand beside each other in a layer's output.
 *
 * @param {string} name @param {number[]} before @param {(import("./shapes.js").Shape | null)[]} shapes
 */
export function copiesAfter(name, before, shapes) {
    const { combines, arrays } = row(name);
    if (combines === "joined") return before.reduce((sum, one) => sum + one, 0);
    if (combines === "attended") {
        // As many rows as the query has, each as wide as a value.
        const [query, , value] = shapes.map((one) => one?.[2] ?? null);
        if (query === null || value === null) {
            const wanted = "widths of query and value that the inputs tell";
            throw new Error(`previous: expected ${wanted}`);
        }
        return Math.ceil(Math.max(...before) * Math.max(1, value / query));
    }
    return arrays ? 1 : Math.max(...before);
}
