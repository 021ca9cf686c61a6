// SPDX-License-Identifier: Apache-2.0
// From a batch to its root, its receipts and its transaction; and everything recomputed here on request.
import { useEffect, useRef, useState } from "preact/hooks";
import type { Hex } from "viem";
import { get, type Lease, type List, type Settlement } from "../lib/api";
import { Stopped, type WalkProgress } from "../lib/block_walk";
import { rpc_url } from "../lib/chain";
import { count, date_time, kind_name, price_unit, tokens, unit_kinds, words } from "../lib/format";
import { find_receipt, receipts_of, verify_lease, type Finding, type FoundReceipt } from "../lib/verify";
import { connected } from "../lib/wallet";
import { BlocksRead, NodeChoice } from "../ui/node";
import { Empty, Failure, Hash, Panel, State, useAction, useLoad } from "../ui/parts";

const page_size = 100;
const pages_max = 100;

/** The newest batches; the market lists the oldest first. */
async function newest_settlements(): Promise<Settlement[]> {
  let kept: Settlement[] = [];
  let after = "0";
  for (let i = 0; i < pages_max; ++i) {
    const page = await get<List<Settlement>>(`/v1/settlements?limit=${page_size}&after=${after}`);
    kept = [...kept, ...page.data].slice(-page_size);
    if (!page.has_more || page.data.length === 0) break;
    after = page.data.at(-1)!.id;
  }
  return kept.reverse();
}

interface Head {
  size: number;
  witness: string | null;
  signed_head: { size: string; root: Hex; timeMs: string; cosignature: Hex | null } | null;
}

