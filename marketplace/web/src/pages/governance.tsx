// SPDX-License-Identifier: Apache-2.0
// Who may change what: fee, treasury, timelock. All of it is read from the chain.
import { formatUnits, type Hex, type PublicClient } from "viem";
import { market_info } from "../lib/api";
import { chain, escrow_abi, has_chain, rpc_url, timelock_abi, token_abi, treasury_abi } from "../lib/chain";
import { date_time, duration, tokens } from "../lib/format";
import { connected } from "../lib/wallet";
import { NodeChoice } from "../ui/node";
import { Empty, Failure, Hash, Panel, useLoad } from "../ui/parts";

interface Decision {
  id: Hex;
  target: Hex;
  data: Hex;
  state: string;
}

/** What the timelock holds: decisions that wait, are done or were cancelled. */
async function read_timelock(client: PublicClient, timelock: Hex, from: bigint) {
  const events = { address: timelock, abi: timelock_abi, fromBlock: from, strict: true } as const;
  const [delay_s, scheduled, executed, cancelled] = await Promise.all([
    client.readContract({ address: timelock, abi: timelock_abi, functionName: "getMinDelay" }),
    client.getContractEvents({ ...events, eventName: "CallScheduled" }),
    client.getContractEvents({ ...events, eventName: "CallExecuted" }),
    client.getContractEvents({ ...events, eventName: "Cancelled" }),
  ]);
  const done = new Set(executed.map(({ args }) => args.id));
  const dropped = new Set(cancelled.map(({ args }) => args.id));
  const decisions = await Promise.all(scheduled.map(async ({ args }): Promise<Decision> => {
    const due_s = await client.readContract({ address: timelock, abi: timelock_abi, functionName: "getTimestamp", args: [args.id] });
    const state = done.has(args.id) ? "done" : dropped.has(args.id) ? "cancelled" : `waits until ${date_time(Number(due_s) * 1_000)}`;
    return { id: args.id, target: args.target, data: args.data, state };
  }));
  return { delay_s, decisions };
}

async function read_governance() {
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
  const timelock = deployment.timelock ? await read_timelock(client, deployment.timelock, BigInt(deployment.block)) : null;
  const token = deployment.governance_token && {
    supply: await client.readContract({ address: deployment.governance_token, abi: token_abi, functionName: "totalSupply" }),
    symbol: await client.readContract({ address: deployment.governance_token, abi: token_abi, functionName: "symbol" }),
  };
  return { fee_bps, fee_bps_max, owner, held, earned, liabilities, escrow_tokens, timelock, token };
}

export function GovernancePage() {
  const info = useLoad(market_info, []);
  const facts = useLoad(async () => (has_chain() ? read_governance() : null), [rpc_url.value, connected.value?.address], 15_000);
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
              <ul class="findings">{value.timelock!.decisions.map((decision) => <li key={decision.id}><Hash value={decision.id} /> calls <Hash value={decision.target} /> with <code>{decision.data.slice(0, 10)}…</code>: {decision.state}</li>)}</ul>
            )}
          </Panel>
        </>
      )}
      <Panel title="Contracts">
        <dl class="facts">{contracts.map(([name, address]) => [<dt key={name}>{name.replaceAll("_", " ")}</dt>, <dd key={`${name} value`}><Hash value={address} /></dd>])}</dl>
      </Panel>
    </>
  );
}
