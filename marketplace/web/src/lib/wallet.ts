// SPDX-License-Identifier: Apache-2.0
// Wallets by EIP-6963 and EIP-1193. What is signed is shown decoded first, in a dialog of our own.
import { batch, signal } from "@preact/signals";
import type { Address, Hex } from "viem";
import { market_info, wallet_account } from "./api";
import { message_types, type Domain, type Message, type MessageType } from "./message_types";

export interface Provider {
  request(call: { method: string; params?: unknown }): Promise<unknown>;
  on?(event: string, listener: (value: never) => void): void;
}
export interface Wallet {
  info: { uuid: string; name: string; icon: string; rdns: string };
  provider: Provider;
}
/** A wallet said no, or cannot; the message is for people. */
export class WalletError extends Error {}

export const wallets = signal<Wallet[]>([]);
export const connected = signal<{ wallet: Wallet; address: Address; chain_id: number } | null>(null);

/** Something to be agreed to before the wallet is asked: its title and its fields, decoded. */
export interface Question {
  title: string;
  note: string;
  rows: [name: string, value: string][];
  answer: (agreed: boolean) => void;
}
export const question = signal<Question | null>(null);

const remembered = "wallet";

export function discover(): void {
  window.addEventListener("eip6963:announceProvider", (event) => {
    const wallet = (event as CustomEvent<Wallet>).detail;
    if (typeof wallet?.info?.rdns !== "string" || typeof wallet.provider?.request !== "function") return;
    if (wallets.value.some((known) => known.info.uuid === wallet.info.uuid)) return;
    wallets.value = [...wallets.value, wallet];
    if (wallet.info.rdns === localStorage.getItem(remembered)) void attach(wallet, "eth_accounts").catch(() => undefined);
  });
  window.dispatchEvent(new Event("eip6963:requestProvider"));
}

const code_of = (error: unknown): number => Number((error as { code?: unknown })?.code ?? 0);

/** Asks a wallet; its refusals become words. */
export async function call<T>(provider: Provider, method: string, params: unknown = []): Promise<T> {
  try {
    return (await provider.request({ method, params })) as T;
  } catch (error) {
    if (code_of(error) === 4001) throw new WalletError("You declined in the wallet. Nothing was signed or sent.");
    if (code_of(error) === -32002) throw new WalletError("The wallet is still waiting for an answer: open it.");
    const text = error instanceof Error ? error.message : String((error as { message?: unknown })?.message ?? error);
    throw new WalletError(`The wallet says: ${text.slice(0, 300)}`);
  }
}

type Connection = { wallet: Wallet; address: Address; chain_id: number };
/** Wallets whose changes of account and chain are listened to. */
const heard = new WeakSet<Wallet>();
function set_connected(value: Connection | null): void {
  batch(() => {
    connected.value = value;
    wallet_account.value = value?.address ?? null;
  });
}

async function attach(wallet: Wallet, method: string): Promise<void> {
  const accounts = await call<string[]>(wallet.provider, method);
  const chain = await call<string>(wallet.provider, "eth_chainId");
  const { getAddress } = await import("viem");
  const address = accounts[0] ? getAddress(accounts[0]) : null;
  // What is being asked was asked of the account before.
  if (connected.value && connected.value.address !== address) question.value?.answer(false);
  set_connected(address ? { wallet, address, chain_id: Number(chain) } : null);
  if (!address) return;
  localStorage.setItem(remembered, wallet.info.rdns);
  if (heard.has(wallet)) return;
  heard.add(wallet);
  const again = () => {
    if (connected.value?.wallet === wallet) void attach(wallet, "eth_accounts").catch(() => undefined);
  };
  wallet.provider.on?.("accountsChanged", again);
  wallet.provider.on?.("chainChanged", again);
}
export const connect = (wallet: Wallet): Promise<void> => attach(wallet, "eth_requestAccounts");
export function disconnect(): void {
  set_connected(null);
  localStorage.removeItem(remembered);
}

