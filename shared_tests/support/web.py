"""web/ in a real Chromium: its bundle on a page, which computes what a test sends it."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from shared_tests.support.sources import ROOT

BUNDLE = ROOT / "web" / "dist" / "fourfold.js"
BACKENDS = ("cpu", "wasm", "webgl")  # WebGL in software, where there is no graphics card
PAGE = b"<!doctype html><title>web</title>"
START = """async ([address, backend]) => {
    window.fourfold = await import(address + "fourfold.js");
    const { tf } = window.fourfold;
    await tf.setBackend(backend);
    await tf.ready();
    return tf.getBackend();
}"""
# What a model computes, as {output: {shape, data}}, and the arrays that were read; errors come back
# as text.
CALL = """async (calls) => {
    const { tf, readModel } = window.fourfold;
    const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
    const text = (array) => {
        const own = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
        let found = "";
        for (let i = 0; i < own.length; i += 8192)
            found += String.fromCharCode(...own.subarray(i, i + 8192));
        return btoa(found);
    };
    const tensor = ({ shape, dtype, data }) => {
        const View = dtype === "int32" ? Int32Array : Float32Array;
        return tf.tensor(new View(bytes(data).buffer), shape, dtype);
    };
    const results = [];
    for (const { file, inputs } of calls) {
        try {
            const before = tf.memory().numTensors;
            const net = readModel(bytes(file));
            const named = Object.fromEntries(
                Object.entries(inputs).map(([name, one]) => [name, tensor(one)]));
            const given = net.inputs.length > 1 ? named : Object.values(named)[0];
            const found = net.predict(given);
            const own = Array.isArray(found) || !(found instanceof tf.Tensor)
                ? found : { output: found };
            const outputs = {};
            for (const [name, one] of Object.entries(own)) {
                const data = Float32Array.from(await one.data());
                outputs[name] = { shape: one.shape, data: text(data) };
                one.dispose();
            }
            for (const one of Object.values(named)) one.dispose();
            const arrays = {};
            const { steps } = net.plan;
            const path = ["chain", "graph"].includes(net.component) ? (i) => `${i}.` : () => "";
            steps.forEach((step, place) => {
                if (!step || step.owner !== place) return;
                for (const [name, { shape, values }] of step.arrays)
                    arrays[path(place) + name] =
                        { shape, data: text(values), bytes: values.BYTES_PER_ELEMENT };
            });
            net.dispose();
            const left = tf.memory().numTensors - before;
            results.push({ outputs, arrays, castFrom: net.castFrom, left });
        } catch (error) {
            results.push({ error: `${error.name}: ${error.message}` });
        }
    }
    return results;
}"""


# What the reader says of files, one after another, each behind its length: null of a model.
REFUSE = """
import { readFileSync } from "node:fs";
const [sources, path] = process.argv.slice(-2);
const { readDescription } = await import(`${sources}/model_file.js`);
const { planned } = await import(`${sources}/plan.js`);
const data = new Uint8Array(readFileSync(path));
const found = [];
for (let place = 0, end = 0; place < data.length; place = end) {
    end = place + 4 + new DataView(data.buffer).getUint32(place, true);
    try {
        planned(readDescription(data.subarray(place + 4, end)));
        found.push(null);
    } catch (error) {
        found.push(error.constructor === Error ? error.message : error.stack);
    }
}
console.log(JSON.stringify(found));
"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """The files of a folder, and an empty page."""

    def do_GET(self) -> None:
        if self.path != "/":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: what was asked for is no news."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which a folder's files are given."""
    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def started(page: Any, address: str, backend: str) -> None:
    """Load the bundle into a page, with one of TensorFlow.js's backends."""
    page.goto(address)
    assert page.evaluate(START, [address, backend]) == backend


def computed(
    page: Any, calls: Sequence[tuple[bytes, Mapping[str, np.ndarray]]]
) -> list[dict[str, Any]]:
    """What models give for their inputs: `outputs` and `arrays` by name, or an `error`."""
    sent = [
        {"file": _text(file), "inputs": {name: _sent(one) for name, one in inputs.items()}}
        for file, inputs in calls
    ]
    results = page.evaluate(CALL, sent)
    for result in results:
        for name, one in result.get("outputs", {}).items():
            data = np.frombuffer(base64.b64decode(one["data"]), "<f4")
            result["outputs"][name] = data.reshape(one["shape"])
        for name, one in result.get("arrays", {}).items():
            data = np.frombuffer(base64.b64decode(one["data"]), f"<f{one['bytes']}")
            result["arrays"][name] = data.reshape(one["shape"])
    return results


def refusals(files: Sequence[bytes], folder: Path) -> list[str | None]:
    """What the reader says of each file, in node; None of a model. folder: for what is between."""
    path = folder / "files"
    path.write_bytes(b"".join(len(one).to_bytes(4, "little") + one for one in files))
    sources = str(ROOT / "web" / "src")
    command = ["node", "--input-type=module", "--eval", REFUSE, "--", sources, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: list[str | None] = json.loads(done.stdout)
    return found


def _sent(array: np.ndarray) -> dict[str, Any]:
    dtype = "float32" if array.dtype.kind == "f" else "int32"
    return {"shape": array.shape, "dtype": dtype, "data": _text(array.astype(dtype).tobytes())}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
