/**
 * What a reader of the book tries out: a word, a title, a drawn digit, a sound, answered by a model of the
 * examples. Each `<div class="try" data-kind="…" data-model="…">` of a page becomes one of them.
 */

/** @typedef {import("../src/index.js").Net} Net */
/** @typedef {typeof import("../src/index.js")} Library */
/** @typedef {() => Promise<{net: Net, tf: Library["tf"]}>} Model loads the model when it is asked */

/** An element with text and attributes.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag @param {Record<string, any>} [attributes] @param {(string | Node)[]} children
 */
function made(tag, attributes = {}, ...children) {
    const found = Object.assign(document.createElement(tag), attributes);
    found.append(...children);
    return found;
}

/** The rows that are most like a vector, by their cosines; the rows have length 1.
 *
 * @param {Library["tf"]} tf @param {import("@tensorflow/tfjs-core").Tensor} vector (1, dim) @param {{shape: number[], values: Float32Array}} rows
 * @returns {Promise<{index: number, cosine: number}[]>} the nearest first
 */
async function nearest(tf, vector, { shape, values }) {
    const cosines = tf.tidy(() => {
        const unit = tf.div(vector, tf.maximum(tf.norm(vector), 1e-12));
        const all = tf.tensor2d(values, /** @type {[number, number]} */ (shape));
        return tf.squeeze(tf.matMul(/** @type {any} */ (unit), all, false, true), [0]);
    });
    const found = [...(await cosines.data())].map((cosine, index) => ({ index, cosine }));
    tf.dispose([vector, cosines]);
    return found.sort((one, other) => other.cosine - one.cosine || one.index - other.index);
}

/** A list that says its answer to a screen reader too. @param {HTMLElement} place */
function answer(place) {
    const list = made("ol", { className: "answer" });
    const status = made("div", { role: "status" }, list);
    place.append(status);
    return (/** @type {string[]} */ lines, asked = "") => {
        list.replaceChildren(...lines.map((line) => made("li", {}, line)));
        list.dataset.asked = asked;
    };
}

/**
 * Type something: the nearest of what the model knows.
 *
 * @param {HTMLElement} place @param {Model} model @param {string} label @param {string} example
 * @param {(metadata: Record<string, any>) => string[]} knownOf what the rows of `vectors` are of
 * @param {(text: string, metadata: Record<string, any>) => number[]} idsOf none where nothing can be said yet
 * @param {(index: number, metadata: Record<string, any>) => string} shown a line of the answer
 */
function typed(place, model, label, example, knownOf, idsOf, shown) {
    const input = made("input", {
        type: "text",
        placeholder: example,
        autocomplete: "off",
        maxLength: 100,
    });
    place.append(made("label", {}, label, " ", input));
    const show = answer(place);
    let asked = 0;
    input.addEventListener("input", async () => {
        asked += 1;
        const own = asked;
        const text = input.value.trim().toLowerCase();
        if (!text) return show([]);
        const { net, tf } = await model();
        const { metadata } = net;
        const ids = idsOf(text, metadata);
        if (!ids.length) return show([]);
        const near = await nearest(tf, net.predict([ids]), metadata.vectors);
        if (own !== asked) return; // another letter has been typed
        const known = knownOf(metadata);
        const others = near.filter(({ index }) => known[index].toLowerCase() !== text);
        const lines = others
            .slice(0, 5)
            .map(({ index, cosine }) => `${shown(index, metadata)} ${cosine.toFixed(2)}`);
        show(lines, text);
    });
}

/** A word: its letters are what the model reads. @param {HTMLElement} place @param {Model} model */
function words(place, model) {
    const unknown = 1; // the id of a character that the training has not seen; 0 is padding
    typed(
        place,
        model,
        "A word:",
        "walked",
        ({ words }) => words,
        (word, { alphabet }) =>
            [...word].map((one) => (alphabet.includes(one) ? alphabet.indexOf(one) + 2 : unknown)),
        (index, { words }) => words[index],
    );
}

/** A title: its words are what the model reads. @param {HTMLElement} place @param {Model} model */
function titles(place, model) {
    typed(
        place,
        model,
        "A title:",
        "inverse of a matrix",
        ({ titles }) => titles,
        (title, { words }) => {
            const tokens = title.match(/[\p{L}\p{N}]+/gu) ?? [];
            // Ids begin at 1; all words that the training does not know share the last one.
            return tokens.map(
                (one) => (words.includes(one) ? words.indexOf(one) : words.length) + 1,
            );
        },
        (index, { titles, chapters }) => `${titles[index].slice(0, 90)} (${chapters[index]})`,
    );
}

