/** What changes the size of space, and computes nothing but copies and means of its entries. */

import * as tf from "@tensorflow/tfjs-core";
import { expectRoom } from "./convolution.js";
import { asLast, channelsLast, expectShape, shapeOf } from "./value.js";

/** @typedef {import("./value.js").Factory} Factory */
/** @typedef {import("./value.js").Value} Value */

/** The value with its channels last, after an Error unless it has so many axes of space.
 *
 * @param {Value} value @param {number} rank
 */
function overSpace(value, rank) {
    const axes = `(batch, channels, *space), ${rank + 2} axes`;
    expectShape(value.tensor.rank === rank + 2, axes, value);
    return channelsLast(value);
}

/** How many places sizes make. @param {number[]} sizes */
function count(sizes) {
    return sizes.reduce((product, n) => product * n, 1);
}

/** What is computed along one axis of (entries before, places, entries after): WebGL takes few axes.
 *
 * @param {tf.Tensor} x @param {number} axis @param {(x: tf.Tensor3D) => tf.Tensor3D} compute
 */
function along(x, axis, compute) {
    const { shape } = x;
    const around = [count(shape.slice(0, axis)), shape[axis], count(shape.slice(axis + 1))];
    const y = compute(tf.reshape(x, /** @type {[number, number, number]} */ (around)));
    return tf.reshape(y, shape.with(axis, y.shape[1]));
}

/** The entries of axis 1 at these places. @param {tf.Tensor3D} x @param {number[]} places */
function taken(x, places) {
    return tf.gather(x, tf.tensor1d(places, "int32"), 1);
}

/** @type {Factory} */
function pad(_, { padding, mode, value: filler }) {
    const least = padding.map((/** @type {number[]} */ [before, after]) => {
        const fewest = 1 - Math.min(before, 0) - Math.min(after, 0);
        return mode === "reflect" ? Math.max(fewest, before + 1, after + 1) : fewest;
    });
    return ([value]) => {
        let x = overSpace(value, padding.length);
        const space = x.shape.slice(1, -1);
        const sizes = space.map((n, axis) => n + padding[axis][0] + padding[axis][1]);
        const enough = space.every((n, axis) => n >= least[axis]);
        expectShape(enough, `at least (${least.join(", ")}) places`, value);
        expectRoom(count(sizes), count(space), 64);
        sizes.forEach((m, axis) => {
            const [before, after] = padding[axis];
            if (before === 0 && after === 0) return;
            const last = space[axis] - 1;
            x = along(x, axis + 1, (flat) => {
                if (mode === "constant") {
                    const [start, added] = [Math.max(-before, 0), Math.max(before, 0)];
                    const kept = last + 1 - start - Math.max(-after, 0);
                    const inside = tf.slice(flat, [0, start, 0], [-1, kept, -1]);
                    return tf.pad(
                        inside,
                        [
                            [0, 0],
                            [added, Math.max(after, 0)],
                            [0, 0],
                        ],
                        filler,
                    );
                }
                const places = Array.from({ length: m }, (_, i) => i - before);
                const mirrored = (/** @type {number} */ place) =>
                    last - Math.abs(last - Math.abs(place));
                const inside = (/** @type {number} */ place) => Math.min(Math.max(place, 0), last);
                return taken(flat, places.map(mode === "reflect" ? mirrored : inside));
            });
        });
        return asLast(x);
    };
}

/** @param {tf.Tensor} x with its channels last @param {number[]} sizes @param {Record<string, any>} config */
function resized(x, sizes, { mode, corners }) {
    let y = x;
    sizes.forEach((m, axis) => {
        const n = x.shape[axis + 1];
        const all = Array.from({ length: m }, (_, i) => i);
        if (m === n) return;
        y = along(y, axis + 1, (flat) => {
            if (mode === "nearest")
                return taken(
                    flat,
                    all.map((i) => Math.floor((i * n) / m)),
                );
            // From where each place is taken, as a fraction of whole numbers: no place is rounded.
            const unit = corners ? Math.max(m - 1, 1) : 2 * m;
            const places = all.map((i) =>
                corners ? i * (n - 1) : Math.min(Math.max((2 * i + 1) * n - m, 0), unit * (n - 1)),
            );
            const lower = places.map((place) => Math.floor(place / unit));
            const share = tf.tensor(
                places.map((place) => (place % unit) / unit),
                [1, m, 1],
            );
            const left = taken(flat, lower);
            const right = taken(
                flat,
                lower.map((place) => Math.min(place + 1, n - 1)),
            );
            return tf.add(left, tf.mul(tf.sub(right, left), share));
        });
    });
    return y;
}

/** @type {Factory} */
function upsample(_, config) {
    return ([value]) => {
        const x = overSpace(value, config.scale.length);
        const space = x.shape.slice(1, -1);
        return asLast(
            resized(
                x,
                space.map((n, axis) => n * config.scale[axis]),
                config,
            ),
        );
    };
}

/** @type {Factory} */
function resize(_, config) {
    return ([value]) => {
        const x = overSpace(value, config.size.length);
        expectShape(!shapeOf(value).slice(2).includes(0), "at least one place", value);
        return asLast(resized(x, config.size, config));
    };
}

/** @type {Record<string, Factory>} */
export const SPACE = { Pad: pad, Upsample: upsample, Resize: resize };
