// SPDX-License-Identifier: Apache-2.0
// A worker as the market sees it, without a machine behind it: registered on chain and connected, so that its asks
// can be matched. What it is told to do it does not do.
import { createWalletClient, encodeAbiParameters, http, keccak256, parseAbi, parseAbiParameters } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { WebSocket } from "ws";
import { Rest } from "./rest.mjs";

const providers_abi = parseAbi(["function register(address workerKey, bytes workerProof, uint256 bond)"]);

/** Registers a provider with one worker key and no bond (deploy with "min-bond": 0). */
export async function register_worker(chain, deployment, provider_key, worker_key) {
  const provider = privateKeyToAccount(provider_key);
  const worker = privateKeyToAccount(worker_key);
  const hash = keccak256(encodeAbiParameters(parseAbiParameters("string, uint256, address, address"), [
    "millrace.worker", BigInt(deployment.chain_id), deployment.providers, provider.address,
  ]));
  const proof = await worker.signMessage({ message: { raw: hash } });
  const wallet = createWalletClient({ account: provider, chain: chain.chain, transport: http(chain.url) });
  const transaction = await wallet.writeContract({
    address: deployment.providers, abi: providers_abi, functionName: "register", args: [worker.address, proof, 0n],
  });
  const receipt = await chain.client.waitForTransactionReceipt({ hash: transaction });
  if (receipt.status !== "success") throw new Error("the registration was reverted");
}

/** Dials the market's WebSocket and says hello; gives the socket once the market has said welcome. */
export async function connect_worker(market_url, provider_key, worker_key, resource) {
  const worker = privateKeyToAccount(worker_key);
  const socket = dial_worker(market_url, await new Rest(market_url).sign_in(worker));
  await new Promise((resolve, reject) => {
    socket.on("open", () => socket.send(hello(worker.address, privateKeyToAccount(provider_key).address, resource)));
    socket.on("message", (data) => JSON.parse(data.toString()).type === "welcome" && resolve());
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("the market closed the worker's socket")));
  });
  return socket;
}

/** A worker's WebSocket, on its way to the market; `token` is of a session of the worker's key. */
export const dial_worker = (market_url, token) =>
  new WebSocket(`${market_url.replace("http", "ws")}/v1/worker/ws`, { headers: { authorization: `Bearer ${token}` } });

/** The first message of a worker that has nothing in hand. */
export const hello = (worker, provider, resource) =>
  JSON.stringify({ type: "hello", version: 2, worker, provider, resource: { ...resource, worker }, leases: [], serving: [] });