/** Choose a sound: the voices that are most like it. @param {HTMLElement} place @param {Model} model */
function voices(place, model) {
    const buttons = made("p");
    place.append(buttons);
    const show = answer(place);
    const count = Number(place.dataset.count);
    for (let number = 0; number < count; number += 1) {
        const audio = made("audio", {
            src: `${place.dataset.sounds}${number}.wav`,
            preload: "none",
        });
        const button = made("button", { type: "button" }, `Sound ${number + 1}`);
        button.addEventListener("click", async () => {
            audio.play().catch(() => {}); // a machine without loudspeakers still answers
            const { net, tf } = await model();
            const { frames, voices: names, labels, vectors, truth } = net.metadata;
            const [, mels, time] = frames.shape;
            const own = frames.values.subarray(number * mels * time, (number + 1) * mels * time);
            const near = await nearest(tf, net.predict(tf.tensor(own, [1, mels, time])), vectors);
            const lines = near
                .slice(0, 5)
                .map(({ index, cosine }) => `${names[labels[index]]} ${cosine.toFixed(2)}`);
            show([...lines, `It is ${names[truth[number]]}.`], button.innerText);
        });
        buttons.append(button, audio, " ");
    }
}

/** Draw a digit: what the autoencoder gives back. @param {HTMLElement} place @param {Model} model */
function digits(place, model) {
    const side = 8;
    const pixels = new Float32Array(side * side);
    const drawing = made("canvas", {
        width: 160,
        height: 160,
        tabIndex: 0,
        ariaLabel: "Draw a digit here",
    });
    const result = made("canvas", {
        width: 160,
        height: 160,
        ariaLabel: "What the model gives back",
    });
    drawing.setAttribute("role", "img");
    result.setAttribute("role", "img");
    const clear = made("button", { type: "button" }, "Clear");
    place.append(made("p", {}, drawing, " ", result, " ", clear));
    const show = answer(place);

    /** @param {HTMLCanvasElement} canvas @param {Float32Array} values */
    function paint(canvas, values) {
        const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
        const size = canvas.width / side;
        values.forEach((value, i) => {
            const light = Math.round(255 * (1 - Math.min(1, Math.max(0, value))));
            context.fillStyle = `rgb(${light} ${light} ${light})`;
            context.fillRect((i % side) * size, Math.floor(i / side) * size, size, size);
        });
    }
    async function reconstruct() {
        const { net, tf } = await model();
        const given = tf.tensor(pixels.slice(), [1, 1, side, side]);
        const back = net.predict(given);
        const values = /** @type {Float32Array} */ (await back.data());
        tf.dispose([given, back]);
        paint(result, values);
        const error =
            pixels.reduce((sum, one, i) => sum + (one - values[i]) ** 2, 0) / pixels.length;
        show([`Mean squared error ${error.toFixed(3)}`]);
    }
    /** Darken what is near to a point. @param {PointerEvent} event */
    function draw(event) {
        const box = drawing.getBoundingClientRect();
        const x = ((event.clientX - box.left) / box.width) * side - 0.5;
        const y = ((event.clientY - box.top) / box.height) * side - 0.5;
        pixels.forEach((value, i) => {
            const distance = Math.hypot((i % side) - x, Math.floor(i / side) - y);
            pixels[i] = Math.max(value, Math.min(1, Math.max(0, 1.3 - distance)));
        });
        paint(drawing, pixels);
    }
    drawing.style.touchAction = "none";
    drawing.addEventListener("pointerdown", (event) => {
        drawing.setPointerCapture(event.pointerId);
        draw(event);
    });
    drawing.addEventListener("pointermove", (event) => event.buttons && draw(event));
    drawing.addEventListener("pointerup", reconstruct);
    clear.addEventListener("click", () => {
        pixels.fill(0);
        for (const canvas of [drawing, result]) paint(canvas, pixels);
        show([]);
    });
    for (const canvas of [drawing, result]) paint(canvas, pixels);
}

/** @type {Record<string, (place: HTMLElement, model: Model) => void>} */
const KINDS = { words, titles, voices, digits };

for (const place of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".try"))) {
    /** @type {ReturnType<Model> | null} */
    let loaded = null;
    const model = () => (loaded ??= load(String(place.dataset.model)));
    KINDS[String(place.dataset.kind)](place, model);
}

/** The library and a model: the first who tries something waits for them. @param {string} address */
async function load(address) {
    const { loadModel, started, tf } = await import("../src/index.js");
    await started("cpu"); // small models: a graphics card would begin by compiling
    return { net: await loadModel(address), tf };
}