function must_be_connected(): Connection {
  if (!connected.value) throw new WalletError("Connect a wallet first.");
  return connected.value;
}
/** The wallet, as long as it is at that account: what is signed was made for it. */
function must_be(account: Address): Connection {
  const now = must_be_connected();
  if (now.address !== account)
    throw new WalletError(`The wallet is now at account ${now.address}; this was made for ${account}. Nothing was signed or sent: change back, or begin again.`);
  return now;
}

/** Moves the wallet to the market's chain when it is on another. */
export async function to_market_chain(): Promise<void> {
  const { wallet } = must_be_connected();
  const { chain_id } = await market_info();
  const now = async () => Number(await call<string>(wallet.provider, "eth_chainId"));
  if ((await now()) !== chain_id) {
    const chainId = `0x${chain_id.toString(16)}`;
    try {
      await call(wallet.provider, "wallet_switchEthereumChain", [{ chainId }]);
    } catch (error) {
      throw new WalletError(
        `The market settles on chain ${chain_id}, and the wallet stays on another. Choose it there, or add it first. (${(error as Error).message})`);
    }
    if ((await now()) !== chain_id) throw new WalletError(`The market settles on chain ${chain_id}; the wallet is on chain ${await now()}.`);
  }
  await attach(wallet, "eth_accounts");
}

function agree(title: string, note: string, rows: [string, string][]): Promise<void> {
  return new Promise((resolve, reject) => {
    question.value = {
      title, note, rows,
      answer: (agreed) => {
        question.value = null;
        if (agreed) resolve();
        else reject(new WalletError("Cancelled. Nothing was signed or sent."));
      },
    };
  });
}

export async function sign_text(message: string): Promise<Hex> {
  const { wallet, address } = must_be_connected();
  const bytes = new TextEncoder().encode(message);
  const hex = `0x${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  return call<Hex>(wallet.provider, "personal_sign", [hex, address]);
}

/** An EIP-712 signature of that account, after the message was shown with what its fields mean. */
export async function sign_message(
  account: Address, domain: Domain, type: MessageType, message: Message, title: string, explain: (name: string, value: Message[string]) => string,
): Promise<Hex> {
  await to_market_chain();
  must_be(account);
  const rows = message_types[type].map(({ name }): [string, string] => [name, explain(name, message[name]!)]);
  await agree(title, `Signed for contract ${domain.verifyingContract} on chain ${domain.chainId}. A signature costs nothing.`, rows);
  const { wallet } = must_be(account);
  const typed = {
    domain,
    types: {
      EIP712Domain: [
        { name: "name", type: "string" }, { name: "version", type: "string" },
        { name: "chainId", type: "uint256" }, { name: "verifyingContract", type: "address" },
      ],
      [type]: message_types[type],
    },
    primaryType: type,
    message: Object.fromEntries(Object.entries(message).map(([name, value]) => [name, typeof value === "bigint" ? value.toString() : value])),
  };
  return call<Hex>(wallet.provider, "eth_signTypedData_v4", [account, JSON.stringify(typed)]);
}

const wait_ms = 500;
const waits_max = 600;

/** Sends a transaction of that account and waits until it is in a block; WalletError when it was reverted. */
export async function send(from: Address, to: Address, data: Hex, title: string, rows: [string, string][]): Promise<Hex> {
  await to_market_chain();
  must_be(from);
  await agree(title, `A transaction to contract ${to}. It costs the chain's fee.`, rows);
  const { wallet } = must_be(from);
  const hash = await call<Hex>(wallet.provider, "eth_sendTransaction", [{ from, to, data }]);
  for (let i = 0; i < waits_max; ++i) {
    const receipt = await call<{ status: Hex } | null>(wallet.provider, "eth_getTransactionReceipt", [hash]);
    if (receipt) {
      if (BigInt(receipt.status) !== 1n) throw new WalletError(`The contract refused it: transaction ${hash} was reverted.`);
      return hash;
    }
    await new Promise((resolve) => setTimeout(resolve, wait_ms));
  }
  throw new WalletError(`Transaction ${hash} is not in a block yet. It may still come: look again later.`);
}
