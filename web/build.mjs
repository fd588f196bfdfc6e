/** One bundle of what a page needs: dist/fourfold.js, an ES module. */

import { build } from "esbuild";

await build({
    entryPoints: ["src/index.js"],
    outfile: "dist/fourfold.js",
    bundle: true,
    format: "esm",
    minify: true,
    target: "es2022",
    legalComments: "none",
    logLevel: "warning",
});
