/** What moves axes and leaves the entries as they are. */

import * as tf from "@tensorflow/tfjs-core";
import { asFirst, asLast, channelsLast, expectShape, first, onFeatures } from "./value.js";

/** @typedef {import("./value.js").Factory} Factory */

/** @type {Record<string, Factory>} */
export const SHAPES = {
    Flatten: () => onFeatures((x) => tf.reshape(x, [x.shape[0], -1])),
    // The file's last axis becomes its axis 1: the same tensor, with another meaning.
    ChannelsFirst:
        () =>
        ([value]) => {
            expectShape(value.tensor.rank > 1, "a batch and at least one more axis", value);
            return asLast(tf.clone(first(value)));
        },
    ChannelsLast:
        () =>
        ([value]) => {
            expectShape(value.tensor.rank > 1, "a batch and at least one more axis", value);
            return asFirst(tf.clone(channelsLast(value)));
        },
};
