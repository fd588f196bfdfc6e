/**
 * Recurrent layers over sequences.
 *
 * A gated recurrent unit (GRU), the reset gate applied after the hidden product:
 *
 *     r = σ(x·W_r + b_r + h·U_r + c_r)        z = σ(x·W_z + b_z + h·U_z + c_z)
 *     n = tanh(x·W_n + b_n + r ⊙ (h·U_n + c_n))        h' = (1 − z) ⊙ n + z ⊙ h
 *
 * A long short-term memory (LSTM):
 *
 *     i = σ(x·W_i + h·U_i + b_i)        f = σ(x·W_f + h·U_f + b_f)
 *     g = tanh(x·W_g + h·U_g + b_g)     o = σ(x·W_o + h·U_o + b_o)
 *     c' = f ⊙ c + i ⊙ g                h' = o ⊙ tanh(c')
 */

import * as tf from "@tensorflow/tfjs-core";
import { projected } from "./projection.js";
import { asFirst, expectShape, expectWidth, first, shapeOf } from "./value.js";

/** @typedef {import("./value.js").Factory} Factory */
/** @typedef {import("./value.js").Weights} Weights */

/** The state after one step. @param {tf.Tensor} xGates @param {tf.Tensor} hGates @param {tf.Tensor} h */
export function nextState(xGates, hGates, h) {
    const [xReset, xUpdate, xCandidate] = tf.split(xGates, 3, 1);
    const [hReset, hUpdate, hCandidate] = tf.split(hGates, 3, 1);
    const reset = tf.sigmoid(tf.add(xReset, hReset));
    const update = tf.sigmoid(tf.add(xUpdate, hUpdate));
    const candidate = tf.tanh(tf.add(xCandidate, tf.mul(reset, hCandidate)));
    return tf.add(candidate, tf.mul(update, tf.sub(h, candidate)));
}

/**
 * The state after each time step, in the order of time.
 *
 * @param {tf.Tensor} x (batch, time, in)
 * @param {Weights} weights
 * @param {boolean} backward from the last time to the first
 * @param {tf.Tensor | null} [mask] (batch, time), 1 or 0: where it is 0 the state stays as it is
 * @returns {tf.Tensor[]} (batch, h) each
 */
export function gru(x, weights, backward, mask = null) {
    const { input_weight: W, hidden_weight: U, input_bias: b, hidden_bias: c } = weights;
    const [batch, time] = x.shape;
    const given = tf.unstack(projected(x, W, b), 1); // (batch, 3h) at each time
    const counts = mask ? tf.unstack(mask, 1) : [];
    const states = /** @type {tf.Tensor[]} */ ([]);
    let h = /** @type {tf.Tensor} */ (tf.zeros([batch, U.shape[0]]));
    for (let step = 0; step < time; step += 1) {
        const t = backward ? time - 1 - step : step;
        const next = nextState(given[t], projected(h, U, c), h);
        h = mask ? tf.add(h, tf.mul(tf.sub(next, h), tf.reshape(counts[t], [-1, 1]))) : next;
        states[t] = h;
    }
    return states;
}

/**
 * The state of an LSTM after each time step, in the order of time.
 *
 * @param {tf.Tensor} x (batch, time, in)
 * @param {Weights} weights
 * @param {boolean} backward from the last time to the first
 * @returns {tf.Tensor[]} (batch, h) each
 */
function lstm(x, weights, backward) {
    const { input_weight: W, hidden_weight: U, bias: b } = weights;
    const [batch, time] = x.shape;
    const given = tf.unstack(projected(x, W, b), 1); // (batch, 4h) at each time
    const states = /** @type {tf.Tensor[]} */ ([]);
    let [h, memory] = /** @type {tf.Tensor[]} */ ([
        tf.zeros([batch, U.shape[0]]),
        tf.zeros([batch, U.shape[0]]),
    ]);
    for (let step = 0; step < time; step += 1) {
        const t = backward ? time - 1 - step : step;
        const gates = tf.split(tf.add(given[t], projected(h, U)), 4, 1);
        const [letIn, forget, out] = [gates[0], gates[1], gates[3]].map((one) => tf.sigmoid(one));
        memory = tf.add(tf.mul(forget, memory), tf.mul(letIn, tf.tanh(gates[2])));
        h = tf.mul(out, tf.tanh(memory));
        states[t] = h;
    }
    return states;
}

/** The weights below a path: those of "gru." or of "backward.". @param {Weights} weights @param {string} path */
export function below(weights, path) {
    const found = Object.entries(weights).filter(([name]) => name.startsWith(path));
    return Object.fromEntries(found.map(([name, tensor]) => [name.slice(path.length), tensor]));
}

/**
 * A layer of the states that a function gives, in one direction or in both, which are joined.
 *
 * @param {(x: tf.Tensor, weights: Weights, backward: boolean) => tf.Tensor[]} statesOf
 * @returns {Factory}
 */
const recurrent =
    (statesOf) =>
    (weights, { direction, return_sequences: sequences }) =>
    ([value]) => {
        expectShape(
            value.tensor.rank === 3 && shapeOf(value)[1] > 0,
            "(batch, time, features)",
            value,
        );
        expectWidth(value, -1, weights.input_weight.shape[0]);
        const x = first(value);
        const ways = direction === "both" ? [false, true] : [direction === "backward"];
        const outputs = ways.map((backward) => {
            const own = direction === "both" && backward ? below(weights, "backward.") : weights;
            const states = statesOf(x, own, backward);
            return sequences
                ? tf.stack(states, 1)
                : /** @type {tf.Tensor} */ (states.at(backward ? 0 : -1));
        });
        return asFirst(tf.concat(outputs, -1));
    };

/** @type {Record<string, Factory>} */
export const RECURRENT = { GRU: recurrent(gru), LSTM: recurrent(lstm) };
