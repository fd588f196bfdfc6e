/** A model that runs: what a file describes, with its arrays on TensorFlow.js's backend. */

import * as tf from "@tensorflow/tfjs-core";
import { ACTIVATIONS } from "./layers/activations.js";
import { ATTENTION } from "./layers/attention.js";
import { COMBINATIONS } from "./layers/combinations.js";
import { COMPONENT_LAYERS } from "./layers/components.js";
import { CONVOLUTIONS } from "./layers/convolution.js";
import { NORMALIZATIONS } from "./layers/normalization.js";
import { POOLS } from "./layers/pooling.js";
import { PROJECTIONS } from "./layers/projection.js";
import { RECURRENT } from "./layers/recurrent.js";
import { SHAPES } from "./layers/shape.js";
import { SPACE } from "./layers/space.js";
import { asFirst, first } from "./layers/value.js";
import { naming, readDescription } from "./model_file.js";
import { LAYERS } from "./entries.js";
import { SKIPPED, lastReaders, planned } from "./plan.js";

/** @typedef {import("./layers/value.js").Value} Value */
/** @typedef {tf.Tensor | Value | number[] | any[]} Given a tensor, one with its channels last, or nested lists */

/** The layers that run in a browser. @type {Record<string, import("./layers/value.js").Factory>} */
export const FACTORIES = {
    ...ACTIVATIONS,
    ...ATTENTION,
    ...COMBINATIONS,
    ...COMPONENT_LAYERS,
    ...CONVOLUTIONS,
    ...NORMALIZATIONS,
    ...POOLS,
    ...PROJECTIONS,
    ...RECURRENT,
    ...SHAPES,
    ...SPACE,
};

/**
 * Read a model file as a net that TensorFlow.js runs in float32.
 *
 * @param {ArrayBuffer | Uint8Array} data the file's bytes
 * @param {string} [name] names the file in an error
 * @returns {Net}
 * @throws {import("./model_file.js").ModelFileError} for anything but a whole model file
 */
export function readModel(data, name = "the file") {
    const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
    return naming(name, () => {
        const description = readDescription(bytes);
        expectRuns(description.config.layers);
        return new Net(description, planned(description));
    });
}

/** An Error for a layer of the table that no browser runs yet. @param {any} entries */
function expectRuns(entries) {
    if (!Array.isArray(entries)) return;
    entries.forEach((entry, place) => {
        const name = String(entry?.layer);
        const known = Object.hasOwn(LAYERS, name) && !SKIPPED.includes(name);
        if (known && !Object.hasOwn(FACTORIES, name)) {
            throw new Error(`layer ${place} (${name}): expected one that runs in a browser`);
        }
    });
}

/**
 * Fetch a model file and read it.
 *
 * @param {string | URL} address
 * @returns {Promise<Net>}
 */
