// SPDX-License-Identifier: Apache-2.0
// A worker whose vouchers do not come: what it is paid by its receipts alone, and what the market refuses.
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { abi_of, events } from "../../scripts/lib/chain_totals.mjs";
import {
  createWalletClient, deposit_with_permit, dev_keys, generatePrivateKey, hashStruct, http, privateKeyToAccount, root,
} from "../../scripts/lib/chain.mjs";
import { Devnet } from "../../scripts/lib/devnet.mjs";
import { message_types, small_text_spec } from "../../scripts/lib/rest.mjs";
import { ScriptedWorker } from "../../scripts/lib/scripted_worker.mjs";
import { register_worker } from "../../scripts/lib/worker_socket.mjs";

const folder = join(root, "build/test/alone");
const window_s = 16;
const buyer = privateKeyToAccount(dev_keys.buyer);
const machine = {
  cpu_cores: 2, gpu_count: 1, gpu_model: "cpu", max_flops_per_step: 1_000_000_000_000, ram_mib: 4096, region: "local",
  runtime: "libtorch-1.13.1-cpu", vram_mib: 4096,
};
let net;
let blob;
const workers = []; // one for each test: they run side by side, for a close waits long for a voucher

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain({ "min-bond": 0, "close-window": window_s });
  await net.start_signer();
  await net.start_market({ anchor_every_ms: 1_000 });
  await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 100_000_000);
  await net.make_wallet("auditor", "deployer");
  await net.make_wallet("buyer", "buyer");
  await net.rest.sign_in(buyer);
  for (let i = 0; i < 4; ++i) await add_worker();
  blob = await net.rest.upload("It was the best of times, it was the worst of times. ".repeat(200));
});
after(async () => {
  await Promise.all(workers.map((worker) => worker.stop()));
  await net?.stop();
});

async function add_worker() {
  const [provider_key, worker_key] = [generatePrivateKey(), generatePrivateKey()];
  const [provider, { address }] = [privateKeyToAccount(provider_key), privateKeyToAccount(worker_key)];
  for (const account of [provider.address, address]) await net.chain.test.setBalance({ address: account, value: 10n ** 18n });
  await register_worker(net.chain, net.deployment, provider_key, worker_key);
  const worker = new ScriptedWorker(net.market_url, provider.address, worker_key, machine, 10n);
  Object.assign(worker, { receipts_max: 2, signs_vouchers: false, key: worker_key });
  const ask = await net.rest.request("POST", "/v1/market/orders", { body: await net.rest.ask_body(provider, address) });
  assert.equal(ask.status, 201, ask.text);
  workers.push(worker);
}

const of_leases = async (name, lease) => (await events(net.chain, net.deployment, "Leases", "leases"))
  .filter((event) => event.eventName === name && event.args.lease === lease);
const until = (what, check) => net.processes.until("market", what, check, { timeout_ms: 90_000 });
const send = async (key, functionName, args) => {
  const wallet = createWalletClient({ account: privateKeyToAccount(key), chain: net.chain.chain, transport: http(net.chain.url) });
  const hash = await wallet.writeContract({ address: net.deployment.leases, abi: abi_of("Leases"), functionName, args });
  return net.chain.client.waitForTransactionReceipt({ hash });
};
const lone_claim = (lease) => net.chain.client.readContract({
  address: net.deployment.leases, abi: abi_of("Leases"), functionName: "loneClaim", args: [lease],
});
const parties_of = (lease) => ({
  buyer: lease.buyer, provider: lease.provider, voucherSigner: lease.voucher_signer, workerKey: lease.worker,
});
const key_of = (lease) => ({ askHash: lease.ask, bidHash: lease.bid, index: BigInt(lease.index) });

/** A job whose lease has two receipts and no voucher. */
async function lease_with_work() {
  const { id } = await net.rest.post_job(buyer, small_text_spec(blob));
  const lease = await until("two receipts", async () => {
    const [first] = await net.job_leases(id);
    return first?.sequence === "2" ? first : undefined;
  });
  const worker = workers.find(({ account }) => account.address.toLowerCase() === lease.worker.toLowerCase());
  return { id, lease, worker };
}

