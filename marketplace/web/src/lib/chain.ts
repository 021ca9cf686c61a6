// SPDX-License-Identifier: Apache-2.0
// Reading the chain: through the node that the reader names, else through the connected wallet.
import { signal } from "@preact/signals";
import { createPublicClient, custom, http, parseAbi, type Address, type Hex, type PublicClient } from "viem";
import { market_info } from "./api";
import { connected, WalletError } from "./wallet";

export const escrow_abi = parseAbi([
  "function accounts(address account) view returns (uint64 free, uint64 locked, uint64 earned, uint64 withdrawing, uint64 withdrawableAt)",
  "function withdrawDelay() view returns (uint64)",
  "function deposit(address account, uint64 amount)",
  "function depositWithPermit(address owner, uint64 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s)",
  "function requestWithdraw(uint64 amount)",
  "function cancelWithdraw()",
  "function withdraw()",
  "function sweep(address account)",
  "function liabilities() view returns (uint256)",
  "event Deposited(address indexed account, uint64 amount)",
  "event Locked(address indexed account, uint64 amount)",
  "event Unlocked(address indexed account, uint64 amount)",
  "event Credited(address indexed account, uint64 amount)",
  "event WithdrawRequested(address indexed account, uint64 amount, uint64 withdrawableAt)",
  "event WithdrawCancelled(address indexed account, uint64 amount)",
  "event Withdrawn(address indexed account, uint64 amount)",
  "event Swept(address indexed account, uint64 amount)",
]);
export const token_abi = parseAbi([
  "function eip712Domain() view returns (bytes1 fields, string name, string version, uint256 chainId, address verifyingContract, bytes32 salt, uint256[] extensions)",
  "function nonces(address owner) view returns (uint256)",
  "function balanceOf(address account) view returns (uint256)",
  "function approve(address spender, uint256 value) returns (bool)",
  "function totalSupply() view returns (uint256)",
  "function symbol() view returns (string)",
  "function decimals() view returns (uint8)",
]);
export const leases_abi = parseAbi([
  "function delegationNonce(address owner) view returns (uint64)",
  "function spentBy(address owner, address delegate) view returns (uint64)",
  "event LeaseOpened(bytes32 indexed lease, address indexed buyer, address indexed provider, bytes32 askHash, bytes32 bidHash, address voucherSigner, address workerKey, uint256 terms)",
  "event Claimed(bytes32 indexed lease, bytes32 receiptsRoot, uint256 totals)",
  "event LeaseClosed(bytes32 indexed lease, uint64 paid, uint64 refunded, uint8 reason)",
]);
export const log_abi = parseAbi([
  "function checkInclusion(uint64 size, bytes32 root, bytes32 leafHash, uint64 index, bytes32[] proof) view returns (bool)",
  "event Anchored(uint64 indexed size, bytes32 root, uint64 timeMs)",
]);
export const providers_abi = parseAbi([
  "function bondOf(address provider) view returns (uint64)",
  "function minimumBond() view returns (uint64)",
  "function unbondingOf(address provider) view returns (uint64 amount, uint64 since)",
  "function isActive(address provider, address workerKey) view returns (bool)",
]);
export const treasury_abi = parseAbi([
  "function feeBps() view returns (uint16)",
  "function MAX_FEE_BPS() view returns (uint16)",
  "function owner() view returns (address)",
]);
export const timelock_abi = parseAbi([
  "function getMinDelay() view returns (uint256)",
  "function getTimestamp(bytes32 id) view returns (uint256)",
  "event CallScheduled(bytes32 indexed id, uint256 indexed index, address target, uint256 value, bytes data, bytes32 predecessor, uint256 delay)",
  "event CallExecuted(bytes32 indexed id, uint256 indexed index, address target, uint256 value, bytes data)",
  "event Cancelled(bytes32 indexed id)",
]);

/** The reader's own node; empty: the wallet's. Kept in this browser. */
export const rpc_url = signal(localStorage.getItem("rpc") ?? "");
export function set_rpc_url(url: string): void {
  rpc_url.value = url;
  if (url) localStorage.setItem("rpc", url);
  else localStorage.removeItem("rpc");
}
export const has_chain = (): boolean => rpc_url.value !== "" || connected.value !== null;

/** A client on the market's chain. WalletError when there is no node to ask, or it is of another chain. */
export async function chain(): Promise<PublicClient> {
  if (!has_chain()) throw new WalletError("Name a node (RPC URL) of your own, or connect a wallet: the chain is not read through the market.");
  const client = createPublicClient({
    transport: rpc_url.value ? http(rpc_url.value) : custom(connected.value!.wallet.provider as Parameters<typeof custom>[0]),
    cacheTime: 0,
  }) as PublicClient;
  const { chain_id } = await market_info();
  let theirs: number;
  try {
    theirs = await client.getChainId();
  } catch {
    throw new WalletError("The node does not answer. Is its URL right, and does it allow calls from web pages (CORS)?");
  }
  if (theirs !== chain_id) throw new WalletError(`The node is of chain ${theirs}; the market settles on chain ${chain_id}.`);
  return client;
}

export interface Funds {
  wallet: bigint;
  free: bigint;
  locked: bigint;
  earned: bigint;
  withdrawing: bigint;
  withdrawable_at_s: bigint;
}
export async function read_funds(address: Address): Promise<Funds> {
  const { deployment } = await market_info();
  const client = await chain();
  const [accounts, wallet] = await Promise.all([
    client.readContract({ address: deployment.escrow, abi: escrow_abi, functionName: "accounts", args: [address] }),
    client.readContract({ address: deployment.token, abi: token_abi, functionName: "balanceOf", args: [address] }),
  ]);
  const [free, locked, earned, withdrawing, withdrawable_at_s] = accounts;
  return { wallet, free, locked, earned, withdrawing, withdrawable_at_s };
}

/** Fields of the packed words of Leases' events, from the high end. */
export function unpack(word: bigint, fields: readonly (readonly [string, number])[]): Record<string, bigint> {
  let shift = 256n;
  return Object.fromEntries(
    fields.map(([name, bits]) => {
      shift -= BigInt(bits);
      return [name, BigInt.asUintN(bits, word >> shift)];
    }),
  );
}
export const totals_fields = [["sequence", 64], ["cumulativeUnits", 48], ["cumulativeAmount", 48], ["paid", 48], ["fee", 48]] as const;
export const terms_fields = [["unitKind", 40], ["price", 64], ["maxUnits", 48], ["locked", 48], ["expiry", 40], ["feeBps", 16]] as const;
export type { Hex };
