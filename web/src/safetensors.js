/**
 * The safetensors format: named arrays in one file that can hold no code.
 *
 *     8 bytes     length of the header, little-endian
 *     header      JSON: {"__metadata__": {text: text}, name: {"dtype", "shape", "data_offsets"}}
 *     the rest    the arrays' bytes, end to end
 *
 * Reading believes nothing that the file says.
 */

import { isObject, parseObject, shown } from "./json.js";

/**
 * @typedef {object} FileArray an array as it stands in the file
 * @property {string} dtype as NumPy names it
 * @property {number[]} shape
 * @property {Uint8Array} bytes
 */

/** Each type's name in NumPy and its size in bytes. @type {Record<string, [string, number]>} */
const DTYPES = {
    F64: ["float64", 8],
    F32: ["float32", 4],
    F16: ["float16", 2],
    I64: ["int64", 8],
    I32: ["int32", 4],
    I16: ["int16", 2],
    I8: ["int8", 1],
    U64: ["uint64", 8],
    U32: ["uint32", 4],
    U16: ["uint16", 2],
    U8: ["uint8", 1],
    BOOL: ["bool", 1],
};
const LARGEST_HEADER = 2 ** 21;
const LARGEST_AXIS = 2 ** 48;
const MOST_AXES = 32;

/**
 * The metadata and the arrays, as views of the bytes; an Error that says what is wrong.
 *
 * @param {Uint8Array} data
 * @returns {{metadata: Record<string, string>, arrays: Map<string, FileArray>}}
 */
export function readSafetensors(data) {
    if (data.length < 8) throw new Error(`expected at least 8 bytes, got ${data.length}`);
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const length = view.getBigUint64(0, true);
    const most = Math.min(data.length - 8, LARGEST_HEADER);
    if (length < 2n || length > BigInt(most)) {
        throw new Error(
            `expected a header of 2..${most} bytes in a file of ${data.length}, got ${length}: ` +
                "cut off, or no safetensors file",
        );
    }
    const start = 8 + Number(length);
    const header = parseObject(decoded(data.subarray(8, start)), "the header");
    const { __metadata__: metadata = {}, ...entries } = header;
    if (!isObject(metadata) || !Object.values(metadata).every((one) => typeof one === "string")) {
        throw new Error("expected __metadata__ to hold text alone");
    }
    const places = Object.entries(entries).map(([name, entry]) => checkedEntry(name, entry));
    checkPlaces(places, data.length - start);
    const arrays = places.map(({ name, dtype, shape, begin, end }) => {
        const bytes = data.subarray(start + Number(begin), start + Number(end));
        return /** @type {[string, FileArray]} */ ([name, { dtype, shape, bytes }]);
    });
    return { metadata, arrays: new Map(arrays) };
}

/** @param {Uint8Array} bytes */
function decoded(bytes) {
    if (bytes[0] !== "{".charCodeAt(0)) throw new Error("expected a header that begins with '{'");
    try {
        return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
        throw new Error("expected a header in UTF-8");
    }
}

/** @param {string} name @param {any} entry */
function checkedEntry(name, entry) {
    const what = `array ${shown(name)}`;
    const keys = isObject(entry) ? Object.keys(entry).sort().join() : "";
    if (keys !== "data_offsets,dtype,shape") {
        throw new Error(`${what}: expected dtype, shape and data_offsets`);
    }
    const { dtype, shape, data_offsets: offsets } = entry;
    if (typeof dtype !== "string" || !Object.hasOwn(DTYPES, dtype)) {
        const known = Object.keys(DTYPES).join(", ");
        throw new Error(`${what}: expected one of ${known}, got ${shown(dtype)}`);
    }
    if (!areSizes(shape) || shape.length > MOST_AXES || !shape.every((n) => n < LARGEST_AXIS)) {
        throw new Error(`${what}: expected a shape, got ${shown(shape)}`);
    }
    if (!areSizes(offsets) || offsets.length !== 2) {
        throw new Error(`${what}: expected two data_offsets, got ${shown(offsets)}`);
    }
    const [numpy, bytes] = DTYPES[dtype];
    const size = shape.reduce((product, n) => product * BigInt(n), BigInt(bytes));
    const [begin, end] = offsets.map(BigInt);
    if (end - begin !== size) {
        throw new Error(
            `${what}: expected ${size} bytes for shape ${shown(shape)}, got data_offsets ${shown(offsets)}`,
        );
    }
    return { name, dtype: numpy, shape, begin, end };
}

/** Whether it is a list of whole numbers from 0 to below 2⁶³. @param {any} values @returns {values is number[]} */
function areSizes(values) {
    const isSize = (/** @type {any} */ n) =>
        (typeof n === "bigint" || Number.isSafeInteger(n)) && n >= 0 && n < 2n ** 63n;
    return Array.isArray(values) && values.every(isSize);
}

/** The arrays fill the file: none overlap, no byte belongs to none.
 *
 * @param {{name: string, begin: bigint, end: bigint}[]} places @param {number} size
 */
function checkPlaces(places, size) {
    let reached = 0n;
    const sorted = [...places].sort((one, other) =>
        Number(one.begin - other.begin || one.end - other.end),
    );
    for (const { name, begin, end } of sorted) {
        if (begin !== reached) {
            throw new Error(
                `array ${shown(name)}: expected to begin at byte ${reached}, got ${begin}`,
            );
        }
        reached = end;
    }
    if (reached !== BigInt(size))
        throw new Error(`expected ${reached} bytes of arrays, got ${size}`);
}
