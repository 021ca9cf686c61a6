// SPDX-License-Identifier: Apache-2.0
// The demo's seven stages. `scripts/demo` builds first and then runs this.
import { copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import OpenAI from "openai";
import { root, tokens } from "./lib/chain.mjs";
import { settlement_totals, unexplained } from "./lib/chain_totals.mjs";
import { write_mnist, write_moby_dick } from "./lib/data.mjs";
import { Devnet } from "./lib/devnet.mjs";
import { LiveRegion, Stages, bold, curve, cyan, dim, green, red } from "./lib/terminal.mjs";

const keep = process.argv.includes("--keep");
const folder = join(root, "build/demo");
rmSync(folder, { recursive: true, force: true });
const net = new Devnet(folder);
const stages = new Stages(7);
const summary = { train: { jobs: [] }, inference: {}, failover: {}, settlement: {}, audit: {}, seconds: {} };
