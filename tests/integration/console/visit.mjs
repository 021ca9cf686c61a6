// SPDX-License-Identifier: Apache-2.0
// A reader of the console: a market with a worker, Chromium, and a wallet that announces itself as wallets do and signs
// with viem.
import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { launch_browser } from "../../../scripts/lib/browser.mjs";
import { chain_id, createWalletClient, dev_keys, http, privateKeyToAccount, root } from "../../../scripts/lib/chain.mjs";
import { Devnet } from "../../../scripts/lib/devnet.mjs";
import { until } from "../../../scripts/lib/wait.mjs";

export const buyer = privateKeyToAccount(dev_keys.buyer);
export const provider = privateKeyToAccount(dev_keys.provider1);
export const market_settings = { anchor_every_ms: 1_000 };
const axe = readFileSync(createRequire(join(root, "scripts/package.json")).resolve("axe-core/axe.min.js"), "utf8");
const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** The page's side of the wallet: EIP-6963, and EIP-1193 handed on to this process. */
const announce = () => {
  const listeners = {};
  window.wallet_tell = (event) => (listeners[event] ?? []).forEach((listener) => listener([]));
  const provider = {
    request: async ({ method, params }) => {
      const answer = await window.wallet_request(method, params ?? []);
      if (answer.error) throw Object.assign(new Error(answer.error.message), { code: answer.error.code });
      return answer.result;
    },
    on: (event, listener) => (listeners[event] ??= []).push(listener),
  };
  const info = { uuid: "350670db-19fa-4704-a166-e52e178b59d2", name: "Test wallet", icon: "data:image/svg+xml,<svg/>", rdns: "org.example.wallet" };
  const tell = () => window.dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail: Object.freeze({ info, provider }) }));
  window.addEventListener("eip6963:requestProvider", tell);
  tell();
};

export class Visit {
  net;
  browser;
  page;
  /** What the wallet does next: nothing out of the way, "reject" a signature once, stay on another "chain", be at another "account". */
  wallet = { reject: false, chain: chain_id, switches: true, account: buyer };
  /** Requests that went to neither the market nor the reader's node; errors of the pages. */
  outside = [];
  troubles = [];
  #pending = new Map();

  /** `name`: of the run's folder. */
  static async begin(name) {
    const visit = new Visit();
    try {
      await visit.#start(join(root, "build/test", name));
    } catch (error) {
      await visit.end();
      throw error;
    }
    return visit;
  }

  async #start(folder) {
    rmSync(folder, { recursive: true, force: true });
    this.net = new Devnet(folder);
    await this.net.start_chain({ "withdraw-delay": 2, govern: `${buyer.address}=1000000000000000000000` });
    await this.net.start_signer();
    await this.net.start_market(market_settings);
    await this.net.start_worker("worker-1", "provider1", { setup: ["--threads", "1"] });
    this.browser = await launch_browser();
    this.page = await (await this.new_context()).newPage();
    this.page.setDefaultTimeout(30_000);
  }

  async end() {
    await this.browser?.close();
    await this.net?.stop();
  }

  /** The wallet's side of EIP-1193, in this process: keys never enter the page. */
  async #wallet_request(method, params) {
    const { wallet, net } = this;
    const client = createWalletClient({ account: wallet.account, chain: net.chain.chain, transport: http(net.chain.url) });
    const refuse = () => {
      if (!wallet.reject) return;
      wallet.reject = false;
      throw Object.assign(new Error("User rejected the request."), { code: 4001 });
    };
    switch (method) {
      case "eth_requestAccounts":
      case "eth_accounts":
        return [wallet.account.address.toLowerCase()];
      case "eth_chainId":
        return `0x${wallet.chain.toString(16)}`;
      case "wallet_switchEthereumChain":
        if (!wallet.switches) throw Object.assign(new Error("Unrecognized chain ID."), { code: 4902 });
        wallet.chain = Number(params[0].chainId);
        return null;
      case "personal_sign":
        refuse();
        return wallet.account.signMessage({ message: { raw: params[0] } });
      case "eth_signTypedData_v4": {
        refuse();
        const { domain, types, primaryType, message } = JSON.parse(params[1]);
        delete types.EIP712Domain;
        return wallet.account.signTypedData({ domain, types, primaryType, message });
      }
      case "eth_sendTransaction":
        refuse();
        return client.sendTransaction({ to: params[0].to, data: params[0].data });
      default: // what only reads goes to the chain
        return net.chain.client.request({ method, params });
    }
  }

  async new_context(options = {}) {
    const { net } = this;
    const made = await this.browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
    await made.exposeFunction("wallet_request", async (method, params) => {
      try {
        return { result: await this.#wallet_request(method, params) };
      } catch (error) {
        return { error: { message: error.message, code: error.code ?? -32603 } };
      }
    });
    await made.addInitScript(announce);
    const pending = new Set();
    this.#pending.set(made, pending);
    made.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(net.market_url) && !url.startsWith("data:") && !url.startsWith("blob:") && !url.startsWith(net.chain.url)) this.outside.push(url);
      if (request.resourceType() !== "eventsource") pending.add(request);
    });
    for (const event of ["requestfinished", "requestfailed"]) made.on(event, (request) => pending.delete(request));
    made.on("weberror", (error) => this.troubles.push(String(error.error())));
    made.on("console", (message) => {
      if (message.type() === "error" && /Content Security Policy/.test(message.text())) this.troubles.push(message.text());
    });
    return made;
  }

  go(path) {
    return this.page.goto(`${this.net.market_url}${path}`);
  }

  /** Waits until the page stands: nothing that it asked for is outstanding, and what came is drawn. */
  async settled(on = this.page) {
    const pending = this.#pending.get(on.context());
    await on.getByRole("heading", { level: 1 }).waitFor();
    const quiet = async () => {
      await on.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
      return pending.size === 0;
    };
    await until("the page to stand", async () => (await quiet()) && (await quiet()), { every_ms: 20, timeout_ms: 10_000 });
  }

  /** Signs in on the account page. */
  async sign_in() {
    await this.go("/app/account");
    await this.page.getByRole("button", { name: "Connect Test wallet" }).click();
    await this.page.getByRole("button", { name: "Sign in with the wallet" }).click();
    await this.page.getByRole("heading", { name: "API keys" }).waitFor();
  }

  /** Agrees in the console's own dialog, whose title must say what it is about; gives what it showed. */
  async agree(title) {
    const dialog = this.page.locator("dialog[open]");
    await dialog.getByRole("heading", { name: title }).waitFor();
    const text = await dialog.innerText();
    await dialog.getByRole("button", { name: "Continue in the wallet" }).click();
    return text;
  }

  /** Axe's findings on the page as it stands, with contrast, without it, or of it "only": nothing else depends on the colours. */
  async axe_findings(on = this.page, contrast = "with") {
    if (!(await on.evaluate(() => "axe" in window))) await on.evaluate(axe);
    const { violations } = await on.evaluate(([tags, how]) => window.axe.run(document, how === "only"
      ? { runOnly: { type: "rule", values: ["color-contrast"] } }
      : { runOnly: tags, rules: { "color-contrast": { enabled: how === "with" } } }), [rules, contrast]);
    return violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ html, failureSummary }) => `${html.slice(0, 160)} ${failureSummary}`).join(" | ")}`);
  }

  /** What holds for every visit: nobody else was asked for anything, and nothing broke. */
  assert_clean() {
    assert.deepEqual(this.outside, []);
    assert.deepEqual(this.troubles, []);
  }
}
