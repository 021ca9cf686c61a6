// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";

const ticks_per_s = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

/** The numbers of proc_pid_stat(5) from the third, the state, on. */
function stat(pid) {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

/** Processor seconds of a process so far. */
export function cpu_seconds(pid) {
  const fields = stat(pid);
  return (Number(fields[11]) + Number(fields[12])) / ticks_per_s;
}

/** The processes that a process started, theirs too. */
export function descendants(pid) {
  const parents = new Map();
  for (const one of readdirSync("/proc").filter((name) => /^\d+$/.test(name)))
    try {
      parents.set(Number(one), Number(stat(one)[1]));
    } catch {} // it has ended
  const out = [pid];
  for (const parent of out) for (const [child, its] of parents) if (its === parent) out.push(child);
  return out.slice(1);
}
