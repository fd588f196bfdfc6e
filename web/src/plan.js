/** From the description in a model file to the steps that a call takes, all of it checked. */

import { CARRIED } from "./components.js";
import {
    COMPONENTS,
    byPlace,
    checkEntry,
    checkPrevious,
    checkedConfig,
    row,
    LAYERS,
    within,
} from "./entries.js";
import { checkGraph, copiesAfter } from "./graph.js";
import { ROOM, places, spaceAfter } from "./growth.js";
import { pythonText, shown, tuple } from "./json.js";
import { checkedOptions, expectKeys, expectTypes } from "./options.js";
import { shapeAfter } from "./shapes.js";
import { widthsAfter } from "./widths.js";

/** @typedef {import("./entries.js").Arrays} Arrays */

/** The layers that compute nothing at inference. */
export const SKIPPED = ["Input", "Dropout", "StochasticDepth"];
const COMPONENT = /^[a-z][a-z0-9_]*\.[A-Z][A-Za-z0-9]*$/;

/**
 * @typedef {object} Step one layer of a net
 * @property {string} layer
 * @property {Record<string, any>} config its options, at their defaults where the file has none
 * @property {Arrays} arrays
 * @property {number[]} previous the places of the values that it takes
 * @property {number} owner the place whose arrays it uses: its own, or the one that it shares with
 */

/**
 * @typedef {object} Plan
 * @property {string[]} inputs their names; they have the first places
 * @property {boolean[]} ids whether each input is token ids
 * @property {(Step | null)[]} steps by place; null for an input, and for what inference skips
 * @property {number[]} sources the place whose value each place has: another one's for a dropout
 * @property {Record<string, number>} outputs the place of each
 */

/**
 * @param {{component: string, config: Record<string, any>, arrays: Arrays}} description
 * @returns {Plan}
 */
export function planned({ component, config, arrays }) {
    if (component === "chain") return chain(config, arrays);
    if (component === "graph") return graph(config, arrays);
    const step = componentStep(component, config, arrays, [0], 1);
    return {
        inputs: ["x"],
        ids: [takesIds(component)],
        steps: [null, step],
        sources: [0, 1],
        outputs: { output: 1 },
    };
}

/**
 * Checks what the layers before an entry give it; how often its output has entries of the input
 * beside each other.
 *
 * @callback Follow
 * @param {string} layer @param {Record<string, any>} config @param {Arrays} arrays
 * @param {number[]} previous
 * @returns {number}
 */

/** @param {string} name */
function takesIds(name) {
    return row(name).integers?.includes(0) || (CARRIED[name]?.ids ?? false);
}

/** @param {Record<string, any>} config @param {Arrays} arrays @returns {Plan} */
function chain(config, arrays) {
    const { layers: entries } = config;
    if (
        Object.keys(config).join() !== "layers" ||
        !Array.isArray(entries) ||
        entries.length === 0
    ) {
        throw new Error(`config: expected a list of layers, got ${shown(config)}`);
    }
    if (entries.length === 1) throw new Error("config: expected a layer after the input, got none");
    const owned = byPlace(arrays, entries.length);
    const found = followed(entries, owned, room(arrays), alongWidths(), false);
    checkChain(entries);
    const reader = found.steps.findIndex((step) => step !== null);
    return {
        inputs: ["x"],
        ids: [reader >= 0 && takesIds(entries[reader].layer)],
        ...found,
        outputs: { output: entries.length - 1 },
    };
}

/** @param {Record<string, any>} config @param {Arrays} arrays @returns {Plan} */
function graph(config, arrays) {
    checkGraph(config, arrays);
    const { inputs, layers: entries, outputs } = config;
    const names = Object.keys(inputs);
    const ids = names.map((name) => inputs[name].dtype === "int64");
    const owned = byPlace(arrays, entries.length);
    const most = room(arrays);
    const copies = /** @type {number[]} */ ([]);
    const follow = alongShapes(Object.values(inputs), copies);
    const found = followed(entries, owned, most, follow, true);
    const largest = Math.max(...found.spaces.map((space, place) => places(space) * copies[place]));
    const held = mostHeld(found.sources, entries, Object.values(outputs));
    if (held * largest > most) {
        throw new Error(`layers: ${tooLarge(most, held * largest)}, of which ${held} at once`);
    }
    return { inputs: names, ids, steps: found.steps, sources: found.sources, outputs };
}

