// SPDX-License-Identifier: Apache-2.0
// Sign-In with Ethereum (ERC-4361).
import type { Address } from "viem";
import { get, post, set_session } from "./api";
import { connected, sign_text, to_market_chain, WalletError } from "./wallet";

export async function sign_in(): Promise<void> {
  await to_market_chain();
  const address = connected.value?.address;
  if (!address) throw new WalletError("Connect a wallet first.");
  const { nonce, chain_id } = await get<{ nonce: string; chain_id: number }>("/v1/auth/nonce");
  const now = Date.now();
  const message =
    `${location.host} wants you to sign in with your Ethereum account:\n${address}\n\nSign in to Millrace.\n\n` +
    `URI: ${location.origin}\nVersion: 1\nChain ID: ${chain_id}\nNonce: ${nonce}\nIssued At: ${new Date(now).toISOString()}`;
  const signature = await sign_text(message);
  const answer = await post<{ token: string; address: Address; expires_ms: number }>("/v1/auth/siwe", { message, signature });
  set_session({ token: answer.token, address: answer.address, expires_ms: answer.expires_ms });
}
