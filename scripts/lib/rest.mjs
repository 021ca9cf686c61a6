// SPDX-License-Identifier: Apache-2.0
// The market's REST interface for tests: an independent client on viem, which signs, canonicalises and hashes by
// itself, so that nothing is tested against its own mistakes.
import { createHash, randomBytes } from "node:crypto";
import { connect } from "node:net";

const zero_address = `0x${"0".repeat(40)}`;
const fields = (text) => text.split(",").map((field) => ({ type: field.split(" ")[0], name: field.split(" ")[1] }));

export const message_types = {
  Ask: fields("address provider,bytes32 resourceHash,uint8 unitKind,uint64 price,uint64 minUnits,uint64 maxUnits,uint8 orderClass,uint32 reclaimWindow,uint64 earliest,uint64 expiry,uint64 volume,address matcher,bytes32 salt"),
  Bid: fields("address buyer,bytes32 jobSpecHash,uint8 unitKind,uint64 priceCeiling,uint64 maxAmount,bytes32 constraintsHash,uint8 orderClass,uint8 verificationTier,uint64 earliest,uint64 deadline,uint64 expiry,uint64 volume,address matcher,bytes32 salt"),
  Delegation: fields("address owner,address delegate,uint8 scope,uint64 spendCap,uint64 expiry,uint64 nonce"),
  Receipt: fields("bytes32 lease,uint64 sequence,bytes32 previous,uint8 unitKind,uint64 cumulativeUnits,uint64 price,uint64 cumulativeAmount,bytes32 modelHash,bytes32 requestHash,bytes32 responseHash,uint64 startMs,uint64 endMs"),
  Voucher: fields("bytes32 lease,uint64 sequence,uint64 cumulativeUnits,uint64 cumulativeAmount,bytes32 receiptsRoot"),
};
export const unit_kinds = ["gpu_ms", "input_token", "output_token", "training_step"];
export const order_classes = ["on_demand", "interruptible", "reserved", "standing"];

