// SPDX-License-Identifier: Apache-2.0
// A worker as the market sees it, without a machine behind it: registered on chain and connected, so that its asks
// can be matched. What it is told to do it does not do.
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { createWalletClient, encodeAbiParameters, http, keccak256, parseAbi, parseAbiParameters } from "viem";
import { privateKeyToAccount } from "viem/accounts";
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
  const provider = privateKeyToAccount(provider_key);
  const worker = privateKeyToAccount(worker_key);
  const rest = new Rest(market_url);
  const token = await rest.sign_in(worker);
  const { hostname, port, host } = new URL(market_url);
  const socket = connect(Number(port), hostname);
  const hello = JSON.stringify({
    type: "hello", version: 1, worker: worker.address, provider: provider.address,
    resource: { ...resource, worker: worker.address }, leases: [], serving: [],
  });
  const welcome = new Promise((resolve, reject) => {
    let received = "";
    let upgraded = false;
    socket.on("data", (data) => {
      received += data.toString("latin1");
      if (!upgraded && received.includes("\r\n\r\n")) {
        upgraded = true;
        socket.write(text_frame(hello));
      }
      if (received.includes('"welcome"')) resolve(socket);
    });
    socket.on("error", reject);
    socket.on("close", () => reject(new Error(`the market closed the worker's socket: ${received}`)));
  });
  const key = randomBytes(16).toString("base64");
  socket.write(
    `GET /v1/worker/ws HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\nAuthorization: Bearer ${token}\r\n\r\n`);
  return welcome;
}

/** One text frame of a client (RFC 6455); its mask is zero. */
function text_frame(text) {
  const payload = Buffer.from(text);
  const head = Buffer.from([0x81, 0x80 | 126, payload.length >> 8, payload.length & 0xff, 0, 0, 0, 0]);
  if (payload.length < 126 || payload.length > 0xffff) throw new Error("126 to 65535 bytes");
  return Buffer.concat([head, payload]);
}
