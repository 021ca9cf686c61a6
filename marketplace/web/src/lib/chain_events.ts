// SPDX-License-Identifier: Apache-2.0
// Events of a contract through the reader's node.
import {
  encodeEventTopics, formatLog, numberToHex, parseEventLogs,
  type Abi, type Address, type ContractEventName, type Hex, type ParseEventLogsReturnType, type PublicClient, type RpcLog,
} from "viem";
import { block_before, RangeRefused, walk_blocks, type Watch } from "./block_walk";
import { WalletError } from "./wallet";

interface Wanted<A extends Abi, N extends ContractEventName<A>> {
  address: Address;
  abi: A;
  names: N[];
  /** The first indexed argument, when it is to be one certain hash. */
  key?: Hex | undefined;
  first: bigint;
  /** The newest block when left out. */
  last?: bigint | undefined;
  downward?: boolean;
  enough?: (found: ParseEventLogsReturnType<A, N[], true>) => boolean;
  what: string;
  watch?: Watch | undefined;
}

/** No answer at all, or a node that wants its caller to wait, or a key: a shorter range would not help. */
function is_hopeless(error: unknown): boolean {
  for (let one: unknown = error; one instanceof Error; one = one.cause) {
    const { status } = one as { status?: number };
    if (one.name === "HttpRequestError") return status === undefined || [401, 403, 404, 429].includes(status);
  }
  return false;
}
/** The node's own words, which viem keeps beside its own. */
function words_of(error: unknown): string {
  const { details, message } = (error ?? {}) as { details?: unknown; message?: unknown };
  return String(details || message || error).slice(0, 200);
}

/** The events of those names in the order of the chain; WalletError in words when the node will not or cannot. */
export async function read_events<const A extends Abi, N extends ContractEventName<A>>(
  client: PublicClient, { address, abi, names, key, first, last, downward, enough, what, watch }: Wanted<A, N>,
): Promise<ParseEventLogsReturnType<A, N[], true>> {
  type Found = ParseEventLogsReturnType<A, N[], true>;
  const kinds = names.map((eventName) => encodeEventTopics({ abi: abi as Abi, eventName: eventName as string })[0] as Hex);
  const topics = key ? [kinds, key] : [kinds];
  const read = async (from: bigint, to: bigint) => {
    const logs = (await client.request({
      method: "eth_getLogs", params: [{ address, topics, fromBlock: numberToHex(from), toBlock: numberToHex(to) }],
    })) as RpcLog[];
    return parseEventLogs({ abi, eventName: names, logs: logs.map((log) => formatLog(log)), strict: true }) as Found;
  };
  try {
    const end = last ?? (await client.getBlockNumber());
    return (await walk_blocks<Found[number]>({
      what, first, last: end, downward: downward ?? false, read: read as (from: bigint, to: bigint) => Promise<Found[number][]>, hopeless: is_hopeless,
      ...(enough ? { enough: enough as (found: Found[number][]) => boolean } : {}), watch,
    })) as Found;
  } catch (error) {
    if (error instanceof RangeRefused)
      throw new WalletError(`The node lists no events, not even of one block: "${words_of(error.cause)}". Name another node.`);
    if (is_hopeless(error)) throw new WalletError(`The node stopped answering. Wanted of it: ${what}. It says: "${words_of(error)}". Try again, or name another node.`);
    throw error;
  }
}

/** A block that is surely older than what happened at `time_ms`, by the chain's own clock with an hour to spare. */
export async function block_by(client: PublicClient, time_ms: number, first: bigint): Promise<bigint> {
  const last = await client.getBlockNumber();
  const time_of = async (blockNumber: bigint) => (await client.getBlock({ blockNumber })).timestamp;
  return block_before(BigInt(Math.floor(time_ms / 1_000)) - 3_600n, first, last, time_of);
}
