#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Gas of the market's transactions as a chain charges them: base, call data (EIP-7623) and execution.
// Prints one JSON object; --write stores it as test/gas/snapshot.json, --check fails when a figure
// is more than 1 % above the stored one.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { keccak256, sha256, concat, toHex, zeroHash } from 'viem';
import { packClaims, root, startMarket } from './market.mjs';

const node = (left, right) => sha256(concat(['0x01', left, right]));

function splitOf(size) {
  let k = 1;
  while (k * 2 < size) k *= 2;
  return k;
}

/// RFC 9162 tree over made-up leaves; roots of ranges are remembered.
function makeTree() {
  const known = new Map();
  const rootOf = (from, to) => {
    const name = `${from},${to}`;
    let found = known.get(name);
    if (!found) {
      if (to - from === 1) {
        found = sha256(concat(['0x00', keccak256(toHex(from))]));
      } else {
        const k = splitOf(to - from);
        found = node(rootOf(from, from + k), rootOf(from + k, to));
      }
      known.set(name, found);
    }
    return found;
  };
  const subproof = (m, from, to, complete) => {
    if (m === to - from) return complete ? [] : [rootOf(from, to)];
    const k = splitOf(to - from);
    return m <= k
      ? [...subproof(m, from, from + k, complete), rootOf(from + k, to)]
      : [...subproof(m - k, from + k, to, false), rootOf(from, from + k)];
  };
  return { rootOf: (size) => rootOf(0, size), proof: (m, n) => subproof(m, 0, n, true) };
}

