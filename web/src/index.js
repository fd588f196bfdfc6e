/** Model files of Fourfold in a browser. */

import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-cpu";
import "@tensorflow/tfjs-backend-webgl";

export { tf };
export { ModelFileError } from "./model_file.js";
export { FACTORIES, Net, channelsLast, loadModel, readModel } from "./net.js";
