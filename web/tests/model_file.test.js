/** Model files that the frameworks have saved, and what damages them. */

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { readDescription } from "../src/model_file.js";
import { planned } from "../src/plan.js";

const GOLDEN = new URL("../../shared_tests/golden/", import.meta.url);
const read = (/** @type {string} */ name) => new Uint8Array(readFileSync(new URL(name, GOLDEN)));
const chain = () => read("torch/chain.convolutional.safetensors");
const load = (/** @type {Uint8Array} */ data) => planned(readDescription(data));

/** A file with another header. @param {Uint8Array} data @param {(header: any, description: any) => void} change */
function changed(data, change) {
    const length = Number(new DataView(data.buffer, data.byteOffset).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(data.subarray(8, 8 + length)));
    const description = JSON.parse(header.__metadata__.fourfold);
    delete description.checksum;
    change(header, description);
    header.__metadata__.fourfold = JSON.stringify(description);
    const text = new TextEncoder().encode(JSON.stringify(header));
    const body = data.subarray(8 + length);
    const found = new Uint8Array(8 + text.length + body.length);
    new DataView(found.buffer).setBigUint64(0, BigInt(text.length), true);
    found.set(text, 8);
    found.set(body, 8 + text.length);
    return found;
}

test("every file of every framework has the checksum that is computed for it", () => {
    let count = 0;
    for (const folder of ["torch", "tf2", "theano"]) {
        for (const name of readdirSync(new URL(folder, GOLDEN))) {
            readDescription(read(`${folder}/${name}`));
            count += 1;
        }
    }
    assert.ok(count >= 50);
});

test("a changed byte is seen", () => {
    const data = chain();
    data[data.length - 1] ^= 1;
    assert.throws(
        () => load(data),
        /checksum: expected [0-9a-f]{8}, got "[0-9a-f]{8}": the file is damaged/,
    );
});

test("a file that is cut off, or is none, is refused", () => {
    const data = chain();
    for (const length of [0, 7, 8, 100, data.length - 1])
        assert.throws(() => load(data.subarray(0, length)));
    assert.throws(
        () => load(new TextEncoder().encode("<!doctype html><title>404</title>")),
        /cut off, or no safetensors file/,
    );
});

const DAMAGES = /** @type {[RegExp, (header: any, description: any) => void][]} */ ([
    [/version: expected 1, got 2/, (_, one) => (one.version = 2)],
    [/component: expected one that runs/, (_, one) => (one.component = "chains.Chain")],
    [
        /layer 1 \(Convolution\): stride: expected a whole number/,
        (_, one) => (one.config.layers[1].config.stride = [0, 1]),
    ],
    [
        /layer 1 \(Convolution\): padding: expected a whole number of at least 0/,
        (_, one) => (one.config.layers[1].config.padding[0] = [0, -1]),
    ],
    [
        /layer 1 \(Convolution\): config: expected/,
        (_, one) => (one.config.layers[1].config.extra = 1),
    ],
    [
        /padding, stride: expected at most/,
        (_, one) => (one.config.layers[1].config.padding[0] = [10 ** 6, 0]),
    ],
    [
        /layer 2 \(BatchNorm\): previous: expected \[1\], as in a chain/,
        (_, one) => (one.config.layers[2].previous = [0]),
    ],
    [
        /layer 2 \(BatchNorm\): previous: expected earlier places/,
        (_, one) => (one.config.layers[2].previous = [2]),
    ],
    [
        /array "1.weight": expected .* bytes for shape/,
        (header) => (header["1.weight"].shape = [1, 1, 1, 1]),
    ],
    [/array "1.weight": expected one of F64/, (header) => (header["1.weight"].dtype = "F8")],
    [
        /expected to begin at byte/,
        (header) =>
            (header["1.weight"].data_offsets = header["1.weight"].data_offsets.map(
                (/** @type {number} */ n) => n + 4,
            )),
    ],
    [
        /arrays: expected weight, bias \(optional\), got bias, other/,
        (header) => ((header["1.other"] = header["1.weight"]), delete header["1.weight"]),
    ],
]);

test("what does not fit is refused, with its place", () => {
    load(changed(chain(), () => {})); // without a checksum, as another tool writes it
    for (const [message, damage] of DAMAGES)
        assert.throws(() => load(changed(chain(), damage)), message);
});