async function measure(market) {
  const figures = {};
  const failed = (receipt) => receipt.logs.some((log) => log.topics[0] === failedTopic);
  const failedTopic = keccak256(toHex('ItemFailed(bytes32,uint256,bytes)'));
  const gasOf = async (...call) => {
    const receipt = await market.send(...call);
    if (failed(receipt)) throw new Error(`an item of ${call[1]} failed`);
    return Number(receipt.gasUsed);
  };
  const providers = Array.from({ length: 10 }, (_, i) => `provider ${i}`);
  const buyers = Array.from({ length: 50 }, (_, i) => `buyer ${i}`);
  for (const name of providers) await market.addProvider(name);
  for (const name of buyers) await market.fund(name, 100_000_000n);
  const make = (count, salt, options) =>
    Promise.all(
      buyers.slice(0, count).map((buyer, i) =>
        market.openItem(providers[Math.floor((i * 10) / count)], buyer, salt, options(buyer))),
    );
  const plain = () => ({});
  const byDelegate = (buyer) => ({ delegate: `${buyer} delegate` });

  const open = (items) => gasOf('leases', 'open', [market.groupsOf(items)]);
  const claim = async (items, units) =>
    gasOf('leases', 'claim', [packClaims(await Promise.all(items.map((item) => market.claimItem(item, units))))]);
  figures.open_20_first = (await open(await make(20, 1, plain))) / 20;
  figures.open_20 = (await open(await make(20, 2, plain))) / 20;
  figures.open_20_delegated_first = (await open(await make(20, 3, byDelegate))) / 20;
  figures.open_20_delegated = (await open(await make(20, 4, byDelegate))) / 20;
  const sameAsk = await Promise.all(
    buyers.slice(0, 20).map((buyer) => market.openItem(providers[0], buyer, 7, {})));
  figures.open_20_of_one_ask = (await open(sameAsk)) / 20;
  const single = await make(1, 9, plain);
  figures.open_1 = await open(single);

  const items = await make(50, 5, byDelegate);
  await open(items);
  figures.claim_50_first = (await claim(items, 10n)) / 50;
  figures.claim_50 = (await claim(items, 20n)) / 50;
  figures.claim_1 = await claim(items.slice(0, 1), 30n);

  const closeOf = (item) => ({ key: market.keyOf(item), parties: market.partiesOf(item), reason: 1 });
  const request = (some) => gasOf('leases', 'requestClose', [some.map(closeOf)]);
  const finalize = (some) =>
    gasOf('leases', 'finalizeClose', [some.map((item) => ({ key: market.keyOf(item), parties: market.partiesOf(item) }))]);
  figures.close_request = await request(items.slice(0, 1));
  figures.close_finalize = await finalize(items.slice(0, 1));
  figures.close_request_20 = (await request(items.slice(1, 21))) / 20;
  figures.close_finalize_20 = (await finalize(items.slice(1, 21))) / 20;

  // Leases of 10,000 receipts, opened in batches of 20 and 30, closed by the claim of their last unit in one of 50.
  const long = await make(50, 6, () => ({ units: 10_000n }));
  const opened = (await open(long.slice(0, 20))) / 20;
  await open(long.slice(20));
  figures.claim_50_closing = (await claim(long, 10_000n)) / 50;
  figures.receipt_of_10000 = (opened + figures.claim_50_closing) / 10_000;

  const gasAs = async (address, ...call) =>
    Number((await market.asAccount(address, 'leases', ...call)).gasUsed);
  const unsold = await market.openItem(providers[9], buyers[49], 1_000, {});
  figures.cancel_ask = await gasAs(unsold.ask.provider, 'cancelAsk', [unsold.ask]);
  figures.cancel_bid = await gasAs(unsold.bid.buyer, 'cancelBid', [unsold.bid]);

  // A worker that signs two receipts of one sequence.
  const [good, parties] = [market.leaseOf(items[49]), market.partiesOf(items[49])];
  const receipt = market.receiptOf(good, 1n, 'one');
  const other = market.receiptOf(good, 1n, 'other');
  const byWorker = (message) => market.sign('Receipt', message, `${items[49].names.provider} worker`);
  figures.prove_equivocation = await gasOf('disputes', 'proveEquivocation', [
    good, parties, receipt, await byWorker(receipt), other, await byWorker(other)]);

  // A worker whose buyer signs no more: its receipt in place of a voucher, then the payment.
  const lone = items[48];
  const last = market.receiptOf(market.leaseOf(lone), 40n, 'last');
  const byItsWorker = await market.sign('Receipt', last, `${lone.names.provider} worker`);
  figures.claim_alone = await gasAs(lone.ask.provider, 'claimAlone', [
    [{ parties: market.partiesOf(lone), receipt: last, signature: byItsWorker }]]);
  figures.pay_alone = await gasOf('leases', 'payAlone', [
    [{ key: market.keyOf(lone), parties: market.partiesOf(lone) }]]);

  const tree = makeTree();
  let newest = { size: 0n, root: zeroHash, timeMs: 0n };
  for (const next of [1_000, 2_000, 5_000, 100_000]) {
    const head = { size: BigInt(next), root: tree.rootOf(next), timeMs: BigInt(1_750_000_000_000 + next) };
    const proof = newest.size === 0n ? [] : tree.proof(Number(newest.size), next);
    figures[`anchor_${next}`] = await gasOf('receiptLog', 'anchor', [newest, head, '0x', proof]);
    newest = head;
  }
  // By somebody else, with the operator's signature; from a complete tree the proof is a single node.
  for (const next of [131_072, 262_144]) {
    const head = { size: BigInt(next), root: tree.rootOf(next), timeMs: newest.timeMs + 1n };
    const signature = await market.sign('TreeHead', head, 'operator');
    const proof = tree.proof(Number(newest.size), next);
    const call = ['receiptLog', 'anchor', [newest, head, signature, proof]];
    figures[`anchor_${next}_by_anybody`] = await gasOf(...call, market.deployer);
    newest = head;
  }
  return figures;
}

const market = await startMarket();
let figures;
try {
  figures = await measure(market);
} finally {
  market.stop();
}
const text = JSON.stringify(figures, null, 2);
console.log(text);
const file = join(root, 'test/gas/snapshot.json');
if (process.argv.includes('--write')) writeFileSync(file, `${text}\n`);
if (process.argv.includes('--check')) {
  const stored = JSON.parse(readFileSync(file, 'utf8'));
  const worse = Object.keys(figures).filter((name) => !(figures[name] <= stored[name] * 1.01));
  for (const name of worse) console.error(`gas: ${name} is ${figures[name]}, was ${stored[name]}`);
  if (worse.length > 0) process.exit(1);
}
