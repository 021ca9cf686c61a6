// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

/** Writes NAME.gz beside each file, once, so that the market need not compress while it serves. */
function precompress(): Plugin {
  let folder = "";
  return {
    name: "precompress",
    configResolved: (config) => {
      folder = config.build.outDir;
    },
    closeBundle: () => {
      for (const place of [folder, join(folder, "assets")]) {
        for (const name of readdirSync(place)) {
          const file = join(place, name);
          if (statSync(file).isFile() && !name.endsWith(".gz")) {
            writeFileSync(`${file}.gz`, gzipSync(readFileSync(file), { level: 9 }));
          }
        }
      }
    },
  };
}

export default defineConfig({
  base: "/",
  build: { assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: "es2022" },
  plugins: [precompress()],
  server: { proxy: { "/v1": process.env.MILLRACE_MARKET ?? "http://127.0.0.1:8460" } },
});
