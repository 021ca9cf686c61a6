// SPDX-License-Identifier: Apache-2.0
import { render, type ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import icon from "./icon.svg";
import "./app.css";
import { market_info, other_session, session, set_session, type Info } from "./lib/api";
import { short } from "./lib/format";
import { follow_links, path } from "./lib/route";
import { connected, disconnect, discover, to_market_chain } from "./lib/wallet";
import { theme_turn } from "./ui/chart";
import { SignDialog } from "./ui/dialog";
import { Failure, useAction, useLoad } from "./ui/parts";
import { MarketPage } from "./pages/market";

type Page = ComponentType<{ rest: string[] }>;
interface Entry {
  name: string;
  title: string;
  load: () => Promise<Page>;
}
/** All pages but the first, which comes with the console itself, are fetched when they are opened. */
const entries: Entry[] = [
  { name: "", title: "Market", load: async () => MarketPage },
  { name: "offers", title: "Offers", load: async () => (await import("./pages/offers")).OffersPage },
  { name: "jobs", title: "Jobs", load: async () => (await import("./pages/jobs")).JobsPage },
  { name: "playground", title: "Playground", load: async () => (await import("./pages/playground")).PlaygroundPage },
  { name: "settlement", title: "Settlement", load: async () => (await import("./pages/settlement")).SettlementPage },
  { name: "provider", title: "Provider", load: async () => (await import("./pages/provider")).ProviderPage },
  { name: "governance", title: "Governance", load: async () => (await import("./pages/governance")).GovernancePage },
  { name: "account", title: "Account", load: async () => (await import("./pages/account")).AccountPage },
];
const pages = new Map<string, Page>([["", MarketPage]]);

function Shown() {
  const [first = "", ...rest] = path.value.split("/");
  const entry = entries.find(({ name }) => name === first);
  const [, set_loaded] = useState("");
  const [error, set_error] = useState<unknown>(null);
  useEffect(() => {
    document.title = entry ? `${entry.title} · Millrace` : "Millrace";
    set_error(null);
    if (!entry || pages.has(first)) return;
    entry.load().then(
      (page) => {
        pages.set(first, page);
        set_loaded(first);
      },
      () => set_error(new Error("This page could not be loaded. The market may be restarting, or was updated: reload.")),
    );
  }, [first]);
  if (!entry) return <><h1>No such page</h1><p>Go to the <a href="/">market</a>.</p></>;
  const Found = pages.get(first);
  if (!Found) return error ? <><h1>{entry.title}</h1><Failure error={error} /></> : <h1>{entry.title}</h1>;
  return <Found rest={rest} key={rest.join("/")} />;
}

type Theme = "system" | "light" | "dark";
function apply_theme(theme: Theme): void {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  ++theme_turn.value;
}
const stored_theme = (localStorage.getItem("theme") ?? "system") as Theme;

function ThemeSwitch() {
  const [theme, set_theme] = useState<Theme>(stored_theme);
  const choose = (value: Theme) => {
    localStorage.setItem("theme", value);
    set_theme(value);
    apply_theme(value);
  };
  return (
    <select aria-label="Colours" value={theme} onChange={(event) => choose(event.currentTarget.value as Theme)}>
      <option value="system">Auto</option>
      <option value="light">Light</option>
      <option value="dark">Dark</option>
    </select>
  );
}

function Who() {
  const account = connected.value;
  if (!account && !session.value) return <a class="button" href="/app/account">Sign in</a>;
  const leave = () => {
    set_session(null);
    disconnect();
  };
  return (
    <span class="who">
      <a href="/app/account" class="mono" title={account?.address ?? session.value?.address}>{short(account?.address ?? session.value!.address)}</a>
      <span class="hint">{session.value ? "signed in" : "not signed in"}</span>
      <button type="button" onClick={leave}>Leave</button>
    </span>
  );
}

/** A wallet on another chain, or another account than the session's: said wherever the reader is. */
function WalletBanner({ info }: { info: Info | null }) {
  const { run, error } = useAction(to_market_chain);
  const account = connected.value;
  if (!account || !info) return null;
  const other = other_session.value;
  if (account.chain_id !== info.chain_id)
    return (
      <div class="note warn" role="status">
        The wallet is on chain {account.chain_id}; this market settles on chain {info.chain_id}.{" "}
        <button type="button" onClick={() => run()}>Switch the wallet</button>
        <Failure error={error} />
      </div>
    );
  if (!other) return null;
  return <div class="note warn" role="status">The wallet is at another account than the session of {short(other.address)}, which is not used meanwhile. Sign in on the <a href="/app/account">account page</a> with this account, or change back. <button type="button" onClick={() => set_session(null)}>Forget that session</button></div>;
}

function App() {
  const info = useLoad(market_info, []);
  const first = path.value.split("/")[0] ?? "";
  return (
    <>
      <a class="skip" href="#main">Skip to the page</a>
      <header class="bar">
        <a class="brand" href="/"><img src={icon} alt="" />Millrace</a>
        <nav class="pages" aria-label="Pages">
          {entries.map(({ name, title }) => (
            <a key={name} href={name ? `/app/${name}` : "/"} aria-current={name === first ? "page" : undefined}>{title}</a>
          ))}
        </nav>
        <Who />
        <div><ThemeSwitch /></div>
      </header>
      <main id="main" tabIndex={-1}>
        <WalletBanner info={info.value} />
        <Shown />
      </main>
      <footer>{info.value ? `Millrace ${info.value.version}, chain ${info.value.chain_id}. ` : ""}Amounts are in the settlement token. The same data for programs: <a href="/docs">API documents</a>.</footer>
      <SignDialog />
    </>
  );
}

apply_theme(stored_theme);
discover();
follow_links();
const place = document.getElementById("app")!;
place.replaceChildren();
render(<App />, place);
