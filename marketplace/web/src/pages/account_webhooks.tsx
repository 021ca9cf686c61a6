// SPDX-License-Identifier: Apache-2.0
// URLs that are told of the account's affairs: their secrets, test events and what became of each delivery.
import { useState } from "preact/hooks";
import { get, MarketError, post, request, session, type List } from "../lib/api";
import { date_time, words } from "../lib/format";
import { Empty, Failure, Field, Panel, State, useAction, useLoad } from "../ui/parts";

interface Webhook {
  id: string;
  url: string;
  events: string[];
  enabled: boolean;
  disabled_reason: string | null;
  created_ms: number;
  failing_since_ms: number | null;
  old_secret_until_ms: number | null;
}
interface Delivery {
  id: string;
  type: string;
  state: string;
  attempts: number;
  created_ms: number;
  next_attempt_ms: number | null;
  last_status: number | null;
  last_failure: string | null;
}

const event_groups: [pattern: string, name: string][] = [
  ["*", "Everything"], ["job.*", "Jobs"], ["lease.*", "Leases"], ["settlement.*", "Payments"], ["order.*", "Asks"], ["account.*", "Balance"], ["worker.*", "Workers"],
];
const page_size = 20;
const path_of = (id: string, ...rest: string[]): string => ["/v1/webhooks", ...[id, ...rest].map(encodeURIComponent)].join("/");
const is_https = (text: string): boolean => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);

async function list_webhooks(): Promise<{ offered: boolean; data: Webhook[] }> {
  try {
    return { offered: true, data: (await get<List<Webhook>>("/v1/webhooks")).data };
  } catch (error) {
    if (error instanceof MarketError && error.problem.status === 404) return { offered: false, data: [] };
    throw error;
  }
}

const outcome_of = (delivery: Delivery): string => [
  delivery.last_status === null ? "" : `status ${delivery.last_status}`,
  delivery.last_failure === null ? "" : words(delivery.last_failure),
  delivery.next_attempt_ms === null ? "" : `again ${date_time(delivery.next_attempt_ms)}`,
].filter(Boolean).join(", ") || "–";

