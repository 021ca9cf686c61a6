// SPDX-License-Identifier: Apache-2.0
// A statement as CSV, made here from the escrow's events as the reader's node has them.
import { useEffect, useRef, useState } from "preact/hooks";
import { padHex, type Address } from "viem";
import { market_info } from "../lib/api";
import { Stopped, type Watch, type WalkProgress } from "../lib/block_walk";
import { chain, escrow_abi, has_chain } from "../lib/chain";
import { read_events } from "../lib/chain_events";
import { count } from "../lib/format";
import { movement_events, movements_of, statement_csv, type Movement } from "../lib/statement";
import { BlocksRead } from "../ui/node";
import { Failure, Panel, useAction } from "../ui/parts";

const blocks_at_once = 20;

interface Statement {
  csv: string;
  movements: number;
  /** Whether the last line is what the contract says the account has, to the atom. */
  holds: boolean;
}

async function read_statement(account: Address, watch: Watch): Promise<Statement> {
  const { deployment } = await market_info();
  const client = await chain();
  const last = await client.getBlockNumber();
  const found = await read_events(client, {
    address: deployment.escrow, abi: escrow_abi, names: movement_events, key: padHex(account), first: BigInt(deployment.block), last, what: "the account's movements", watch,
  });
  const movements = movements_of(found.map(({ eventName, args, blockNumber, transactionHash }) => ({
    event: eventName, amount: args.amount, block: blockNumber, transaction: transactionHash,
  })));
  const blocks = [...new Set(movements.map(({ block }) => block))];
  const times = new Map<bigint, bigint>();
  for (let i = 0; i < blocks.length; i += blocks_at_once) {
    if (watch.signal?.aborted) throw new Stopped("Stopped.");
    watch.told?.({ what: "the times of blocks", looked: BigInt(i), all: BigInt(blocks.length) });
    const some = await Promise.all(blocks.slice(i, i + blocks_at_once).map((blockNumber) => client.getBlock({ blockNumber })));
    for (const { number, timestamp } of some) times.set(number, timestamp);
  }
  const [free, , earned, withdrawing] = await client.readContract({ address: deployment.escrow, abi: escrow_abi, functionName: "accounts", args: [account], blockNumber: last });
  const end: Pick<Movement, "free" | "earned" | "withdrawing"> = movements.at(-1) ?? { free: 0n, earned: 0n, withdrawing: 0n };
  return { csv: statement_csv(movements, times), movements: movements.length, holds: end.free === free && end.earned === earned && end.withdrawing === withdrawing };
}

export function StatementPanel({ account }: { account: Address }) {
  const [progress, set_progress] = useState<WalkProgress | null>(null);
  const [made, set_made] = useState<(Statement & { url: string }) | null>(null);
  const stop = useRef(new AbortController());
  useEffect(() => () => stop.current.abort(), []);
  useEffect(() => () => {
    if (made) URL.revokeObjectURL(made.url);
  }, [made]);
  const make = useAction(async () => {
    set_made(null);
    stop.current = new AbortController();
    try {
      const statement = await read_statement(account, { told: set_progress, signal: stop.current.signal });
      set_made({ ...statement, url: URL.createObjectURL(new Blob([statement.csv], { type: "text/csv" })) });
    } catch (error) {
      if (!(error instanceof Stopped)) throw error;
    } finally {
      set_progress(null);
    }
  });
  return (
    <Panel title="Statement">
      <p class="hint">Every movement of this account in the escrow, to the atom, read from the chain and not from the market. With leases and counterparties: <code>millrace audit --account {account} --csv statement.csv</code></p>
      <button type="button" disabled={make.busy || !has_chain()} onClick={() => make.run()}>{make.busy ? "Reading…" : "Make the statement"}</button>
      {progress && <><BlocksRead progress={progress} /><p><button type="button" onClick={() => stop.current.abort()}>Stop</button></p></>}
      <Failure error={make.error} />
      {made && (
        <div class={`note ${made.holds ? "good" : "bad"}`} role="status">
          {count(made.movements)} movements; the balances after the last {made.holds ? "are" : "are not"} those that the contract has.{" "}
          <a href={made.url} download={`millrace-${account.slice(0, 10)}.csv`}>Save as CSV</a>
        </div>
      )}
    </Panel>
  );
}
