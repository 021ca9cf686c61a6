// SPDX-License-Identifier: Apache-2.0
// The examples in documents, as programs: what a reader copies is what the tests run.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./chain.mjs";

/** The fenced blocks of a document: [{ language, text, line, heading }]. Blocks without a language are no examples. */
export function code_blocks(file) {
  const blocks = [];
  let heading = "";
  let open;
  for (const [i, line] of readFileSync(join(root, file), "utf8").split("\n").entries()) {
    const fence = line.match(/^```(\w*)\s*$/);
    if (!fence) {
      if (open) open.text += `${line}\n`;
      else if (/^#+ /.test(line)) heading = line.replace(/^#+ /, "");
    } else if (open) {
      if (open.language) blocks.push(open);
      open = undefined;
    } else {
      open = { language: fence[1], text: "", line: i + 2, heading };
    }
  }
  if (open) throw new Error(`${file}: the block at line ${open.line} has no end`);
  return blocks;
}

/**
 * One bash script that runs blocks in their order in one shell, so that later ones see what earlier ones exported. The
 * last line it prints to stderr before it fails names the block.
 */
export function to_script(file, blocks) {
  const runners = {
    sh: (text) => text,
    python: (text, mark) => `python3 - <<'${mark}'\n${text}${mark}\n`,
    js: (text, mark) => `(cd scripts && node --input-type=module - <<'${mark}'\n${text}${mark}\n)\n`,
  };
  const parts = blocks.filter((block) => block.language in runners).map((block) =>
    `echo '── ${file}:${block.line}' >&2\n${runners[block.language](block.text, `END_OF_${block.line}`)}`);
  return `set -euo pipefail\n${parts.join("")}`;
}