function Batches() {
  const batches = useLoad(newest_settlements, [], 5_000);
  const head = useLoad(() => get<Head>("/v1/log/head"), [], 5_000);
  const signed = head.value?.signed_head;
  return (
    <>
      <p class="lead">Every receipt is a leaf of one public log; its roots are anchored on chain, and money moves by batches of claims. Open a lease and press <i>Verify</i>: hashes, signatures and sums are recomputed in this browser, and held against the chain.</p>
      <Failure error={batches.error ?? head.error} />
      <Panel title="The log">
        <dl class="facts">
          <dt>Records</dt><dd>{head.value ? count(head.value.size) : "…"}</dd>
          <dt>Last signed head</dt><dd>{signed ? <>{count(signed.size)} records under <Hash value={signed.root} />, {date_time(Number(signed.timeMs))}</> : "none yet"}</dd>
          <dt>Witness</dt><dd>{head.value?.witness ? <Hash value={head.value.witness} /> : "none is asked"}</dd>
        </dl>
      </Panel>
      <Panel title="Batches">
        {batches.value?.length === 0 && <Empty>No transaction yet: the first follows the first lease.</Empty>}
        {batches.value && batches.value.length > 0 && (
          <div class="scroll" tabIndex={0} role="group" aria-label="Batches">
            <table>
              <thead><tr><th>Batch</th><th>What</th><th>State</th><th>Made</th><th class="n">Gas</th><th>Transaction</th><th>Leases</th></tr></thead>
              <tbody>
                {batches.value.map((batch) => (
                  <tr key={batch.id}>
                    <td class="n">{batch.id}</td><td>{words(batch.kind)}</td><td><State name={batch.state} /></td><td>{date_time(batch.created_ms)}</td><td class="n">{count(batch.gas_used)}</td>
                    <td>{batch.transaction ? <Hash value={batch.transaction} /> : "–"}</td>
                    <td class="wrap">{batch.leases.length === 0 ? "–" : batch.leases.map((lease) => <span key={lease}><a class="mono" href={`/app/settlement/lease/${lease}`}>{lease.slice(0, 10)}</a> </span>)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
    </>
  );
}

const Findings = ({ findings }: { findings: Finding[] }) => (
  <>
    <div class={`note ${findings.every(({ ok }) => ok) ? "good" : "bad"}`} role="status" id="verdict">
      {findings.every(({ ok }) => ok) ? `Verified: ${findings.length} of ${findings.length} checks hold.` : `${findings.filter(({ ok }) => !ok).length} of ${findings.length} checks do not hold.`}
    </div>
    <ul class="findings">
      {findings.map(({ what, ok, detail }) => <li key={what}><span class={`tag ${ok ? "good" : "bad"}`}>{ok ? "holds" : "does not hold"}</span> <b>{what}</b>: <span class="mono">{detail}</span></li>)}
    </ul>
  </>
);

/** A lease with its receipts; `shown` is the one that a reader came for. */
function LeaseView({ id, shown }: { id: Hex; shown: FoundReceipt | undefined }) {
  const lease = useLoad(() => get<Lease>(`/v1/leases/${id}`), [id], 5_000);
  const value = lease.value;
  const receipts = useLoad(async () => (value ? receipts_of(value) : []), [id, value?.sequence]);
  const batches = useLoad(async () => (await newest_settlements()).filter((batch) => batch.leases.includes(id)), [id, value?.state]);
  const [findings, set_findings] = useState<Finding[] | null>(null);
  const [progress, set_progress] = useState<WalkProgress | null>(null);
  const stop = useRef(new AbortController());
  useEffect(() => () => stop.current.abort(), []);
  const verify = useAction(async () => {
    set_findings(null);
    stop.current = new AbortController();
    try {
      const now = await get<Lease>(`/v1/leases/${id}`);
      set_findings(await verify_lease(now, await receipts_of(now), shown, { told: set_progress, signal: stop.current.signal }));
    } catch (error) {
      if (!(error instanceof Stopped)) throw error;
    } finally {
      set_progress(null);
    }
  });
  if (!value) return <><Failure error={lease.error} />{!lease.error && <Empty>Loading…</Empty>}</>;
  return (
    <>
      <NodeChoice />
      <Panel title="Verify" tools={<button type="button" class="main" disabled={verify.busy || !(rpc_url.value || connected.value)} onClick={() => verify.run()}>{verify.busy ? "Verifying…" : "Verify"}</button>}>
        <p class="hint">Reads the records from the market and the rest from your node; nothing is taken on trust but your node and this page's code.</p>
        {progress && <><BlocksRead progress={progress} /><p><button type="button" onClick={() => stop.current.abort()}>Stop</button></p></>}
        <Failure error={verify.error} />
        {findings && <Findings findings={findings} />}
      </Panel>
      <div class="grid">
        <Panel title="Lease">
          <dl class="facts">
            <dt>Lease</dt><dd><Hash value={value.id} /></dd>
            <dt>State</dt><dd><State name={value.state} /> {value.close_reason !== "none" && words(value.close_reason)}</dd>
            <dt>Job</dt><dd><a class="mono" href={`/app/jobs/${value.job}`}>{value.job.slice(0, 12)}</a></dd>
            <dt>Buyer</dt><dd><Hash value={value.buyer} /></dd>
            <dt>Provider</dt><dd><Hash value={value.provider} href={`/app/provider/${value.provider}`} /></dd>
            <dt>Worker key</dt><dd><Hash value={value.worker} /></dd>
            <dt>Price</dt><dd>{tokens(value.price)} per {price_unit(value.unit_kind)}</dd>
            <dt>Metered</dt><dd>{count(value.units)} of {count(value.max_units)}: {kind_name(value.unit_kind).toLowerCase()}</dd>
            <dt>Owed</dt><dd>{tokens(value.amount)} by receipts, {tokens(value.voucher_amount)} by voucher</dd>
            <dt>Paid</dt><dd>{tokens(value.claimed)}, of it {tokens(value.fee)} fee; {tokens(value.refunded)} refunded of {tokens(value.locked)} locked</dd>
            <dt>Receipts root</dt><dd><Hash value={value.receipts_root} /></dd>
          </dl>
        </Panel>
        <Panel title="Transactions">
          {batches.value?.length === 0 && <Empty>None among the newest batches.</Empty>}
          <ul class="findings">
            {batches.value?.map((batch) => <li key={batch.id}>{words(batch.kind)} <State name={batch.state} /> {batch.transaction && <Hash value={batch.transaction} />}</li>)}
          </ul>
        </Panel>
      </div>
      <Panel title="Receipts">
        <Failure error={receipts.error} />
        {receipts.value?.length === 0 && <Empty>No receipt yet.</Empty>}
        {receipts.value && receipts.value.length > 0 && (
          <div class="scroll" tabIndex={0} role="group" aria-label="Receipts">
            <table>
              <thead><tr><th class="n">No.</th><th>Receipt</th><th class="n">Log record</th><th class="n">Units so far</th><th class="n">Amount so far</th><th>Worked until</th></tr></thead>
              <tbody>
                {receipts.value.map(({ hash, index, message }) => (
                  <tr key={hash} aria-current={hash === shown?.hash ? "true" : undefined}>
                    <td class="n">{String(message.sequence)}</td><td><Hash value={hash} href={`/app/settlement/receipt/${hash}`} /></td><td class="n">{count(index)}</td>
                    <td class="n">{count(message.cumulativeUnits as bigint)}</td><td class="n">{tokens(message.cumulativeAmount as bigint)}</td><td>{date_time(Number(message.endMs))}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
    </>
  );
}

function ReceiptView({ hash }: { hash: Hex }) {
  const found = useLoad(() => find_receipt(hash), [hash]);
  const receipt = found.value;
  if (found.error) return <Failure error={found.error} />;
  if (!receipt) return <Empty>Looking for the receipt in the log: it may be a moment before it is there, and records that are long past are found by their lease.</Empty>;
  const { message } = receipt;
  const kind = unit_kinds[Number(message.unitKind)]!;
  return (
    <>
      <Panel title="Receipt">
        <dl class="facts">
          <dt>Receipt</dt><dd><Hash value={receipt.hash} /></dd>
          <dt>Lease, number</dt><dd><Hash value={message.lease as Hex} href={`/app/settlement/lease/${message.lease}`} />, {String(message.sequence)}</dd>
          <dt>Units so far</dt><dd>{count(message.cumulativeUnits as bigint)} ({kind_name(kind).toLowerCase()})</dd>
          <dt>Amount so far</dt><dd>{tokens(message.cumulativeAmount as bigint)} at {tokens(message.price as bigint)} per {price_unit(kind)}</dd>
          <dt>Request, answer</dt><dd><Hash value={message.requestHash as Hex} />, <Hash value={message.responseHash as Hex} /></dd>
          <dt>Log record</dt><dd>{count(receipt.index)}</dd>
        </dl>
      </Panel>
      <LeaseView id={message.lease as Hex} shown={receipt} />
    </>
  );
}

const is_hash = (text: string | undefined): text is Hex => /^0x[0-9a-f]{64}$/.test(text ?? "");

export function SettlementPage({ rest: [what, id] }: { rest: string[] }) {
  const lease = what === "lease" && is_hash(id);
  const receipt = what === "receipt" && is_hash(id);
  return (
    <>
      <h1>Settlement</h1>
      {(lease || receipt) && <p><a href="/app/settlement">All batches</a></p>}
      {lease ? <LeaseView id={id} shown={undefined} /> : receipt ? <ReceiptView hash={id} /> : <Batches />}
    </>
  );
}
