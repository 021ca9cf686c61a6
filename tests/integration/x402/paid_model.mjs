// SPDX-License-Identifier: Apache-2.0
// What the tests of x402 share: a market that takes payments by the call for a tiny model that the buyer's account serves.
import assert from "node:assert/strict";
import { deposit_with_permit, dev_keys, privateKeyToAccount } from "../../../scripts/lib/chain.mjs";
import { write_tiny_folder } from "../text/tiny_folder.mjs";

/** The account whose leases serve the calls, and which is paid. */
export const house = privateKeyToAccount(dev_keys.buyer);

/** Starts chain, signer, market and worker of a Devnet, and serves the model "tiny"; `setup` and `serve` are more options of the two commands. */
export async function serve_to_guests(net, settings, { setup = [], serve }) {
  await net.start_chain();
  await net.start_signer({ policy: ["--x402"] });
  await net.start_market(settings);
  await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 100_000_000);
  await net.start_worker("worker", "provider1", { setup: ["--threads", "2", ...setup] });
  await net.make_wallet("buyer");
  await net.processes.until("market", "the deposit to be seen", async () =>
    Number((await net.rest.get(`/v1/accounts/${house.address}`)).available) >= 100_000_000);
  write_tiny_folder(net.file("tiny"));
  await net.cli("buyer", "publish", "tiny", "--folder", net.file("tiny"), "--weights", "fp32");
  assert.equal((await net.cli("buyer", "serve", "tiny", ...serve, "--wait", "60")).state, "running");
}