/** Canonical JSON: keys sorted, no spaces; only what documents may hold. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value !== null && typeof value === "object") {
    const members = Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`);
    return `{${members.join(",")}}`;
  }
  return JSON.stringify(value);
}
export const sha256 = (bytes) => `0x${createHash("sha256").update(bytes).digest("hex")}`;
export const random_hash = () => `0x${randomBytes(32).toString("hex")}`;
export const job_id = () => `job_${randomBytes(16).toString("hex")}`;
const now_s = () => Math.floor(Date.now() / 1000);

export class Rest {
  token;

  constructor(url) {
    this.url = url;
  }

  async request(method, path, { body, headers = {}, text } = {}) {
    const response = await fetch(this.url + path, {
      method,
      headers: {
        ...(body !== undefined || text !== undefined ? { "content-type": "application/json" } : {}),
        ...(this.token ? { authorization: `Bearer ${this.token}` } : {}),
        ...headers,
      },
      body: text ?? (body === undefined ? undefined : JSON.stringify(body)),
    });
    const answer = await response.text();
    let json;
    try {
      json = JSON.parse(answer);
    } catch {
      // Not every answer is JSON.
    }
    return { status: response.status, headers: response.headers, text: answer, json };
  }

  /** The JSON of a successful answer; throws the market's own words otherwise. */
  async get(path) {
    const answer = await this.request("GET", path);
    if (answer.status >= 300) throw new Error(`GET ${path}: ${answer.status} ${answer.text}`);
    return answer.json;
  }

  /** Bytes as they are onto a new connection; gives everything that comes back until the market closes. */
  raw(bytes, { timeout_ms = 20_000 } = {}) {
    const { hostname, port } = new URL(this.url);
    return new Promise((resolve, reject) => {
      const socket = connect(Number(port), hostname);
      let answer = "";
      socket.setTimeout(timeout_ms, () => socket.destroy(new Error("the market neither answered nor closed")));
      socket.on("data", (data) => (answer += data));
      socket.on("error", (error) => (answer ? resolve(answer) : reject(error)));
      socket.on("close", () => resolve(answer));
      socket.on("connect", () => socket.write(bytes));
    });
  }

  async info() {
    this.market_info ??= await this.get("/v1/market/info");
    return this.market_info;
  }

  /** Sign-In with Ethereum; later requests carry the session. */
  async sign_in(account) {
    const { nonce, chain_id } = await this.get("/v1/auth/nonce");
    const { host } = new URL(this.url);
    const message =
      `${host} wants you to sign in with your Ethereum account:\n${account.address}\n\nSign in to Millrace.\n\n` +
      `URI: ${this.url}\nVersion: 1\nChain ID: ${chain_id}\nNonce: ${nonce}\nIssued At: ${new Date().toISOString()}`;
    const signature = await account.signMessage({ message });
    const answer = await this.request("POST", "/v1/auth/siwe", { body: { message, signature } });
    if (answer.status !== 200) throw new Error(`sign-in: ${answer.text}`);
    this.token = answer.json.token;
    return this.token;
  }

  async upload(bytes) {
    const hash = sha256(bytes);
    const answer = await this.request("PUT", `/v1/blobs/${hash}`, {
      text: bytes,
      headers: { "content-type": "application/octet-stream" },
    });
    if (answer.status >= 300) throw new Error(`upload: ${answer.text}`);
    return hash;
  }

  /** An EIP-712 signature for this market; `domain` overrides single members (a wrong chain, say). */
  async sign(account, type, message, domain = {}) {
    const { eip712_domain } = await this.info();
    return account.signTypedData({
      domain: { ...eip712_domain, ...domain },
      types: { [type]: message_types[type] },
      primaryType: type,
      message,
    });
  }

  /** The body that posts an ask; `change` overrides members of the message. */
  async ask_body(account, worker, change = {}, options = {}) {
    const resource = canonical({
      cpu_cores: 2, gpu_count: 1, gpu_model: "cpu", max_flops_per_step: 1_000_000_000_000, ram_mib: 4096,
      region: "local", runtime: "libtorch-1.13.1-cpu", vram_mib: 4096, worker: worker.toLowerCase(),
      ...options.resource,
    });
    const message = {
      provider: account.address, resourceHash: sha256(resource), unitKind: 3, price: 500n, minUnits: 1n,
      maxUnits: 1_000_000n, orderClass: 0, reclaimWindow: 0, earliest: BigInt(now_s() - 60),
      expiry: BigInt(now_s() + 3600), volume: 1_000_000n, matcher: zero_address, salt: random_hash(), ...change,
    };
    const signature = await this.sign(options.signer ?? account, "Ask", message, options.domain);
    return { ask: wire_form(message), signature, resource };
  }

  /**
   * The body that posts a job; `change` overrides members of each bid. One bid, or one per entry of
   * `options.legs` with changes of its own. The market's delegate may sign vouchers.
   */
  async job_body(account, spec, change = {}, options = {}) {
    const spec_text = canonical(spec);
    const constraints = canonical({
      exclude_providers: [], gpu_models: [], min_gpu_count: 1, min_vram_mib: 0, providers: [], regions: [],
      runtimes: [], ...options.constraints,
    });
    const { delegate_address } = await this.info();
    const bids = [];
    for (const leg of options.legs ?? [{}]) {
      const message = {
        buyer: account.address, jobSpecHash: sha256(spec_text), unitKind: 3, priceCeiling: 1000n, maxAmount: 1_000_000n,
        constraintsHash: sha256(constraints), orderClass: 0, verificationTier: 0, earliest: BigInt(now_s() - 60),
        deadline: BigInt(now_s() + 7200), expiry: BigInt(now_s() + 3600), volume: BigInt(spec.steps ?? 1),
        matcher: zero_address, salt: random_hash(), ...change, ...leg,
      };
      const signature = await this.sign(options.signer ?? account, "Bid", message, options.domain);
      bids.push({ bid: wire_form(message), signature, constraints });
    }
    const delegation = {
      owner: account.address, delegate: delegate_address, scope: 2, spendCap: 1_000_000_000n,
      expiry: BigInt(now_s() + 86_400), nonce: 0n,
    };
    return {
      id: options.id ?? job_id(), spec: spec_text, bids,
      delegation: wire_form(delegation),
      delegation_signature: await this.sign(account, "Delegation", delegation),
    };
  }

  /** Posts a job; the market's answer, or its refusal as an error. */
  async post_job(account, spec, change, options) {
    const answer = await this.request("POST", "/v1/jobs", { body: await this.job_body(account, spec, change, options) });
    if (answer.status !== 201) throw new Error(`posting a job: ${answer.status} ${answer.text}`);
    return answer.json;
  }
}

/** A message as the market's JSON carries it: 64-bit numbers as text, kinds by name. */
export function wire_form(message) {
  return Object.fromEntries(Object.entries(message).map(([name, value]) => {
    if (name === "unitKind") return [name, unit_kinds[value]];
    if (name === "orderClass") return [name, order_classes[value]];
    return [name, typeof value === "bigint" ? String(value) : value];
  }));
}

/** A small training job on a text blob: seconds of work. */
export const small_text_spec = (blob, change = {}) => ({
  version: 1, kind: "train", model: { arch: "gpt", vocab: 256, width: 32, depth: 1, heads: 2, context: 32 },
  data: { format: "text", blob }, holdout_bp: 500, batch: 4, steps: 40, segment_steps: 10, eval_batches: 2,
  learning_rate: "0.003", warmup_steps: 5, weight_decay: "0.01", seed: 7, precision: "fp32", numeric_class: "D1",
  flops_per_step: 1_000_000_000, ...change,
});