/** @param {Arrays} arrays */
function room(arrays) {
    return [...arrays.values()].reduce((sum, { values }) => sum + values.byteLength, ROOM);
}

/** @param {number} most @param {number} size */
function tooLarge(most, size) {
    return `expected at most ${most} entries for one of the input, ${ROOM} and as many as the arrays have bytes, got ${size}`;
}

/**
 * The steps of entries, each checked beside those that it takes.
 *
 * @param {any[]} entries
 * @param {Arrays[]} owned the arrays of each place
 * @param {number} most places for one of the input
 * @param {Follow} follow checks what the layers before an entry give it
 * @param {boolean} inGraph
 */
function followed(entries, owned, most, follow, inGraph) {
    /** @type {(Step | null)[]} */
    const steps = [];
    const sources = /** @type {number[]} */ ([]);
    const spaces = /** @type {import("./growth.js").Space[]} */ ([]);
    entries.forEach((entry, place) => {
        if (!inGraph) checkEntry(place, entry);
        const { layer, previous } = entry;
        within(`layer ${place} (${layer.slice(0, 99)})`, () => {
            const owner = entry.shares ?? place;
            const step = stepOf(entry, owned[owner], owner, inGraph);
            const config = step?.config ?? {};
            steps.push(step);
            sources.push(step || previous.length === 0 ? place : sources[previous[0]]);
            const near = previous.map((/** @type {number} */ one) => spaces[one]);
            const size = follow(layer, config, owned[owner], previous);
            spaces.push(spaceAfter(layer, config, owned[owner], near, most));
            const whole = places(spaces[place]) * size;
            if (inGraph && whole > most) throw new Error(tooLarge(most, whole));
        });
    });
    return { steps, sources, spaces };
}

/**
 * Follows the widths through a chain, whose input says nothing.
 *
 * @returns {Follow}
 */
function alongWidths() {
    const widths = /** @type {import("./widths.js").Widths[]} */ ([]);
    return (layer, config, arrays, previous) => {
        const before = previous.length ? widths[previous[0]] : new Map();
        widths.push(previous.length ? widthsAfter(layer, config, arrays, before) : before);
        return 1;
    };
}

/**
 * Follows the shapes of a graph, and which of its values are integers.
 *
 * @param {{shape: import("./shapes.js").Shape, dtype: string}[]} inputs
 * @param {number[]} copies becomes how often entries of the input stand beside each other
 * @returns {Follow}
 */
function alongShapes(inputs, copies) {
    const shapes = /** @type {(import("./shapes.js").Shape | null)[]} */ ([]);
    return (layer, config, arrays, previous) => {
        const place = shapes.length;
        if (place < inputs.length) {
            shapes.push(inputs[place].shape);
            copies.push(1);
            return 1;
        }
        const whole = row(layer).integers ?? [];
        previous.forEach((one, number) => {
            const wanted = whole.includes(number);
            const isWhole = one < inputs.length && inputs[one].dtype === "int64";
            if (!layer.includes(".") && isWhole !== wanted) {
                const kinds = wanted ? "int64, got floats" : "floats, got int64";
                throw new Error(`previous: expected ${kinds}`);
            }
        });
        const before = previous.map((one) => shapes[one]);
        shapes.push(shapeAfter(layer, config, arrays, before));
        const near = previous.map((one) => copies[one]);
        copies.push(copiesAfter(layer, near, before));
        return copies[place];
    };
}

/**
 * @param {any} entry @param {Arrays} arrays @param {number} owner @param {boolean} inGraph
 * @returns {Step | null} null for an input and for what drops when training alone
 */
