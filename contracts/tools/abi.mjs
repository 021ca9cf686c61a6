#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Writes abi/NAME.json of every contract users call; with --check, fails when a committed one is old.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const names = ['Disputes', 'Escrow', 'Leases', 'Providers', 'ReceiptLog', 'Treasury', 'SettlementToken'];
const check = process.argv.includes('--check');

execFileSync(join(root, 'node_modules/.bin/forge'), ['build', '--quiet', '--skip', 'test'], {
  cwd: root,
  stdio: ['ignore', 'ignore', 'inherit'],
});
mkdirSync(join(root, 'abi'), { recursive: true });
let old = 0;
for (const name of names) {
  const built = JSON.parse(readFileSync(join(root, `out/${name}.sol/${name}.json`), 'utf8'));
  const entries = built.abi.map((entry) => `  ${JSON.stringify(entry)}`).join(',\n');
  const text = `[\n${entries}\n]\n`;
  const path = join(root, `abi/${name}.json`);
  if (!check) {
    writeFileSync(path, text);
    continue;
  }
  let committed = '';
  try {
    committed = readFileSync(path, 'utf8');
  } catch {
    // a missing file is an old one
  }
  if (committed !== text) {
    console.error(`abi: ${name}.json is not what the sources give; run: npm run abi`);
    old += 1;
  }
}
process.exit(old === 0 ? 0 : 1);
