// SPDX-License-Identifier: Apache-2.0
// A local market to try things on, and money for those who try. `scripts/devnet` builds first and then runs this.
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { fund, root } from "./lib/chain.mjs";
import { Devnet } from "./lib/devnet.mjs";
import { interruption } from "./lib/processes.mjs";

const market_url = process.env.MILLRACE_MARKET || "http://127.0.0.1:8460";
const rpc_url = process.env.MILLRACE_RPC || "http://127.0.0.1:8545";
const port_of = (url) => Number(new URL(url).port);

/** An address as it is, or that of a key file. */
function address_of(who) {
  if (/^0x[0-9a-fA-F]{40}$/.test(who)) return who;
  const file = resolve(process.env.MILLRACE_CALLED_FROM ?? ".", who);
  if (!existsSync(file)) throw new Error(`${who} is neither an address nor a key file`);
  const { address } = JSON.parse(readFileSync(file, "utf8"));
  if (!/^(0x)?[0-9a-fA-F]{40}$/.test(address ?? "")) throw new Error(`${who} names no address`);
  return address.startsWith("0x") ? address : `0x${address}`;
}

async function give(who, amount = "1000") {
  if (!/^[1-9][0-9]{0,8}$/.test(amount)) throw new Error("TOKENS is a whole number above 0");
  const answer = await fetch(`${market_url}/v1/market/info`).catch(() => {
    throw new Error(`no market at ${market_url}: start one with scripts/devnet`);
  });
  const { deployment } = await answer.json();
  const address = address_of(who);
  await fund(rpc_url, deployment, address, BigInt(amount) * 1_000_000n);
  console.log(`${address} has ${amount} tokens more, and coin for gas.`);
}

async function serve(with_worker) {
  const folder = process.env.MILLRACE_DEVNET_FOLDER ?? join(root, "build/devnet");
  rmSync(folder, { recursive: true, force: true });
  const net = new Devnet(folder);
  net.chain_port = port_of(rpc_url);
  net.market_port = port_of(market_url);
  const stopped = interruption();
  try {
    await Promise.race([stopped, (async () => {
      await net.start_chain();
      await net.start_signer();
      await net.start_market();
      if (with_worker) await net.start_worker("worker", "provider1");
      console.log(`Market  ${net.market_url}   (console in a browser, API under /v1)`);
      console.log(`Chain   ${net.chain.url}   (${net.deployment.chain_id}; contracts in ${net.deployment_file})`);
      console.log(`Ready; Ctrl-C ends it. Next: millrace init, then scripts/devnet fund ~/.millrace/wallet.json`);
      await stopped;
    })()]);
  } finally {
    await net.stop();
  }
}

try {
  const [command, ...rest] = process.argv.slice(2);
  await (command === "fund" ? give(...rest) : serve(command === "--worker"));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
