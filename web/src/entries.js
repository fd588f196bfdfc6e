/**
 * Does an entry of a chain or a graph have what its layer takes? No more and no less.
 *
 * What a layer takes stands in vocabulary.json, which is made from the one table of layers.
 */

import { isObject, shown, tuple } from "./json.js";
import { checkedOptions, expectKeys, expectNames } from "./options.js";
import vocabulary from "./vocabulary.json" with { type: "json" };

/** @typedef {import("./model_file.js").WeightArray} WeightArray */
/** @typedef {Map<string, WeightArray>} Arrays */

/**
 * @typedef {object} Row of the table of layers
 * @property {Record<string, any>} [options]
 * @property {Record<string, any>} [training]
 * @property {Record<string, string[]>} [arrays] the shape of each, a letter for each size
 * @property {string[]} [optional] the arrays that may be absent
 * @property {number | string} [inputs] how many layers it takes; 1 when left out
 * @property {number[]} [integers] which of its inputs are integers, ids or a mask
 * @property {string} [combines]
 * @property {string} [axes]
 * @property {string} [space]
 * @property {{axis: number, taken: string | null, made: string, times: string}} [widths]
 * @property {number[][]} [moves]
 */

/** @type {Record<string, Row>} */
export const LAYERS = /** @type {any} */ (vocabulary.layers);
/** @type {Record<string, Record<string, any>>} */
export const COMPONENTS = vocabulary.components;
const MOST_COMBINED = 1024;

/** @param {string} name @returns {Row} */
export function row(name) {
    return Object.hasOwn(LAYERS, name) ? LAYERS[name] : {};
}

/**
 * An Error unless an entry has the form that all have, and stands where it may.
 *
 * @param {number} place
 * @param {any} entry
 * @param {number} inputs how many entries are inputs
 * @param {string[]} more keys that it may have besides
 */
export function checkEntry(place, entry, inputs = 1, more = []) {
    const may = ["layer", "previous", "config", "training", ...more];
    const keys = isObject(entry) ? Object.keys(entry) : [];
    if (
        !may.slice(0, 3).every((key) => keys.includes(key)) ||
        !keys.every((key) => may.includes(key))
    ) {
        throw new Error(`layer ${place}: expected layer, previous and config, got ${shown(entry)}`);
    }
    const { layer, previous, config, training = {} } = entry;
    if (typeof layer !== "string" || (layer === "Input") !== place < inputs) {
        throw new Error(
            `layer ${place}: expected Input first and nowhere else, got ${shown(layer)}`,
        );
    }
    const what = `layer ${place} (${layer.slice(0, 99)})`;
    const isEarlier = (/** @type {any} */ one) => Number.isInteger(one) && one >= 0 && one < place;
    if (!Array.isArray(previous) || !previous.every(isEarlier)) {
        throw new Error(`${what}: previous: expected earlier places, got ${shown(previous)}`);
    }
    if (!isObject(config))
        throw new Error(`${what}: config: expected an object, got ${shown(config)}`);
    within(what, () => {
        const wanted = row(layer).training ?? {};
        const keys = Object.keys(wanted);
        if (!isObject(training) || Object.keys(training).sort().join() !== keys.sort().join())
            throw new Error(
                `training: expected ${keys.join(", ") || "nothing"}, got ${shown(training)}`,
            );
        checkedOptions("training", training, wanted, null);
    });
}

/**
 * Run what checks; an Error begins with where it happened.
 *
 * @template T
 * @param {string} what @param {() => T} check
 * @returns {T}
 */
export function within(what, check) {
    try {
        return check();
    } catch (error) {
        throw new Error(`${what}: ${error instanceof Error ? error.message : error}`);
    }
}

/**
 * The arrays of each place, by name; an Error for one that has no place.
 *
 * @param {Arrays} arrays @param {number} count
 * @returns {Arrays[]}
 */
