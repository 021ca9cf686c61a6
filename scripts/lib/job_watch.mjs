// SPDX-License-Identifier: Apache-2.0
// What a job does, read from the market as it happens, and shown as a live curve.
import { bold, cyan, curve, dim } from "./terminal.mjs";

export class JobWatch {
  train = []; // { x: step, y: loss }
  evals = []; // { step, loss, accuracy }
  job;
  #after = 0;
  #told = 0;

  constructor(net, id, { name, steps, shows = "loss" }) {
    Object.assign(this, { net, id, name, steps, shows });
    this.started = performance.now();
  }

  get step() {
    return Math.max(this.train.at(-1)?.x ?? 0, this.evals.at(-1)?.step ?? 0);
  }

  /** Fetches what is new. */
  async poll() {
    for (;;) {
      const page = await this.net.rest.get(`/v1/jobs/${this.id}/events?after=${this.#after}&limit=1000`);
      for (const { sequence, kind, data } of page.data) {
        this.#after = Math.max(this.#after, sequence);
        if (kind === "train" && Number.isFinite(data.loss)) this.train.push({ x: data.step, y: data.loss });
        if (kind === "eval") this.evals.push({ step: data.step, loss: data.loss, accuracy: data.metric });
      }
      if (!page.has_more) break;
    }
    this.job = await this.net.job(this.id);
    if (this.job.final) this.seconds ??= Math.round((performance.now() - this.started) / 100) / 10;
    return this.job;
  }

  headline() {
    const held_out = this.evals.at(-1);
    const value = held_out
      ? this.shows === "accuracy" ? `accuracy ${(held_out.accuracy * 100).toFixed(1)} %` : `held-out loss ${held_out.loss.toFixed(3)}`
      : "";
    const loss = this.train.at(-1) ? `loss ${this.train.at(-1).y.toFixed(3)}` : "";
    return [bold(this.name), `${this.job?.state ?? "posted"}`, `step ${this.step}/${this.steps}`, loss, value].filter(Boolean).join("  ");
  }

  /** Lines of the live picture. */
  lines() {
    const picture = curve(this.train, { columns: 56, rows: 6, x_max: this.steps });
    return [`      ${this.headline()}`, ...picture.map((line) => cyan(`      ${line}`))];
  }

  /** One plain line for each new evaluation, where there is no terminal to draw on. */
  news() {
    const fresh = this.evals.slice(this.#told);
    this.#told = this.evals.length;
    return fresh.map(({ step, loss, accuracy }) =>
      dim(`      ${this.name}: step ${step}/${this.steps}, held-out loss ${loss.toFixed(3)}, accuracy ${(accuracy * 100).toFixed(1)} %`));
  }

  /** First and last held-out figures for the summary. */
  figures() {
    const [first, last] = [this.evals[0], this.evals.at(-1)];
    return {
      name: this.name, job: this.id, steps: Number(this.job.units_done),
      first_loss: first?.loss, last_loss: last?.loss, first_accuracy: first?.accuracy, last_accuracy: last?.accuracy,
      seconds: this.seconds,
    };
  }
}
