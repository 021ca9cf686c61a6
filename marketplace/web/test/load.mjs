// SPDX-License-Identifier: Apache-2.0
// TypeScript modules of the console for node: bundled as the browser gets them.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "vite";

const folder = mkdtempSync(join(tmpdir(), "console-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true })); // until then: parts are fetched when they are wanted

/** The exports of src/lib/NAME.ts, of several together when they share state. */
export async function load(...names) {
  const name = names.join("-");
  const entry = join(folder, `${name}.ts`);
  writeFileSync(entry, names.map((one) => `export * from ${JSON.stringify(new URL(`../src/lib/${one}.ts`, import.meta.url).pathname)};\n`).join(""));
  await build({
    configFile: false, logLevel: "error", root: new URL("..", import.meta.url).pathname,
    build: { lib: { entry, formats: ["es"], fileName: name }, outDir: join(folder, name), minify: false },
  });
  return import(pathToFileURL(join(folder, name, `${name}.js`)).href);
}
