// SPDX-License-Identifier: Apache-2.0
// When a job came into each of its phases, and how long it stayed. Pure.

export interface PhaseRecord {
  time_ms: number;
  kind: string;
  data: { state?: string };
}
export interface Phase {
  name: string;
  /** Null: not reached, or the market forgot when: it keeps records in memory. */
  at_ms: number | null;
  /** Until the next one began; null for the last, and where a time is not known. */
  stayed_ms: number | null;
}
const drawn = ["open", "matched", "assigned", "running", "completed"];

/** A job that is given to another worker comes into phases again: the last time counts. */
export function phases_of(job: { state: string; final: boolean; created_ms: number; changed_ms: number }, records: PhaseRecord[]): Phase[] {
  const at = new Map<string, number>([["open", job.created_ms]]);
  for (const { kind, time_ms, data } of records) if (kind === "phase" && typeof data.state === "string") at.set(data.state, time_ms);
  if (job.final) at.set(job.state, job.changed_ms);
  const names = drawn.includes(job.state) ? drawn : [...drawn.slice(0, -1), job.state];
  // What lies ahead has no time, though the job may have been there before.
  const now = job.final ? names.length : names.indexOf(job.state);
  const times = names.map((name, i) => (i <= now ? at.get(name) ?? null : null));
  return names.map((name, i) => {
    const next = times.slice(i + 1).find((time) => time !== null);
    const begun = times[i]!;
    return { name, at_ms: begun, stayed_ms: begun === null || next === undefined || next === null ? null : Math.max(0, next - begun) };
  });
}
