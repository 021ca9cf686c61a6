// SPDX-License-Identifier: Apache-2.0
// A local chain with the contracts deployed: anvil, started and watched like any other program of a run.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  createPublicClient, createTestClient, createWalletClient, defineChain, formatUnits, http, parseAbi, parseSignature,
} from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { free_port, run } from "./processes.mjs";
import { order_classes, unit_kinds } from "./rest.mjs";

export { createWalletClient, encodeAbiParameters, getAddress, hashStruct, http, hashTypedData, keccak256, parseAbi, parseAbiParameters, recoverTypedDataAddress } from "viem";
export { generatePrivateKey, privateKeyToAccount } from "viem/accounts";

export const root = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
export const chain_id = 31337;

// The first accounts of anvil's well-known test mnemonic: money without worth, keys without secrets.
export const dev_keys = {
  deployer: "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
  operator: "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
  provider1: "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
  provider2: "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
  buyer: "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
  delegate: "0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
};

const permit_abi = parseAbi([
  "function eip712Domain() view returns (bytes1, string, string, uint256, address, bytes32, uint256[])",
  "function nonces(address) view returns (uint256)",
  "function depositWithPermit(address owner, uint64 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s)",
]);

/** Starts anvil on a free port; transactions are mined at once, and a block a second passes besides. */
export async function start_chain(processes, { port } = {}) {
  port ??= await free_port();
  const url = `http://127.0.0.1:${port}`;
  processes.start("anvil", join(root, "contracts/node_modules/.bin/anvil"), [
    ...["--host", "127.0.0.1", "--port", String(port), "--chain-id", String(chain_id)],
    ...["--block-time", "1", "--mixed-mining", "--silent"],
  ]);
  const chain = defineChain({
    id: chain_id,
    name: "local",
    nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
    rpcUrls: { default: { http: [url] } },
  });
  const client = createPublicClient({ chain, transport: http(url), pollingInterval: 100, cacheTime: 0 });
  await processes.until("anvil", "the chain to answer", () => client.getChainId());
  return { url, port, chain, client, test: createTestClient({ chain, mode: "anvil", transport: http(url) }) };
}

/**
 * Deploys the contracts and the settlement token; gives the deployment document. `mint` is a list of
 * [address, atoms]; other options are those of contracts/deploy/deploy.mjs, without the dashes in front.
 */
export async function deploy(chain, deployment_file, { operator, mint = [], ...options }) {
  const args = ["deploy/deploy.mjs", "--rpc", chain.url, "--key-env", "MILLRACE_DEPLOYER_KEY"];
  args.push("--operator", operator, "--out", deployment_file);
  for (const [address, atoms] of mint) args.push("--mint", `${address}=${atoms}`);
  for (const [name, value] of Object.entries(options)) args.push(`--${name}`, String(value));
  const result = await run(process.execPath, args, {
    cwd: join(root, "contracts"),
    env: { MILLRACE_DEPLOYER_KEY: dev_keys.deployer },
  });
  if (result.code !== 0) throw new Error(`deploying the contracts failed (${result.code}):\n${result.stderr || result.stdout}`);
  return JSON.parse(readFileSync(deployment_file, "utf8"));
}

/** Puts tokens into escrow with one transaction: the owner's permit signature travels along. */
export async function deposit_with_permit(chain, deployment, key, atoms) {
  const account = privateKeyToAccount(key);
  const read = (functionName, args = []) =>
    chain.client.readContract({ address: deployment.token, abi: permit_abi, functionName, args });
  const [, name, version] = await read("eip712Domain");
  const nonce = await read("nonces", [account.address]);
  const deadline = BigInt(Math.floor(Date.now() / 1000) + 3600);
  const signature = await account.signTypedData({
    domain: { name, version, chainId: chain_id, verifyingContract: deployment.token },
    types: { Permit: ["owner", "spender"].map((n) => ({ name: n, type: "address" })).concat(["value", "nonce", "deadline"].map((n) => ({ name: n, type: "uint256" }))) },
    primaryType: "Permit",
    message: { owner: account.address, spender: deployment.escrow, value: BigInt(atoms), nonce, deadline },
  });
  const { r, s, v } = parseSignature(signature);
  const wallet = createWalletClient({ account, chain: chain.chain, transport: http(chain.url) });
  const hash = await wallet.writeContract({
    address: deployment.escrow, abi: permit_abi, functionName: "depositWithPermit",
    args: [account.address, BigInt(atoms), deadline, Number(v), r, s],
  });
  const receipt = await chain.client.waitForTransactionReceipt({ hash });
  if (receipt.status !== "success") throw new Error(`the deposit was reverted (${hash})`);
  return hash;
}

/** Coin for gas and settlement tokens for an account of a local test chain, whose deployer mints them. */
export async function fund(rpc_url, deployment, address, atoms) {
  if (deployment.chain_id !== chain_id) throw new Error(`chain ${deployment.chain_id} is no local test chain`);
  const chain = defineChain({ id: chain_id, name: "local", nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 }, rpcUrls: { default: { http: [rpc_url] } } });
  const account = privateKeyToAccount(dev_keys.deployer);
  const wallet = createWalletClient({ account, chain, transport: http(rpc_url) });
  const client = createPublicClient({ chain, transport: http(rpc_url), pollingInterval: 100 });
  const mint = parseAbi(["function mint(address to, uint256 amount)"]);
  for (const send of [
    () => wallet.sendTransaction({ to: address, value: 10n ** 18n }),
    () => wallet.writeContract({ address: deployment.token, abi: mint, functionName: "mint", args: [address, atoms] }),
  ]) {
    const { status } = await client.waitForTransactionReceipt({ hash: await send() });
    if (status !== "success") throw new Error("the chain refused to give money: is the deployer another account?");
  }
}

/** Its owner takes an order back on chain: `side` is "Ask" or "Bid", `order` as the market's JSON carries it. */
export async function cancel_order(chain, deployment, key, side, order) {
  const abi = JSON.parse(readFileSync(join(root, "contracts/abi/Leases.json"), "utf8"));
  const message = { ...order, unitKind: unit_kinds.indexOf(order.unitKind), orderClass: order_classes.indexOf(order.orderClass) };
  for (const [name, value] of Object.entries(message)) if (/^\d+$/.test(value)) message[name] = BigInt(value);
  const wallet = createWalletClient({ account: privateKeyToAccount(key), chain: chain.chain, transport: http(chain.url) });
  const hash = await wallet.writeContract({ address: deployment.leases, abi, functionName: `cancel${side}`, args: [message] });
  const receipt = await chain.client.waitForTransactionReceipt({ hash });
  if (receipt.status !== "success") throw new Error(`the cancellation was reverted (${hash})`);
  return receipt;
}

/** Atoms of the settlement token (6 decimals) as people read them. */
export const tokens = (atoms) => formatUnits(BigInt(atoms), 6);
