// SPDX-License-Identifier: Apache-2.0
// The public x402 client, as callers without an account use it.
import { registerExactEvmScheme } from "@x402/evm/exact/client";
import { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } from "@x402/fetch";

export { decodePaymentResponseHeader };
export { createPublicClient, erc20Abi, http, parseEventLogs } from "viem";

/** `fetch` that pays from a viem account; `token` is what it may spend, which is no stable coin the client knows. */
export function paying_fetch(account, chain_id, token, base = fetch) {
  const network = `eip155:${chain_id}`;
  const client = new x402Client();
  registerExactEvmScheme(client, { signer: account });
  client.setSpendControls({ allowedAssets: [{ network, asset: token }] });
  return wrapFetchWithPayment(base, client);
}