export function byPlace(arrays, count) {
    const found = Array.from({ length: count }, () => new Map());
    for (const [path, array] of arrays) {
        const [, place, name] = /^(0|[1-9][0-9]{0,15})\.(.+)$/s.exec(path) ?? [];
        if (place === undefined || Number(place) >= count) {
            throw new Error(
                `array ${shown(path)}: expected a place in 0..${count - 1} before its name`,
            );
        }
        found[Number(place)].set(name, array);
    }
    return found;
}

/**
 * The options of an entry, at their defaults where the file leaves them out; its arrays checked.
 *
 * @param {{layer: string, previous: number[], config: any, training?: any}} entry
 * @param {Arrays} arrays
 * @returns {Record<string, any>}
 */
export function checkedConfig(entry, arrays) {
    const { layer, previous, config } = entry;
    const { inputs = 1, arrays: wanted = {}, optional = [], options = {} } = LAYERS[layer];
    checkPrevious(previous, inputs);
    const names = Object.keys(wanted);
    const needed = names.filter((name) => !optional.includes(name));
    expectNames("arrays", [...arrays.keys()], needed, names);
    expectKeys("config", config, options);
    const letters = sizes(wanted, arrays);
    const extends_ = layer === "TransposedConvolution";
    const ofWindows = "size" in options ? checkedRank : () => kernelRank(arrays);
    const rank = "stride" in options ? ofWindows(config.size) : null;
    const found = checkedOptions("config", config, options, rank, extends_);
    for (const rule of SPECIAL[layer] ?? []) rule(found, arrays, { ...letters });
    return found;
}

/** How many spatial axes a kernel has; 0 where there is none. @param {Arrays} arrays */
function kernelRank(arrays) {
    return (arrays.get("weight")?.shape.length ?? 2) - 2;
}

/** How many spatial axes the windows of a pool have. @param {any} size */
function checkedRank(size) {
    if (!Array.isArray(size)) throw new Error(`size: expected a list, got ${shown(size)}`);
    if (![1, 2].includes(size.length))
        throw new Error(`size: expected 1 or 2 entries, got ${size.length}`);
    return size.length;
}

/** An Error unless a layer has so many before it.
 *
 * @param {number[]} previous @param {number | string} count
 */
export function checkPrevious(previous, count) {
    const few = count === "several" && (previous.length < 2 || previous.length > MOST_COMBINED);
    if (few || (count !== "several" && previous.length !== count)) {
        const wanted = count === "several" ? `2 to ${MOST_COMBINED}` : count;
        throw new Error(`previous: expected ${wanted} of them, got ${previous.length}`);
    }
}

/**
 * What each letter stands for in the arrays' shapes; an Error where they do not fit together.
 *
 * @param {Record<string, string[]>} wanted @param {Arrays} arrays
 */
function sizes(wanted, arrays) {
    /** @type {Record<string, number>} */
    const found = {};
    for (const [name, letters] of Object.entries(wanted)) {
        const shape = arrays.get(name)?.shape;
        if (!shape) continue;
        const open = letters.at(-1) === "*kernel";
        const fixed = open ? letters.slice(0, -1) : letters;
        if (open ? ![1, 2].includes(shape.length - fixed.length) : shape.length !== fixed.length) {
            const count = open ? "3 or 4 axes with entries" : `${fixed.length} axes`;
            throw new Error(`${name}: expected ${count}, got shape ${tuple(shape)}`);
        }
        const known = fixed.map((letter, axis) => {
            const [, times = "1", own] = /** @type {RegExpExecArray} */ (
                /^(\d+)?(.+)$/.exec(letter)
            );
            found[own] ??= Math.floor(shape[axis] / Number(times));
            return Number(times) * found[own];
        });
        if (known.some((size, axis) => size !== shape[axis])) {
            const full = [...known, ...shape.slice(known.length)];
            throw new Error(`${name}: expected shape ${tuple(full)}, got ${tuple(shape)}`);
        }
    }
    return found;
}

/** @typedef {(config: Record<string, any>, arrays: Arrays, sizes: Record<string, number>) => void} Special */

