/** What pages need, in dist/: fourfold.js, an ES module, and the scripts of pages, which import it. */

import { cp } from "node:fs/promises";
import { build } from "esbuild";

/** @type {import("esbuild").BuildOptions} */
const options = {
    outdir: "dist",
    bundle: true,
    format: "esm",
    minify: true,
    target: "es2022",
    legalComments: "none",
    logLevel: "warning",
};
await build({ ...options, entryPoints: { fourfold: "src/index.js" } });
await build({
    ...options,
    entryPoints: ["pages/book.js", "pages/webcam.js"],
    plugins: [
        {
            name: "the one bundle",
            setup(one) {
                one.onResolve({ filter: /\/src\/index\.js$/ }, () => ({
                    path: "./fourfold.js",
                    external: true,
                }));
            },
        },
    ],
});
await cp("pages/webcam.html", "dist/webcam.html");
const wasm = "node_modules/@tensorflow/tfjs-backend-wasm/wasm-out";
for (const name of ["tfjs-backend-wasm.wasm", "tfjs-backend-wasm-simd.wasm"]) {
    await cp(`${wasm}/${name}`, `dist/${name}`);
}
