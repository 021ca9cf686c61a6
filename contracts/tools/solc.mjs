#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Stands in for a native solc: forge asks `--version` and `--standard-json`, the npm compiler answers.
// There is no native compiler in Debian or on npm, and forge would download one.
import { readFileSync } from 'node:fs';
import solc from 'solc';

if (process.argv.includes('--version')) {
  const version = solc.version().replace(/\.Emscripten.*$/, '.Linux.g++');
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${version}\n`);
} else {
  process.stdout.write(solc.compile(readFileSync(0, 'utf8')));
}