/** @param {boolean} right @param {string} name @param {string} wanted @param {any} got */
function expect(right, name, wanted, got) {
    if (!right) throw new Error(`${name}: expected ${wanted}, got ${shown(got)}`);
}

/** @type {Special} */
const lessThanSize = ({ size, padding, count_padding: counts }) =>
    expect(
        counts ||
            padding.every(
                (/** @type {number[]} */ pair, /** @type {number} */ axis) =>
                    Math.max(...pair) < size[axis],
            ),
        "padding",
        `less than size ${shown(size)}`,
        padding,
    );
/** @type {Special} */
const dividing = ({ groups }, arrays, sizes) => {
    const channels = sizes.channels ?? sizes.out;
    expect(channels % groups === 0, "groups", `a divisor of ${channels} channels`, groups);
};
/** @type {Special} */
const notNegative = ({ epsilon }) =>
    expect(epsilon >= 0, "epsilon", "a finite number of at least 0", epsilon);

/** All biases of a recurrent layer or none, and arrays of the way back with direction "both" alone.
 *
 * @param {string[]} biases @returns {Special}
 */
function withBothWays(biases) {
    return ({ direction }, arrays) => {
        const names = ["input_weight", "hidden_weight", ...biases];
        const there = names.filter((name) => !biases.includes(name) || arrays.has(biases[0]));
        for (const way of ["", "backward."]) {
            for (const name of names) {
                const wanted = there.includes(name) && (way === "" || direction === "both");
                const got = [...arrays.keys()].join(", ");
                const what = wanted ? "an array" : "none";
                expect(arrays.has(way + name) === wanted, way + name, what, got);
            }
        }
    };
}

/** @param {string[]} modes @returns {Special} */
function oneMode(modes) {
    return ({ mode }) => expect(modes.includes(mode), "mode", `one of ${modes.join(", ")}`, mode);
}

/** Only linear resampling has corners. @type {Special} */
const withCorners = ({ mode, corners }) =>
    expect(!corners || mode === "linear", "corners", `false with mode ${mode}`, corners);

/** What a row's kinds and letters do not say. @type {Record<string, Special[]>} */
const SPECIAL = {
    Convolution: [dividing],
    MaxPool: [lessThanSize],
    AveragePool: [lessThanSize],
    MaxUnpool: [
        lessThanSize,
        ({ size, stride }) =>
            expect(
                stride.every(
                    (/** @type {number} */ jump, /** @type {number} */ axis) => jump >= size[axis],
                ),
                "stride",
                `at least size ${shown(size)}`,
                stride,
            ),
    ],
    GroupNorm: [dividing, notNegative],
    LayerNorm: [notNegative],
    RMSNorm: [notNegative],
    BatchNorm: [
        notNegative,
        (config, arrays) => {
            const variance = /** @type {WeightArray} */ (arrays.get("variance")).values;
            expect(
                !variance.some((one) => one < 0),
                "variance",
                "no entry below 0",
                Math.min(...variance),
            );
        },
    ],
    L2Normalize: [({ epsilon }) => expect(epsilon > 0, "epsilon", "a number above 0", epsilon)],
    Clip: [
        ({ minimum, maximum }) =>
            expect(maximum > minimum, "maximum", `a number above ${minimum}`, maximum),
    ],
    GRU: [withBothWays(["input_bias", "hidden_bias"])],
    LSTM: [withBothWays(["bias"])],
    Pad: [
        oneMode(["constant", "reflect", "edge"]),
        ({ mode, value }) =>
            expect(mode === "constant" || value === 0, "value", `0 with mode ${mode}`, value),
    ],
    Upsample: [oneMode(["nearest", "linear"]), withCorners],
    Resize: [oneMode(["nearest", "linear"]), withCorners],
    Slice: [
        ({ start, stop }) =>
            expect(stop > start, "stop", `a whole number of at least ${start + 1}`, stop),
    ],
};