export async function loadModel(address) {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${address}: expected a file, got ${answer.status}`);
    return readModel(await answer.arrayBuffer(), String(address));
}

export class Net {
    /**
     * @param {import("./model_file.js").Description} description
     * @param {import("./plan.js").Plan} plan
     */
    constructor(description, plan) {
        this.component = description.component;
        this.metadata = description.metadata;
        /** What the file's arrays were cast from, "float64", or null: a browser computes in float32. */
        this.castFrom = description.dtype === "float64" ? "float64" : null;
        this.inputs = plan.inputs;
        this.outputs = Object.keys(plan.outputs);
        this.plan = plan;
        /** @type {tf.Tensor[]} */
        this.kept = [];
        this.runs = tf.tidy(() => this.#built());
        const last = lastReaders(
            plan.sources,
            plan.steps.map((step) => step ?? { previous: [] }),
        );
        const outputs = new Set(Object.values(plan.outputs).map((place) => plan.sources[place]));
        /** The places whose values are read for the last time at each step. */
        this.done = plan.steps.map((_, place) =>
            [...last]
                .filter(([source, reader]) => reader === place && !outputs.has(source))
                .map(([source]) => source),
        );
    }

    /** The function of each step; steps that share arrays share it too. */
    #built() {
        const keep = (/** @type {any} */ tensor) => {
            this.kept.push(tensor);
            return tf.keep(tensor);
        };
        const owners = new Map();
        return this.plan.steps.map((step) => {
            if (!step) return null;
            const { layer, config, arrays, owner } = step;
            if (arrays.size && owners.has(owner)) return owners.get(owner);
            const weights = [...arrays].map(([name, { shape, values }]) => [
                name,
                keep(tf.tensor(Float32Array.from(values), shape, "float32")),
            ]);
            const run = FACTORIES[layer](Object.fromEntries(weights), config, keep);
            owners.set(owner, run);
            return run;
        });
    }

    /**
     * The output for an input, or for several by their names; of several outputs an object by name.
     *
     * Data is (batch, channels, *space), as in the file; `channelsLast(tensor)` says otherwise. The
     * caller disposes of the tensors that it gets.
     *
     * @param {Given | Record<string, Given>} given
     * @returns {any} a tensor, a list of tensors for a FeedbackNetwork, or an object of them
     */
    predict(given) {
        const several = this.inputs.length > 1;
        const named = /** @type {Record<string, Given>} */ (
            several ? given : { [this.inputs[0]]: given }
        );
        const names = Object.keys(named);
        if (
            names.length !== this.inputs.length ||
            !this.inputs.every((name) => names.includes(name))
        ) {
            throw new TypeError(
                `inputs: expected ${this.inputs.join(", ")}, got ${names.join(", ")}`,
            );
        }
        const { steps, sources, outputs } = this.plan;
        return tf.tidy(() => {
            /** @type {(Value | Value[] | undefined)[]} */
            const values = this.inputs.map((name, i) => valueOf(named[name], this.plan.ids[i]));
            steps.forEach((step, place) => {
                if (!step) return;
                const taken = /** @type {Value[]} */ (
                    step.previous.map((one) => values[sources[one]])
                );
                values[place] = tidied(() => /** @type {any} */ (this.runs[place])(taken));
                for (const one of this.done[place]) {
                    if (one >= this.inputs.length) dispose(values[one]);
                    values[one] = undefined;
                }
            });
            const results = Object.entries(outputs).map(([name, place]) => [
                name,
                resultOf(values[sources[place]]),
            ]);
            return results.length === 1 ? results[0][1] : Object.fromEntries(results);
        });
    }

    /** Let go of the arrays. */
    dispose() {
        for (const tensor of this.kept.splice(0)) tensor.dispose();
    }
}

/** A tensor whose channels are last, as a picture's are, for a model of channels.
 *
 * @param {tf.Tensor} tensor (batch, *space, channels) @returns {Value}
 */
export function channelsLast(tensor) {
    return { tensor, last: true };
}

/** @param {Given} given @param {boolean} ids @returns {Value} */
function valueOf(given, ids) {
    if (given instanceof tf.Tensor) return asFirst(given);
    if (!Array.isArray(given)) return given;
    const flat = given.flat(Infinity);
    if (ids && !flat.every(Number.isInteger))
        throw new TypeError("ids: expected integers, got others");
    return asFirst(tf.tensor(given, undefined, ids ? "int32" : "float32"));
}

/** Run a layer and keep of its tensors what it gives. @param {() => Value | Value[]} run @returns {Value | Value[]} */
function tidied(run) {
    return /** @type {any} */ (tf.tidy(/** @type {any} */ (run)));
}

/** @param {Value | Value[] | undefined} value */
function dispose(value) {
    if (value) for (const { tensor } of [value].flat()) tensor.dispose();
}

/** @param {Value | Value[] | undefined} value */
function resultOf(value) {
    const plain = (/** @type {Value} */ one) => tf.clone(first(one));
    return Array.isArray(value) ? value.map(plain) : plain(/** @type {Value} */ (value));
}
