// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
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

/** Puts the reader of the API's documents beside the console: docs.html and redoc, as it was published. */
function api_docs(): Plugin {
  const here = dirname(fileURLToPath(import.meta.url));
  const redoc = join(here, "node_modules/redoc");
  return {
    name: "api-docs",
    apply: "build",
    generateBundle() {
      const { version } = JSON.parse(readFileSync(join(redoc, "package.json"), "utf8")) as { version: string };
      const licence = readFileSync(join(redoc, "LICENSE"), "utf8");
      // Its own logo it would fetch from elsewhere; the page asks the market alone.
      const program = readFileSync(join(redoc, "bundles/redoc.standalone.js"), "utf8")
        .replaceAll(/https:\/\/cdn\.redoc\.ly\/redoc\/logo-mini(-full)?\.svg/g, "data:,");
      const name = `redoc-${version}.js`;
      this.emitFile({ type: "asset", fileName: `assets/${name}`, source: `/*!\n${licence}*/\n${program}` });
      const page = readFileSync(join(here, "docs.html"), "utf8").replace("/assets/REDOC", `/assets/${name}`);
      this.emitFile({ type: "asset", fileName: "docs.html", source: page });
    },
  };
}

export default defineConfig({
  base: "/",
  build: { assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: "es2022" },
  plugins: [api_docs(), precompress()],
  server: { proxy: { "/v1": process.env.MILLRACE_MARKET ?? "http://127.0.0.1:8460" } },
});
