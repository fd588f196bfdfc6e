/** The components that run in a browser: the arrays of each, and whether it takes token ids. */

/** @typedef {{ids?: boolean, shapes: (config: Record<string, any>) => Record<string, number[]>}} Component */

/** @param {number} features @param {number} h @returns {Record<string, number[]>} */
function gru(features, h) {
    return {
        "gru.input_weight": [features, 3 * h],
        "gru.hidden_weight": [h, 3 * h],
        "gru.input_bias": [3 * h],
        "gru.hidden_bias": [3 * h],
    };
}

/** @param {Record<string, any>} config @returns {Record<string, number[]>} */
function words({ vocabulary_size: size, char_dim: dim, n_filters: filters, width }) {
    return {
        table: [size, dim],
        "convolution.weight": [filters, dim, width],
        "convolution.bias": [filters],
    };
}

/**
 * A stack of convolutions, or of transposed ones: weight and bias of each.
 *
 * @param {string} name @param {number[]} widths channels before the first and after each
 * @param {number[]} kernel @param {boolean} [transposed]
 * @returns {Record<string, number[]>}
 */
function convolutions(name, widths, kernel, transposed = false) {
    const stack = widths.slice(1).map((out, i) => {
        const channels = transposed ? [widths[i], out] : [out, widths[i]];
        return { [`${name}.${i}.weight`]: [...channels, ...kernel], [`${name}.${i}.bias`]: [out] };
    });
    return Object.assign({}, ...stack);
}

/** @param {number} rank @returns {Component} */
function autoencoder(rank) {
    return {
        shapes({ in_channels: first, channels, kernel_size: size }) {
            const [widths, kernel] = [[first, ...channels], Array(rank).fill(size)];
            const back = convolutions("decoder", widths.toReversed(), kernel, true);
            return { ...convolutions("encoder", widths, kernel), ...back };
        },
    };
}

/** @param {Record<string, number[]>} shapes @param {string} before @returns {Record<string, number[]>} */
function prefixed(shapes, before) {
    return Object.fromEntries(
        Object.entries(shapes).map(([name, shape]) => [before + name, shape]),
    );
}

/** @type {Record<string, Component>} */
export const CARRIED = {
    "char_word_encoder.CharWordEncoder": { ids: true, shapes: words },
    "char_word_encoder.SentenceEncoder": {
        ids: true,
        shapes: (config) => ({
            ...prefixed(words(config), "words."),
            ...gru(config.n_filters, config.hidden),
        }),
    },
    "conv_autoencoder.ConvAutoencoder1d": autoencoder(1),
    "conv_autoencoder.ConvAutoencoder2d": autoencoder(2),
    "feedback_network.FeedbackNetwork": {
        shapes: ({ in_features: features, classes, hidden }) => ({
            "projection.weight": [features, hidden],
            "projection.bias": [hidden],
            "norm.scale": [hidden],
            "norm.shift": [hidden],
            ...gru(hidden, hidden),
            ...Object.assign(
                {},
                ...classes.map((/** @type {number} */ n, /** @type {number} */ level) => ({
                    [`levels.${level}.weight`]: [hidden, n],
                    [`levels.${level}.bias`]: [n],
                })),
            ),
        }),
    },
    "padded_embedding.PaddedEmbedding": {
        ids: true,
        shapes: ({ vocabulary_size: size, dim }) => ({ table: [size, dim] }),
    },
    "sequence_encoder.SequenceEncoder": {
        ids: true,
        shapes: ({ vocabulary_size: size, embedding_dim: dim, hidden, out_features: out }) => ({
            table: [size, dim],
            ...gru(dim, hidden),
            ...(out === null
                ? {}
                : { "projection.weight": [hidden, out], "projection.bias": [out] }),
        }),
    },
    "sparse_projection.SparseProjection": {
        shapes: ({ in_features: features, out_features: out, bias }) => ({
            weight: [features, out],
            ...(bias ? { bias: [out] } : {}),
        }),
    },
    "speaker_encoder.SpeakerEncoder": {
        shapes: ({ n_mels: mels, channels, dim }) => ({
            ...convolutions("convolutions", [mels, ...channels], [3]),
            "projection.weight": [channels.at(-1), dim],
        }),
    },
    "title_encoder.TitleEncoder": {
        ids: true,
        shapes: ({ vocabulary_size: size, dim }) => ({ table: [size, dim] }),
    },
    "top_k_gating.MixtureOfExperts": {
        shapes: ({ in_features: features, out_features: out, n_experts: experts, k, noisy }) => {
            if (k > experts)
                throw new Error(`k: expected a whole number in 1..${experts}, got ${k}`);
            return {
                gate_weight: [features, experts],
                expert_weight: [experts, features, out],
                expert_bias: [experts, out],
                ...(noisy ? { noise_weight: [features, experts] } : {}),
            };
        },
    },
};
