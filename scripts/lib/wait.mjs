// SPDX-License-Identifier: Apache-2.0
// Waiting for a condition, never for a while.
import { setTimeout as pause } from "node:timers/promises";

/**
 * Polls `condition` until it gives something truthy, and returns that. Errors of the condition count as "not yet";
 * the last one is told when the time is up. `alive()` may throw to give up at once (a process that ended).
 */
export async function until(what, condition, { timeout_ms = 30_000, every_ms = 100, alive = () => {} } = {}) {
  const deadline = performance.now() + timeout_ms;
  let last;
  for (;;) {
    alive();
    try {
      const value = await condition();
      if (value) return value;
      last = undefined;
    } catch (error) {
      if (error?.final) throw error;
      last = error;
    }
    if (performance.now() > deadline) {
      throw new Error(`gave up after ${Math.round(timeout_ms / 1000)} s waiting for ${what}${last ? `: ${last.message}` : ""}`);
    }
    await pause(every_ms);
  }
}

/** An error that `until` does not wait over. */
export function final(error) {
  error.final = true;
  return error;
}