describe("claims by workers alone", { concurrency: true }, () => {

  test("receipts the market has are paid when the window is over, and the market's books follow", async () => {
    const { id, lease, worker } = await lease_with_work();
    const claim = await worker.signed_receipt(lease.id);
    await send(worker.key, "claimAlone", [[{ parties: parties_of(lease), ...claim }]]);
    const [receipt, units, , payable_at] = await lone_claim(lease.id);
    assert.equal(receipt, hashStruct({ data: claim.receipt, primaryType: "Receipt", types: { Receipt: message_types.Receipt } }));
    assert.equal(units, 20n);
    await until("the window to be over", async () => (await net.chain.client.getBlock()).timestamp >= payable_at);
    assert.deepEqual(await of_leases("Objected", lease.id), [], "the market has these receipts");
    await send(dev_keys.deployer, "payAlone", [[{ key: key_of(lease), parties: parties_of(lease) }]]);
    const [paid] = await of_leases("Claimed", lease.id);
    assert.equal(paid.args.paid, claim.receipt.cumulativeAmount);
    await until("the market to see the payment", async () => (await net.job_leases(id))[0].claimed === String(claim.receipt.cumulativeAmount));
    await net.rest.request("POST", `/v1/jobs/${id}/cancel`, {});
    const [closed] = await net.settled(id);
    assert.equal(closed.claimed, String(claim.receipt.cumulativeAmount));
    await net.anchored();
    const report = await net.cli("auditor", "audit", "--lease", lease.id);
    assert.equal(report.ok, true, JSON.stringify(report.findings));
    assert.equal(report.lone_claims, 1);
  });

  test("the market objects to receipts it was never given, and the lease still comes to its end", async () => {
    const { id, lease, worker } = await lease_with_work();
    const claim = await worker.signed_receipt(lease.id, { beyond: true });
    await send(worker.key, "claimAlone", [[{ parties: parties_of(lease), ...claim }]]);
    const [objected] = await until("the market to object", async () => {
      const found = await of_leases("Objected", lease.id);
      return found.length > 0 ? found : undefined;
    });
    const claimed = await of_leases("ClaimedAlone", lease.id);
    const at = async (event) => Number((await net.chain.client.getBlock({ blockNumber: event.blockNumber })).timestamp);
    assert.ok(await at(objected) >= Number(claimed[0].args.payableAt) - window_s / 2 - 1, "the worker had half of the window");
    assert.deepEqual((await lone_claim(lease.id)).slice(1), [0n, 0n, 0n, true]);
    await send(worker.key, "claimAlone", [[{ parties: parties_of(lease), ...claim }]]);
    assert.equal((await of_leases("ItemFailed", lease.id)).length, 1, "no second claim is taken");
    await net.rest.request("POST", `/v1/jobs/${id}/cancel`, {});
    const [closed] = await net.settled(id);
    assert.equal(closed.claimed, "0", "no voucher, no claim alone: nothing is paid");
  });

  test("a claim alone that comes while a close is under way holds it up, and the market waits for it", async () => {
    const { id, lease, worker } = await lease_with_work();
    const claim = await worker.signed_receipt(lease.id);
    await net.rest.request("POST", `/v1/jobs/${id}/cancel`, {});
    await until("the request to close", async () => (await of_leases("CloseRequested", lease.id)).length > 0);
    await send(worker.key, "claimAlone", [[{ parties: parties_of(lease), ...claim }]]);
    const [closed] = await net.settled(id);
    assert.equal(closed.claimed, String(claim.receipt.cumulativeAmount), "paid by the close");
  });

  test("the buyer itself objects with one command, and only it or its voucher signer", async () => {
    const { id, lease, worker } = await lease_with_work();
    await assert.rejects(net.cli("buyer", "object", lease.id), /claims nothing alone/);
    await send(worker.key, "claimAlone", [[{ parties: parties_of(lease), ...await worker.signed_receipt(lease.id) }]]);
    await assert.rejects(net.cli("auditor", "object", lease.id), /forbidden/);
    const answer = await net.cli("buyer", "object", lease.id);
    const [objected] = await of_leases("Objected", lease.id);
    assert.equal(objected.transactionHash, answer.transaction);
    await assert.rejects(net.cli("buyer", "object", lease.id), /objection already/);
    await net.rest.request("POST", `/v1/jobs/${id}/cancel`, {});
    await net.settled(id);
  });
});

test("a provider whose market is gone collects vouchers and receipts straight from the chain", async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.stop()));
  await net.start_worker("w1", "provider1");
  const spec = small_text_spec(blob);
  const { id } = await net.rest.post_job(buyer, { ...spec, steps: 1_900, segment_steps: 20 });
  const when = (what, condition) => until(what, async () => {
    const [first] = await net.job_leases(id);
    return first && condition(first) ? first : undefined;
  });
  await when("a voucher", (one) => Number(one.voucher_sequence) > 0);
  await net.processes.kill9("signer");
  const lease = await when("receipts without a voucher", (one) => Number(one.sequence) > Number(one.voucher_sequence));
  await net.processes.kill9("market");
  const status = () => net.worker_command("w1", "status");
  await net.processes.stop("w1");
  const { promised, unpaid } = await status();
  const first = await net.worker_command("w1", "collect");
  assert.deepEqual(first.leases.map(({ lease: of, step, due }) => ({ of, step, due })), [{ of: lease.id, step: "wait", due: unpaid }]);
  const collected = async () => (await of_leases("Claimed", lease.id)).reduce((sum, event) => sum + event.args.paid, 0n);
  assert.equal(await collected(), BigInt(promised), "the vouchers are paid at once");
  assert.deepEqual(await net.worker_command("w1", "collect"), first, "nothing else to do yet");
  await net.processes.until("anvil", "the window to be over", async () =>
    Number((await net.chain.client.getBlock()).timestamp) >= first.leases[0].payable_at_s);
  assert.deepEqual(await net.worker_command("w1", "collect"), { leases: [] });
  assert.equal(await collected(), BigInt(promised) + BigInt(unpaid));
});
