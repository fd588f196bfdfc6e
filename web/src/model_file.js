/** A model file: what to build, of which arrays, and the user's own metadata. */

import { byCodePoint, isObject, parseObject, plain, pythonText, shown, tuple } from "./json.js";
import { readSafetensors } from "./safetensors.js";

/** @typedef {import("./safetensors.js").FileArray} FileArray */

/**
 * @typedef {object} WeightArray an array of a model
 * @property {number[]} shape
 * @property {Float32Array | Float64Array} values
 */

/**
 * @typedef {object} Description what a file holds
 * @property {string} component `file.Class` of a component, "chain" or "graph"
 * @property {Record<string, any>} config
 * @property {Map<string, WeightArray>} arrays
 * @property {string | null} dtype of all arrays; null where there are none
 * @property {Record<string, any>} metadata the user's values by name; arrays as {shape, values}
 */

const VERSION = 1;
const KEY = "fourfold";
const METADATA = "metadata.";
const DTYPES = ["float32", "float64"];
const VIEWS = /** @type {Record<string, any>} */ ({
    float64: Float64Array,
    float32: Float32Array,
    int64: BigInt64Array,
    int32: Int32Array,
    int16: Int16Array,
    int8: Int8Array,
    uint64: BigUint64Array,
    uint32: Uint32Array,
    uint16: Uint16Array,
    uint8: Uint8Array,
    bool: Uint8Array,
});

/** A file that is no model: the message says which file, what is wrong with it, and where. */
export class ModelFileError extends Error {
    /** @param {string} message */
    constructor(message) {
        super(message);
        this.name = "ModelFileError";
    }
}

/**
 * Run what reads a file; an Error becomes a ModelFileError that names it.
 *
 * @template T
 * @param {string} name
 * @param {() => T} read
 * @returns {T}
 */
export function naming(name, read) {
    try {
        return read();
    } catch (error) {
        if (error instanceof ModelFileError) throw error;
        throw new ModelFileError(`${name}: ${error instanceof Error ? error.message : error}`);
    }
}

/**
 * What a model file holds, its checksum checked; an Error for anything else.
 *
 * @param {Uint8Array} data
 * @returns {Description}
 */
export function readDescription(data) {
    const { metadata, arrays } = readSafetensors(data);
    if (!Object.hasOwn(metadata, KEY)) {
        throw new Error(`expected '${KEY}' in the metadata: the file holds arrays, no model`);
    }
    const { checksum, ...description } = parseObject(metadata[KEY], `the metadata's '${KEY}'`);
    if (description.version !== VERSION) {
        throw new Error(`version: expected ${VERSION}, got ${shown(description.version)}`);
    }
    const keys = Object.keys(description).filter((key) => key !== "metadata");
    if (keys.sort().join() !== "component,config,version") {
        throw new Error(
            `metadata: expected version, component and config, got ${keys.join(", ").slice(0, 99)}`,
        );
    }
    const { component, config, metadata: values = {} } = description;
    if (typeof component !== "string" || !isObject(config)) {
        throw new Error("metadata: expected the component as text and its config as an object");
    }
    const own = [...arrays].filter(([name]) => !name.startsWith(METADATA));
    const dtype = checkedDtype(own);
    if (!isObject(values)) {
        throw new Error(`metadata: expected values by their names, got ${shown(values)}`);
    }
    const others = [...arrays].filter(([name]) => name.startsWith(METADATA));
    const named = others.map(([name, array]) => {
        const key = name.slice(METADATA.length);
        if (Object.hasOwn(values, key)) {
            throw new Error(`metadata: expected each name once, got ${shown(key)} twice`);
        }
        return [key, { shape: array.shape, values: valuesOf(array) }];
    });
    if (checksum !== undefined) {
        const found = checksumOf(description, arrays);
        if (checksum !== found) {
            throw new Error(
                `checksum: expected ${found}, got ${shown(checksum)}: the file is damaged`,
            );
        }
    }
    return {
        component,
        config,
        arrays: new Map(
            own.map(([name, one]) => [name, { shape: one.shape, values: valuesOf(one) }]),
        ),
        dtype,
        metadata: { ...plain(values), ...Object.fromEntries(named) },
    };
}

/** @param {[string, FileArray][]} arrays */
function checkedDtype(arrays) {
    const dtypes = [...new Set(arrays.map(([, array]) => array.dtype))].sort();
    if (dtypes.length > 1 || !dtypes.every((one) => DTYPES.includes(one))) {
        throw new Error(`arrays: expected float32 or float64 throughout, got ${dtypes.join(", ")}`);
    }
    for (const [name, { shape }] of arrays) {
        if (shape.includes(0)) {
            throw new Error(
                `array ${shown(name)}: expected at least one entry, got ${shown(shape)}`,
            );
        }
    }
    return dtypes[0] ?? null;
}

/** The numbers of an array; its bytes alone for a type that JavaScript has no array of.
 *
 * @param {FileArray} array
 */
function valuesOf({ dtype, bytes }) {
    const copied = bytes.slice(); // typed arrays have to begin at a multiple of their size
    const View = VIEWS[dtype] ?? Uint8Array;
    return new View(copied.buffer);
}

/**
 * CRC-32 of the description and, by name, each array's name, type, shape and bytes.
 *
 * @param {Record<string, any>} description
 * @param {Map<string, FileArray>} arrays
 * @returns {string} eight hexadecimal digits
 */
export function checksumOf(description, arrays) {
    const encoder = new TextEncoder();
    let found = crc32(encoder.encode(pythonText(description)));
    for (const name of [...arrays.keys()].sort(byCodePoint)) {
        const { dtype, shape, bytes } = /** @type {FileArray} */ (arrays.get(name));
        found = crc32(encoder.encode(`${name} ${dtype} ${tuple(shape)}`), found);
        found = crc32(bytes, found);
    }
    return found.toString(16).padStart(8, "0");
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
    let rest = byte;
    for (let bit = 0; bit < 8; bit += 1) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
    return rest;
});

/** @param {Uint8Array} bytes @param {number} [before] the checksum of what came before */
function crc32(bytes, before = 0) {
    let rest = ~before;
    for (let i = 0; i < bytes.length; i += 1) rest = TABLE[(rest ^ bytes[i]) & 255] ^ (rest >>> 8);
    return ~rest >>> 0;
}