function stepOf(entry, arrays, owner, inGraph) {
    const { layer, previous, config } = entry;
    if (!Object.hasOwn(LAYERS, layer)) return componentStep(layer, config, arrays, previous, owner);
    if (SKIPPED.includes(layer)) {
        checkPrevious(previous, layer === "Input" ? 0 : 1);
        if (Object.keys(config).length || arrays.size)
            throw new Error("expected no config and no arrays");
        return null;
    }
    if (layer === "MaxUnpool" && inGraph) {
        throw new Error("layer: expected one that a graph can hold: chains alone have it");
    }
    const checked = checkedConfig(entry, arrays);
    const table = layer === "Embedding" && entry.training.padding ? arrays.get("table") : undefined;
    if (table && table.values.subarray(0, table.shape[1]).some((one) => one !== 0)) {
        throw new Error("table: expected zeros in row 0, got others");
    }
    return { layer, config: checked, arrays, previous, owner };
}

/**
 * @param {string} name @param {any} config @param {Arrays} arrays
 * @param {number[]} previous @param {number} owner
 * @returns {Step}
 */
function componentStep(name, config, arrays, previous, owner) {
    checkPrevious(previous, 1);
    if (!COMPONENT.test(name)) {
        const known = Object.keys(LAYERS).filter((one) => !SKIPPED.includes(one));
        const wanted = `one of ${known.join(", ")} or a component`;
        throw new Error(`layer: expected ${wanted}, got ${shown(name)}`);
    }
    if (!Object.hasOwn(CARRIED, name)) {
        const known = Object.keys(CARRIED).join(", ");
        throw new Error(
            `component: expected one that runs in a browser, of ${known}, got ${shown(name)}`,
        );
    }
    expectKeys("config", config, COMPONENTS[name]);
    expectTypes(config, COMPONENTS[name]);
    const checked = checkedOptions("config", config, COMPONENTS[name], null);
    const wanted = CARRIED[name].shapes(checked);
    const given = Object.fromEntries([...arrays].map(([key, { shape }]) => [key, shape]));
    if (pythonText(given) !== pythonText(wanted))
        throw new Error(`arrays: expected ${shapesText(wanted)}, got ${shapesText(given)}`);
    return { layer: name, config: checked, arrays, previous, owner };
}

/** Shapes by the names of their arrays, as Python writes them. @param {Record<string, number[]>} shapes */
function shapesText(shapes) {
    const each = Object.entries(shapes).map(([name, shape]) => `'${name}': ${tuple(shape)}`);
    return `{${each.join(", ")}}`.slice(0, 999);
}

/** An Error unless each entry takes the one before it, an unpool its pool's input too.
 *
 * A MaxUnpool undoes the last MaxPool that is not undone yet: it has its config.
 *
 * @param {any[]} entries
 */
function checkChain(entries) {
    const pools = /** @type {number[]} */ ([]);
    const undone = new Set(entries.flatMap((entry) => entry.previous.slice(1)));
    entries.forEach((entry, place) => {
        const previous = place ? [place - 1] : [];
        if (entry.layer === "MaxUnpool" && pools.length) {
            const pool = /** @type {number} */ (pools.pop());
            previous.push(pool - 1);
            if (pythonText(entry.config) !== pythonText(entries[pool].config)) {
                throw new Error(
                    `layer ${place} (MaxUnpool): config: expected that of its MaxPool at place ${pool}, got ${shown(entry.config)}`,
                );
            }
        }
        if (entry.previous.join() !== previous.join()) {
            const got = shown(entry.previous);
            throw new Error(
                `layer ${place} (${entry.layer}): previous: expected ${shown(previous)}, as in a chain, got ${got}`,
            );
        }
        if (entry.layer === "MaxPool" && undone.has(place - 1)) pools.push(place);
    });
}

/** The place after which each value is read no more.
 *
 * @param {number[]} sources @param {{previous: number[]}[]} entries
 * @returns {Map<number, number>}
 */
export function lastReaders(sources, entries) {
    const last = new Map();
    entries.forEach(({ previous }, place) => {
        for (const one of previous) last.set(sources[one], place);
    });
    return last;
}

/** How many values a call holds at once.
 *
 * @param {number[]} sources @param {{previous: number[]}[]} entries @param {number[]} outputs
 */
function mostHeld(sources, entries, outputs) {
    const last = lastReaders(sources, entries);
    for (const place of outputs) last.set(sources[place], entries.length);
    const held = new Set();
    let most = 0;
    sources.forEach((source, place) => {
        held.add(source);
        most = Math.max(most, held.size);
        for (const one of held) if ((last.get(one) ?? 0) <= place) held.delete(one);
    });
    return most;
}
