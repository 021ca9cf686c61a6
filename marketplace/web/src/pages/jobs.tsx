// SPDX-License-Identifier: Apache-2.0
// The list of jobs; one job and a new one have files of their own.
import { useState } from "preact/hooks";
import { get, session, type Job, type List } from "../lib/api";
import { count, date_time } from "../lib/format";
import { connected } from "../lib/wallet";
import { Empty, Failure, Field, Hash, Panel, State, useLoad } from "../ui/parts";
import { JobPage } from "./job";
import { NewJobPage } from "./new_job";

export function JobsPage({ rest }: { rest: string[] }) {
  if (rest[0] === "new") return <NewJobPage />;
  if (rest[0]) return <JobPage id={rest[0]} />;
  return <JobList />;
}

function JobList() {
  const account = connected.value?.address ?? session.value?.address;
  const [mine, set_mine] = useState(Boolean(account));
  const buyer = mine && account ? `&buyer=${account}` : "";
  const jobs = useLoad(() => get<List<Job>>(`/v1/jobs?limit=50${buyer}`), [buyer], 3_000);
  return (
    <>
      <h1>Jobs</h1>
      <p class="lead">Training and serving jobs, the newest first.</p>
      <div class="panel row">
        <Field label="Show">{(props) => (
          <select {...props} value={mine && account ? "mine" : "all"} onChange={(event) => set_mine(event.currentTarget.value === "mine")}>
            <option value="all">everybody's</option>
            <option value="mine" disabled={!account}>mine</option>
          </select>)}
        </Field>
        <p><a class="button main" href="/app/jobs/new">New job</a></p>
      </div>
      <Failure error={jobs.error} />
      <Panel title="Jobs">
        {jobs.value?.data.length === 0 && <Empty>No job yet. <a href="/app/jobs/new">Post one</a>: a small model trains in under a minute.</Empty>}
        {jobs.value && jobs.value.data.length > 0 && (
          <div class="scroll" tabIndex={0} role="group" aria-label="Jobs">
            <table>
              <thead><tr><th>Job</th><th>Kind</th><th>State</th><th class="n">Done</th><th>Buyer</th><th>Posted</th></tr></thead>
              <tbody>
                {jobs.value.data.map((job) => (
                  <tr key={job.id}>
                    <td><a class="mono" href={`/app/jobs/${job.id}`}>{job.id.slice(0, 12)}</a></td>
                    <td>{job.kind}</td><td><State name={job.state} /></td>
                    <td class="n">{count(job.units_done)}{job.total_units === "0" ? "" : ` / ${count(job.total_units)}`}</td>
                    <td><Hash value={job.buyer} /></td><td>{date_time(job.created_ms)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
    </>
  );
}
