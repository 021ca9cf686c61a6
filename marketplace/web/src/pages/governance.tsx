// SPDX-License-Identifier: Apache-2.0
// Who may change what: fee, treasury, timelock. All of it is read from the chain.
import { useState } from "preact/hooks";
import { formatUnits, type Hex, type PublicClient } from "viem";
import { market_info } from "../lib/api";
import type { Watch, WalkProgress } from "../lib/block_walk";
import { chain, escrow_abi, has_chain, rpc_url, timelock_abi, token_abi, treasury_abi } from "../lib/chain";
import { read_events } from "../lib/chain_events";
import { describe_call } from "../lib/decisions";
import { date_time, duration, tokens, words } from "../lib/format";
import { connected } from "../lib/wallet";
import { BlocksRead, NodeChoice } from "../ui/node";
import { Empty, Failure, Hash, Panel, State, useLoad } from "../ui/parts";

interface Decision {
  id: Hex;
  target: Hex;
  data: Hex;
  state: "waits" | "done" | "cancelled";
  due_ms: number;
}

type TimelockEvents = Awaited<ReturnType<typeof read_timelock_events>>;
const read_timelock_events = (client: PublicClient, timelock: Hex, first: bigint, last: bigint, watch: Watch) =>
  read_events(client, { address: timelock, abi: timelock_abi, names: ["CallScheduled", "CallExecuted", "Cancelled"], first, last, what: "the timelock's decisions", watch });

/** What was read before: decisions are added, never changed. Of one node only, since it is that node's word. */
let known: { node: string; events: TimelockEvents; next: bigint } = { node: "", events: [], next: 0n };
/** Blocks that may still be replaced are read again. */
const settled_depth = 64n;

async function timelock_events(client: PublicClient, timelock: Hex, from: bigint, watch: Watch): Promise<TimelockEvents> {
  const node = `${rpc_url.value} ${timelock}`;
  const before = known.node === node ? known : { node, events: [], next: from };
  const head = await client.getBlockNumber();
  const events = [...before.events, ...(await read_timelock_events(client, timelock, before.next, head, watch))];
  const settled = head > settled_depth ? head - settled_depth : 0n;
  const next = settled + 1n > before.next ? settled + 1n : before.next;
  known = { node, events: events.filter(({ blockNumber }) => blockNumber < next), next };
  return events;
}

/** What the timelock holds: decisions that wait, are done or were cancelled. */
async function read_timelock(client: PublicClient, timelock: Hex, from: bigint, watch: Watch) {
  const [delay_s, events] = await Promise.all([
    client.readContract({ address: timelock, abi: timelock_abi, functionName: "getMinDelay" }),
    timelock_events(client, timelock, from, watch),
  ]);
  const scheduled = events.flatMap((event) => (event.eventName === "CallScheduled" ? [event] : []));
  const executed = events.filter(({ eventName }) => eventName === "CallExecuted");
  const cancelled = events.filter(({ eventName }) => eventName === "Cancelled");
  const done = new Set(executed.map(({ args }) => args.id));
  const dropped = new Set(cancelled.map(({ args }) => args.id));
  const decisions = await Promise.all(scheduled.map(async ({ args }): Promise<Decision> => {
    const due_s = await client.readContract({ address: timelock, abi: timelock_abi, functionName: "getTimestamp", args: [args.id] });
    const state = done.has(args.id) ? "done" : dropped.has(args.id) ? "cancelled" : "waits";
    return { id: args.id, target: args.target, data: args.data, state, due_ms: Number(due_s) * 1_000 };
  }));
  return { delay_s, decisions };
}

async function read_governance(watch: Watch) {
  const { deployment } = await market_info();
  const client = await chain();
  const treasury = { address: deployment.treasury, abi: treasury_abi } as const;
  const [fee_bps, fee_bps_max, owner, held, [, , earned], liabilities, escrow_tokens] = await Promise.all([
    client.readContract({ ...treasury, functionName: "feeBps" }),
    client.readContract({ ...treasury, functionName: "MAX_FEE_BPS" }),
    client.readContract({ ...treasury, functionName: "owner" }),
    client.readContract({ address: deployment.token, abi: token_abi, functionName: "balanceOf", args: [deployment.treasury] }),
    client.readContract({ address: deployment.escrow, abi: escrow_abi, functionName: "accounts", args: [deployment.treasury] }),
    client.readContract({ address: deployment.escrow, abi: escrow_abi, functionName: "liabilities" }),
    client.readContract({ address: deployment.token, abi: token_abi, functionName: "balanceOf", args: [deployment.escrow] }),
  ]);
  const timelock = deployment.timelock ? await read_timelock(client, deployment.timelock, BigInt(deployment.block), watch) : null;
  const token = deployment.governance_token && {
    supply: await client.readContract({ address: deployment.governance_token, abi: token_abi, functionName: "totalSupply" }),
    symbol: await client.readContract({ address: deployment.governance_token, abi: token_abi, functionName: "symbol" }),
  };
  return { fee_bps, fee_bps_max, owner, held, earned, liabilities, escrow_tokens, timelock, token };
}

