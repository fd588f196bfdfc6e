/** The camera, or a picture, to the name of what is seen: a classifier from a model file. */

import { channelsLast, loadModel, started, tf } from "../src/index.js";

/** @template {HTMLElement} T @param {string} id @param {new () => T} type @returns {T} */
function element(id, type) {
    const found = document.getElementById(id);
    if (!(found instanceof type)) throw new Error(`expected ${type.name} #${id} in the page`);
    return found;
}

const message = element("message", HTMLElement);
const label = element("label", HTMLElement);
const others = element("others", HTMLElement);
const rate = element("rate", HTMLElement);
const view = element("view", HTMLCanvasElement);
const threshold = element("threshold", HTMLInputElement);
const start = element("start", HTMLButtonElement);

/** What went wrong with the camera, in words that say what to do. @type {Record<string, string>} */
const REASONS = {
    NotAllowedError:
        "The page may not use the camera. Allow it in the browser's settings, or choose a picture.",
    NotFoundError: "There is no camera. Choose a picture instead.",
    NotReadableError: "Another program uses the camera. Close it, or choose a picture.",
};

/** The classifier, with the size and the scale of its pictures and the names of its classes. */
async function loaded() {
    await started(new URLSearchParams(location.search).get("backend") ?? undefined);
    const net = await loadModel("model.safetensors");
    const { size, mean, scale, labels } = net.metadata;
    view.width = view.height = size;
    const context = /** @type {CanvasRenderingContext2D} */ (
        view.getContext("2d", { willReadFrequently: true })
    );
    context.imageSmoothingQuality = "high";

    /** The probabilities of the classes, of the square in the middle of a picture.
     *
     * @param {CanvasImageSource} picture @param {number} width @param {number} height
     * @returns {Promise<Float32Array>}
     */
    async function classified(picture, width, height) {
        const side = Math.min(width, height);
        context.drawImage(
            picture,
            (width - side) / 2,
            (height - side) / 2,
            side,
            side,
            0,
            0,
            size,
            size,
        );
        const probabilities = tf.tidy(() => {
            const pixels = tf.cast(tf.browser.fromPixels(view), "float32"); // (height, width, 3)
            const scaled = tf.div(tf.sub(pixels, mean), scale);
            return net.predict(channelsLast(tf.expandDims(scaled, 0)));
        });
        const found = await probabilities.data();
        probabilities.dispose();
        return found;
    }
    return { classified, labels, threshold: net.metadata.threshold };
}

/** @type {ReturnType<typeof loaded> | null} */
let model = null;

/** The model, which the first who asks for it loads. */
async function ready() {
    message.textContent = model ? "" : "Loading the model, 19 MB …";
    model ??= loaded();
    const found = await model;
    message.textContent = "";
    return found;
}

/** What was seen last. @type {[Float32Array, string[]] | null} */
let last = null;

/** Show the most probable class if it is certain enough, and the next ones.
 *
 * @param {Float32Array} probabilities @param {string[]} labels
 */
function show(probabilities, labels) {
    last = [probabilities, labels];
    const order = [...probabilities.keys()].sort(
        (i, j) => probabilities[j] - probabilities[i] || i - j,
    );
    const texts = order.slice(0, 4).map((i) => `${labels[i]} ${probabilities[i].toFixed(2)}`);
    const certain = probabilities[order[0]] > Number(threshold.value);
    label.textContent = certain ? texts[0] : "Nothing that it is sure of";
    label.dataset.class = String(order[0]);
    others.textContent = (certain ? texts.slice(1) : texts).join(", ");
}

/** Classify frame after frame, and say how many a second. @param {HTMLVideoElement} video */
async function watch(video) {
    const { classified, labels } = await ready();
    let seconds = 0;
    for (let frames = 1; video.srcObject; frames += 1) {
        const begin = performance.now();
        show(await classified(video, video.videoWidth, video.videoHeight), labels);
        await new Promise(requestAnimationFrame);
        const took = (performance.now() - begin) / 1000;
        seconds = frames < 3 ? took : 0.8 * seconds + 0.2 * took; // the first compile shaders
        rate.textContent = `${(1 / seconds).toFixed(1)} frames a second on ${tf.getBackend()}`;
        rate.dataset.frames = String(frames);
    }
}

start.addEventListener("click", async () => {
    try {
        if (!navigator.mediaDevices) {
            throw new Error(
                "This page has to come from https:// or from this machine to use the camera.",
            );
        }
        const video = document.createElement("video");
        video.muted = video.playsInline = true;
        video.srcObject = await navigator.mediaDevices.getUserMedia({ audio: false, video: true });
        await video.play();
        start.disabled = true;
        await watch(video);
    } catch (error) {
        const { name, message: text } = /** @type {Error} */ (error);
        message.textContent = REASONS[name] ?? text;
    }
});

element("picture", HTMLInputElement).addEventListener("change", async (event) => {
    const [file] = /** @type {HTMLInputElement} */ (event.target).files ?? [];
    if (!file) return;
    try {
        const picture = await createImageBitmap(file);
        const { classified, labels } = await ready();
        show(await classified(picture, picture.width, picture.height), labels);
    } catch (error) {
        const name = /** @type {Error} */ (error).name;
        message.textContent =
            name === "InvalidStateError" ? `${file.name} is no picture.` : String(error);
    }
});

threshold.value = "0.5";
threshold.addEventListener("input", () => {
    element("above", HTMLElement).textContent = threshold.value;
    if (last) show(...last);
});
threshold.dispatchEvent(new Event("input"));
