// SPDX-License-Identifier: Apache-2.0
// What a decision of the token's holders does, in words. Pure.
import { decodeFunctionData, parseAbi, type Hex } from "viem";
import { duration, tokens } from "./format";

const known_calls = parseAbi([
  "function setFeeBps(uint16 bps)",
  "function pay(address token, address to, uint256 amount)",
  "function setSlasher(address slasher)",
  "function transferOwnership(address newOwner)",
  "function acceptOwnership()",
  "function updateDelay(uint256 newDelay)",
  "function grantRole(bytes32 role, address account)",
  "function revokeRole(bytes32 role, address account)",
]);

/** `settlement_token`: its amounts are told in tokens, others as they stand. A call that is not known is told by its first bytes. */
export function describe_call(data: Hex, settlement_token: Hex): string {
  let call: ReturnType<typeof decodeFunctionData<typeof known_calls>>;
  try {
    call = decodeFunctionData({ abi: known_calls, data });
  } catch {
    return data === "0x" ? "is sent money" : `is called with ${data.slice(0, 10)}… (${(data.length - 2) / 2} bytes)`;
  }
  const ours = (token: Hex) => token.toLowerCase() === settlement_token.toLowerCase();
  switch (call.functionName) {
    case "setFeeBps": return `sets the fee to ${call.args[0] / 100} %`;
    case "pay": return `pays ${ours(call.args[0]) ? `${tokens(call.args[2])} tokens` : `${call.args[2]} units of token ${call.args[0]}`} to ${call.args[1]}`;
    case "setSlasher": return `lets ${call.args[0]} slash bonds`;
    case "transferOwnership": return `is handed over to ${call.args[0]}`;
    case "acceptOwnership": return "is taken over by the timelock";
    case "updateDelay": return `lets decisions wait ${duration(Number(call.args[0]) * 1_000)}`;
    case "grantRole": return `gives ${call.args[1]} the role ${call.args[0].slice(0, 10)}…`;
    case "revokeRole": return `takes from ${call.args[1]} the role ${call.args[0].slice(0, 10)}…`;
  }
}