function Deliveries({ webhook }: { webhook: Webhook }) {
  const [after, set_after] = useState("");
  const page = useLoad(() => get<List<Delivery>>(`${path_of(webhook.id, "deliveries")}?limit=${page_size}${after ? `&after=${encodeURIComponent(after)}` : ""}`), [webhook.id, after], 3_000);
  const act = useAction(async (...steps: string[]) => {
    await post(path_of(webhook.id, ...steps), {});
    set_after("");
    await page.reload();
  });
  const deliveries = page.value?.data ?? [];
  return (
    <Panel title="Delivery log" tools={<button type="button" disabled={act.busy || !webhook.enabled} onClick={() => act.run("test")}>Send a test event</button>}>
      <p class="hint">To <span class="mono">{webhook.url}</span>, newest first.</p>
      <Failure error={act.error ?? page.error} />
      {page.value && deliveries.length === 0 && <Empty>{after ? "Nothing older." : "Nothing was sent yet. Send a test event: it comes whatever the webhook is for."}</Empty>}
      {deliveries.length > 0 && (
        <div class="scroll" tabIndex={0} role="group" aria-label="Deliveries">
          <table>
            <thead><tr><th>Made</th><th>Event</th><th>State</th><th class="n">Attempts</th><th>Outcome</th><th>Id</th><th><span class="sr">Actions</span></th></tr></thead>
            <tbody>
              {deliveries.map((delivery) => (
                <tr key={delivery.id}>
                  <td>{date_time(delivery.created_ms)}</td><td class="mono">{delivery.type}</td><td><State name={delivery.state} /></td><td class="n">{delivery.attempts}</td>
                  <td class="wrap">{outcome_of(delivery)}</td><td class="mono">{delivery.id}</td>
                  <td>{delivery.state !== "pending" && <button type="button" disabled={act.busy || !webhook.enabled} onClick={() => act.run("deliveries", delivery.id, "redeliver")} aria-label={`Send ${delivery.id} again`}>Send again</button>}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <p class="row">
        {after && <button type="button" onClick={() => set_after("")}>Newest</button>}
        {page.value?.has_more && <button type="button" onClick={() => set_after(deliveries.at(-1)!.id)}>Older</button>}
      </p>
    </Panel>
  );
}

/** Its state in words. */
const standing = (webhook: Webhook): string => [
  webhook.enabled ? "on" : `off: ${words(webhook.disabled_reason ?? "paused")}`,
  webhook.failing_since_ms === null ? "" : `failing since ${date_time(webhook.failing_since_ms)}`,
  webhook.old_secret_until_ms === null ? "" : `the old secret signs besides until ${date_time(webhook.old_secret_until_ms)}`,
].filter(Boolean).join("; ");

function NewWebhook({ made }: { made: (secret: string) => Promise<void> }) {
  const [url, set_url] = useState("");
  const [events, set_events] = useState("*");
  const create = useAction(async () => {
    const { secret } = await post<{ secret: string }>("/v1/webhooks", { url, events: [events] });
    set_url("");
    await made(secret);
  });
  const fine = is_https(url);
  return (
    <form onSubmit={(event) => {
      event.preventDefault();
      if (fine) void create.run();
    }}>
      <div class="row">
        <Field label="Webhook URL" wrong={url === "" || fine ? undefined : "a URL like https://example.org/hook"}>{(props) => (
          <input {...props} type="url" placeholder="https://…" maxLength={2000} value={url} onInput={(event) => set_url(event.currentTarget.value.trim())} />)}
        </Field>
        <Field label="Told of">{(props) => (
          <select {...props} value={events} onChange={(event) => set_events(event.currentTarget.value)}>
            {event_groups.map(([pattern, name]) => <option key={pattern} value={pattern}>{name}</option>)}
          </select>)}
        </Field>
        <button type="submit" disabled={create.busy || !fine}>New webhook</button>
      </div>
      <Failure error={create.error} />
    </form>
  );
}

export function Webhooks() {
  const webhooks = useLoad(list_webhooks, [session.value?.token], 10_000);
  const [secret, set_secret] = useState("");
  const [shown, set_shown] = useState("");
  const act = useAction(async (work: () => Promise<unknown>) => {
    set_secret("");
    await work();
    await webhooks.reload();
  });
  const rotate = async (id: string) => set_secret((await post<{ secret: string }>(path_of(id, "rotate"), {})).secret);
  const turn = (id: string, enabled: boolean) => request(path_of(id), { method: "PATCH", body: { enabled } });
  const all = webhooks.value?.data;
  const open = all?.find(({ id }) => id === shown);
  if (webhooks.value?.offered === false) return <Panel title="Webhooks"><Empty>This market sends no webhooks. Jobs and market can be followed as streams of events instead.</Empty></Panel>;
  return (
    <>
      <Panel title="Webhooks">
        <p class="hint">Signed after Standard Webhooks. Addresses inside private networks are not called, redirects not followed.</p>
        <NewWebhook made={async (fresh) => {
          set_secret(fresh);
          await webhooks.reload();
        }} />
        {secret && <div class="note good" role="status">The secret that signs, shown this once: <code>{secret}</code></div>}
        <Failure error={act.error ?? webhooks.error} />
        {all?.length === 0 && <Empty>No webhook yet.</Empty>}
        {all && all.length > 0 && (
          <div class="scroll" tabIndex={0} role="group" aria-label="Webhooks">
            <table>
              <thead><tr><th>URL</th><th>Told of</th><th>State</th><th><span class="sr">Actions</span></th></tr></thead>
              <tbody>
                {all.map((webhook) => (
                  <tr key={webhook.id}>
                    <td class="wrap mono">{webhook.url}</td><td class="wrap mono">{webhook.events.join(", ")}</td><td class="wrap">{standing(webhook)}</td>
                    <td>
                      <button type="button" aria-expanded={webhook.id === shown} onClick={() => set_shown(webhook.id === shown ? "" : webhook.id)} aria-label={`Deliveries to ${webhook.url}`}>Deliveries</button>{" "}
                      <button type="button" disabled={act.busy} onClick={() => act.run(() => turn(webhook.id, !webhook.enabled))} aria-label={`${webhook.enabled ? "Pause" : "Resume"} ${webhook.url}`}>{webhook.enabled ? "Pause" : "Resume"}</button>{" "}
                      <button type="button" disabled={act.busy} onClick={() => act.run(() => rotate(webhook.id))} aria-label={`New secret for ${webhook.url}`}>New secret</button>{" "}
                      <button type="button" disabled={act.busy} onClick={() => act.run(() => request(path_of(webhook.id), { method: "DELETE" }))} aria-label={`Delete ${webhook.url}`}>Delete</button>
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
      {open && <Deliveries webhook={open} key={open.id} />}
    </>
  );
}
