/** Model files of Fourfold in a browser. */

import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-cpu";
import "@tensorflow/tfjs-backend-webgl";

export { tf };
export { ModelFileError } from "./model_file.js";
export { FACTORIES, Net, channelsLast, loadModel, readModel } from "./net.js";

setWasmPaths(new URL("./", import.meta.url).href);

/**
 * Choose what computes: the graphics card where there is one, else WebAssembly on the processor.
 *
 * @param {string} [backend] "webgl", "wasm" or "cpu", to say which
 */
export async function started(backend) {
    const quick = { failIfMajorPerformanceCaveat: true }; // no WebGL that is computed in software
    const hasCard = Boolean(document.createElement("canvas").getContext("webgl2", quick));
    await tf.setBackend(backend ?? (hasCard ? "webgl" : "wasm"));
    await tf.ready();
}
