// SPDX-License-Identifier: Apache-2.0
// The public x402 client, as callers without an account use it.
import { registerExactEvmScheme } from "@x402/evm/exact/client";
import { UptoEvmScheme, createPermit2ApprovalTx } from "@x402/evm/upto/client";
import { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } from "@x402/fetch";

export { createPermit2ApprovalTx, decodePaymentResponseHeader };
export { createPublicClient, erc20Abi, http, parseEventLogs } from "viem";

/**
 * `fetch` that pays from a viem account; `token` is what it may spend, which is no stable coin the client knows. By
 * "upto" it signs for the most a call can cost, else for exactly that.
 */
export function paying_fetch(account, chain_id, token, base = fetch, { scheme = "exact" } = {}) {
  const network = `eip155:${chain_id}`;
  const client = new x402Client();
  if (scheme === "upto") client.register(network, new UptoEvmScheme(account));
  else registerExactEvmScheme(client, { signer: account });
  client.setSpendControls({ allowedAssets: [{ network, asset: token }] });
  return wrapFetchWithPayment(base, client);
}