/** The newest first. */
function Queue({ decisions, contracts, token }: { decisions: Decision[]; contracts: [string, string][]; token: Hex }) {
  const name_of = (address: Hex) => contracts.find(([, known]) => known.toLowerCase() === address.toLowerCase())?.[0];
  return (
    <ul class="findings">
      {[...decisions].reverse().map(({ id, target, data, state, due_ms }) => (
        <li key={id}>
          <State name={state} /> {name_of(target) ? <b>{words(name_of(target)!)}</b> : <Hash value={target} />} {describe_call(data, token)}
          <div class="hint">Decision <Hash value={id} />{state === "waits" && `, ${due_ms <= Date.now() ? "may be carried out by anybody now" : `may be carried out by anybody from ${date_time(due_ms)}`}`}</div>
        </li>
      ))}
    </ul>
  );
}

export function GovernancePage() {
  const info = useLoad(market_info, []);
  const [progress, set_progress] = useState<WalkProgress | null>(null);
  const facts = useLoad(async () => (has_chain() ? read_governance({ told: set_progress }) : null), [rpc_url.value, connected.value?.address], 15_000);
  const value = facts.value;
  const contracts = Object.entries(info.value?.deployment ?? {})
    .map(([name, address]): [string, string] => [name, String(address)])
    .filter(([, address]) => /^0x[0-9a-fA-F]{40}$/.test(address));
  return (
    <>
      <h1>Governance</h1>
      <p class="lead">The fee can change only on chain, up to a cap in the code; no key can move what accounts hold.</p>
      <Failure error={facts.error ?? info.error} />
      <NodeChoice />
      {!value && !facts.error && progress && <BlocksRead progress={progress} />}
      {!value && !facts.error && <Empty>{has_chain() ? "Reading the chain…" : "Name a node above, or connect a wallet on the account page: these figures come from the chain alone."}</Empty>}
      {value && (
        <>
          <div class="figures">
            <div class="figure"><b>{value.fee_bps / 100} %</b><span>fee of what is paid (at most {value.fee_bps_max / 100} %)</span></div>
            <div class="figure"><b>{tokens(value.earned)}</b><span>treasury's, in escrow</span></div>
            <div class="figure"><b>{tokens(value.held)}</b><span>in the treasury</span></div>
            <div class="figure"><b>{tokens(value.escrow_tokens)}</b><span>tokens in escrow</span></div>
            <div class="figure"><b>{tokens(value.liabilities)}</b><span>owed to accounts: {value.escrow_tokens >= value.liabilities ? "covered" : "not covered"}</span></div>
          </div>
          <Panel title="Who decides">
            <dl class="facts">
              <dt>Treasury's owner</dt><dd><Hash value={value.owner} /> {value.timelock ? (value.owner === info.value?.deployment.timelock ? "(the timelock)" : "(not the timelock)") : "(no timelock is deployed)"}</dd>
              {value.timelock && [<dt key="delay">Decisions wait</dt>, <dd key="delay value">{duration(Number(value.timelock.delay_s) * 1_000)}</dd>]}
              {value.token && [<dt key="token">Votes</dt>, <dd key="token value">{formatUnits(value.token.supply, 18)} {value.token.symbol}</dd>]}
            </dl>
          </Panel>
          <Panel title="Timelock's queue">
            {(value.timelock?.decisions.length ?? 0) === 0 ? <Empty>{value.timelock ? "Nothing waits, nothing was decided yet." : "This deployment has no timelock: its owner decides alone."}</Empty> : (
              <Queue decisions={value.timelock!.decisions} contracts={contracts} token={info.value!.deployment.token} />
            )}
          </Panel>
        </>
      )}
      <Panel title="Contracts">
        <dl class="facts">{contracts.map(([name, address]) => [<dt key={name}>{words(name)}</dt>, <dd key={`${name} value`}><Hash value={address} /></dd>])}</dl>
      </Panel>
    </>
  );
}
