// SPDX-License-Identifier: Apache-2.0
// What the chain itself says about a run, read from its events and transactions: the demo's figures and the
// end-to-end tests rest on this, not on what the market tells.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./chain.mjs";

export const abi_of = (contract) => {
  const document = JSON.parse(readFileSync(join(root, `contracts/abi/${contract}.json`), "utf8"));
  return document.abi ?? document;
};

/** Fields of the packed words of Leases' events, from the high end: [name, bits]. */
const packed = {
  terms: [["unitKind", 40], ["price", 64], ["maxUnits", 48], ["locked", 48], ["expiry", 40], ["feeBps", 16]],
  totals: [["sequence", 64], ["cumulativeUnits", 48], ["cumulativeAmount", 48], ["paid", 48], ["fee", 48]],
};

function unpack(args) {
  const [word, fields] = Object.entries(packed).find(([name]) => name in args) ?? ["", []];
  const out = { ...args };
  let shift = 256n;
  for (const [name, bits] of fields) {
    shift -= BigInt(bits);
    out[name] = BigInt.asUintN(bits, args[word] >> shift);
  }
  return out;
}

/** All events of one contract since its deployment, oldest first. */
export async function events(chain, deployment, contract, key) {
  const found = await chain.client.getContractEvents({
    address: deployment[key],
    abi: abi_of(contract),
    fromBlock: BigInt(deployment.block ?? 0),
    strict: true,
  });
  return found.map((event) => ({ ...event, args: unpack(event.args ?? {}) }));
}

/** Leases, payments and gas of the operator's transactions since the deployment; amounts in atoms. */
export async function settlement_totals(chain, deployment) {
  const of_leases = await events(chain, deployment, "Leases", "leases");
  const of_log = await events(chain, deployment, "ReceiptLog", "receipt_log");
  const anchors = of_log.filter((event) => event.eventName === "Anchored");
  const sum = (name, field) =>
    of_leases.filter((event) => event.eventName === name).reduce((total, event) => total + event.args[field], 0n);
  const named = (name) => of_leases.filter((event) => event.eventName === name);

  // A lease's last claim says how many units and how much it was paid for in all.
  const leases = new Map(named("LeaseOpened").map(({ args }) => [args.lease, { ...args, units: 0n, paid: 0n, refunded: 0n, closed: false }]));
  for (const { args } of named("Claimed")) {
    const lease = leases.get(args.lease);
    lease.units = args.cumulativeUnits;
    lease.paid += args.paid;
    lease.receiptsRoot = args.receiptsRoot;
  }
  for (const { args } of named("LeaseClosed")) {
    const lease = leases.get(args.lease);
    lease.refunded = args.refunded;
    lease.closed = true;
    lease.reason = args.reason;
  }

  const hashes = new Set([...of_leases.filter((event) => event.args.lease), ...anchors].map((event) => event.transactionHash));
  let gas_used = 0n;
  for (const hash of hashes) gas_used += (await chain.client.getTransactionReceipt({ hash })).gasUsed;
  return {
    leases,
    failed_items: named("ItemFailed").length,
    claims: named("Claimed").length,
    anchors: anchors.length,
    transactions: hashes.size,
    gas_used,
    locked: sum("LeaseOpened", "locked"),
    paid: sum("Claimed", "paid"),
    fee: sum("Claimed", "fee"),
    refunded: sum("LeaseClosed", "refunded"),
  };
}

/** Paid and refunded of every closed lease make exactly what was locked, and the contract holds what it owes. */
export function unexplained(totals) {
  const odd = [];
  for (const [id, lease] of totals.leases) {
    if (lease.closed && lease.paid + lease.refunded !== lease.locked) {
      odd.push(`${id}: paid ${lease.paid} and refunded ${lease.refunded} of ${lease.locked} locked`);
    }
  }
  return odd;
}
