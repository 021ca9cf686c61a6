// SPDX-License-Identifier: Apache-2.0
// TypeScript modules of the console for node: bundled as the browser gets them.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "vite";

/** The exports of src/lib/NAME.ts. */
export async function load(name) {
  const folder = mkdtempSync(join(tmpdir(), "console-"));
  try {
    await build({
      configFile: false, logLevel: "error", root: new URL("..", import.meta.url).pathname,
      build: {
        lib: { entry: new URL(`../src/lib/${name}.ts`, import.meta.url).pathname, formats: ["es"], fileName: name },
        outDir: folder, minify: false,
      },
    });
    return await import(pathToFileURL(join(folder, `${name}.js`)).href);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
