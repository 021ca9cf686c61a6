#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Lines and branches of src/ that no test reaches, but for those listed here with their reason; exit code 1 when there
// are others, or when a listed one is reached after all. The plain compiler's map from code to lines is exact.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const exceptions = [
  ['src/libraries/MerkleLog.sol', 'staticcall(gas(), 0x02', 'the SHA-256 precompile cannot fail with the gas of a transaction'],
];

const folder = mkdtempSync(join(tmpdir(), 'millrace-coverage-'));
let report;
try {
  const file = join(folder, 'lcov.info');
  execFileSync(
    join(root, 'node_modules/.bin/forge'),
    ['coverage', '--no-match-test', 'invariant', '--report', 'lcov', '--report-file', file],
    { cwd: root, env: { ...process.env, FOUNDRY_PROFILE: 'plain' }, stdio: ['ignore', 'ignore', 'inherit'] },
  );
  report = readFileSync(file, 'utf8');
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/// Of each file of src/: [line, 'line' or 'branch', times reached].
const places = new Map();
let current = [];
for (const row of report.split('\n')) {
  const [, kind, rest] = /^([A-Z]+):(.*)$/.exec(row) ?? [];
  if (kind === 'SF') places.set(rest, (current = []));
  const parts = rest?.split(',');
  if (kind === 'DA') current.push([Number(parts[0]), 'line', Number(parts[1])]);
  if (kind === 'BRDA') current.push([Number(parts[0]), 'branch', Number(parts[3]) || 0]);
}

const totals = { line: [0, 0], branch: [0, 0] };
const used = new Set();
let missed = 0;
for (const [file, list] of [...places].filter(([name]) => name.startsWith('src/'))) {
  const lines = readFileSync(join(root, file), 'utf8').split('\n');
  for (const [line, kind, times] of list) {
    totals[kind][0] += times > 0 ? 1 : 0;
    totals[kind][1] += 1;
    if (times > 0) continue;
    const text = lines[line - 1].trim();
    const exception = exceptions.find(([name, part]) => name === file && text.includes(part));
    if (exception) used.add(exception);
    else missed += 1;
    console.log(`${file}:${line} ${kind}: ${exception ? `excepted: ${exception[2]}` : `not reached: ${text}`}`);
  }
}
for (const unused of exceptions.filter((entry) => !used.has(entry))) {
  console.log(`${unused[0]} "${unused[1]}" is excepted, but was reached`);
  missed += 1;
}
const share = ([reached, all]) => `${reached}/${all} (${((100 * reached) / all).toFixed(2)} %)`;
console.log(`lines ${share(totals.line)}, branches ${share(totals.branch)}, exceptions ${used.size}`);
process.exit(missed === 0 && totals.line[1] > 0 ? 0 : 1);
