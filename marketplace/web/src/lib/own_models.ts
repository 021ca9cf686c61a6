// SPDX-License-Identifier: Apache-2.0
// What an account has trained, tuned or served: the market gives the specs of jobs to their buyer alone.
import type { Address } from "viem";
import { get, type Job, type List } from "./api";
import type { ModelFiles } from "./finetune";
import type { Document } from "./messages";
import { tuned_files } from "./model_files";

export interface JobSpec {
  kind: string;
  name?: string;
  model?: Document;
  files?: ModelFiles;
  result?: string;
  sealed?: string;
}
const jobs_max = 40;
const specs = new Map<string, JobSpec>();
/** For its buyer alone. A job's spec never changes. */
export async function spec_of(id: string): Promise<JobSpec> {
  const known = specs.get(id) ?? (await get<JobSpec>(`/v1/jobs/${id}/spec`));
  specs.set(id, known);
  return known;
}
async function newest_jobs(account: Address): Promise<{ job: Job; spec: JobSpec }[]> {
  const { data } = await get<List<Job>>(`/v1/jobs?limit=${jobs_max}&buyer=${account}`);
  return Promise.all(data.map(async (job) => ({ job, spec: await spec_of(job.id) })));
}

/** What a finished job made that can be served: a model of our own, or a published one's files with new weights. */
export interface Trained {
  job: Job;
  model?: Document;
  files?: ModelFiles;
}
/** Null: nothing that can be served. */
export function trained_of(job: Job, spec: JobSpec): Trained | null {
  if (job.state !== "completed" || !job.checkpoint || spec.sealed) return null;
  if (spec.kind === "train" && (spec.model as { arch?: string } | undefined)?.arch === "gpt") return { job, model: spec.model! };
  if (spec.kind === "finetune" && spec.result === "merged" && spec.files) return { job, files: tuned_files(spec.files, job.checkpoint) };
  return null;
}
export const trained_by = async (account: Address): Promise<Trained[]> =>
  (await newest_jobs(account)).flatMap(({ job, spec }) => trained_of(job, spec) ?? []);

/** A folder's files that the market holds, since a job of this account used or made them. */
export interface OwnModel {
  label: string;
  files: ModelFiles;
}
export async function models_of(account: Address): Promise<OwnModel[]> {
  const jobs = await newest_jobs(account);
  const all = jobs.flatMap(({ job, spec }): OwnModel[] => {
    if (!spec.files) return [];
    if (spec.kind === "infer.serve") return [{ label: spec.name ?? job.id.slice(0, 12), files: spec.files }];
    const base = { label: `model that ${job.id.slice(0, 12)} trained on`, files: spec.files };
    const result = trained_of(job, spec);
    return result?.files ? [{ label: `result of ${job.id.slice(0, 12)}`, files: result.files }, base] : [base];
  });
  // The same files go by their first name.
  const seen = new Set<string>();
  return all.filter(({ files }) => {
    const key = JSON.stringify(Object.entries(files).sort());
    return !seen.has(key) && Boolean(seen.add(key));
  });
}
