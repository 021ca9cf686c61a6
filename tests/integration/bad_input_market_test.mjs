// SPDX-License-Identifier: Apache-2.0
// What a running market says to wrong input: each refusal has its own stable code and a sentence that helps, and
// leaves nothing half done behind.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  deposit_with_permit, dev_keys, encodeAbiParameters, generatePrivateKey, hashStruct, keccak256, parseAbiParameters, privateKeyToAccount, root,
} from "../../scripts/lib/chain.mjs";
import { CommandFailed, Devnet } from "../../scripts/lib/devnet.mjs";
import { free_port } from "../../scripts/lib/processes.mjs";
import { Rest, job_id, message_types, random_hash, small_text_spec } from "../../scripts/lib/rest.mjs";
import { dial_worker } from "../../scripts/lib/worker_socket.mjs";

const folder = join(root, "build/test/bad_input");
const buyer = privateKeyToAccount(dev_keys.buyer);
const provider = privateKeyToAccount(dev_keys.provider1);
const stranger = privateKeyToAccount(generatePrivateKey());
let net;
let rest;
let blob;

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain();
  await net.start_signer();
  await net.start_market();
  rest = net.rest;
  await rest.sign_in(buyer);
  blob = await rest.upload("It was the best of times, it was the worst of times. ".repeat(200));
});
after(() => net?.stop());

/** The state an outsider can see: refused requests must leave it as it was. */
async function visible_state() {
  const [ready, jobs, orders] = await Promise.all([
    rest.get("/readyz"), rest.get("/v1/jobs?limit=100"), rest.get("/v1/market/orders?limit=100"),
  ]);
  return { log_size: ready.log_size, jobs: jobs.data.length, orders: orders.data.length };
}

async function refused(answer, status, code) {
  assert.equal(answer.json?.code, code, answer.text);
  assert.equal(answer.status, status, answer.text);
  assert.match(answer.headers.get("content-type"), /application\/problem\+json/);
  assert.ok(answer.json.help?.length > 10, `no help for ${code}`);
  assert.ok(answer.json.detail !== undefined && answer.json.title?.length > 0);
}

/** Posts something wrong and checks code, status, and that nothing changed. */
async function refuses(path, request, status, code) {
  const earlier = await visible_state();
  await refused(await rest.request("POST", path, request), status, code);
  const later = await visible_state();
  assert.deepEqual({ jobs: later.jobs, orders: later.orders }, { jobs: earlier.jobs, orders: earlier.orders });
}

describe("JSON", () => {
  for (const [name, text] of Object.entries({
    "half an object": '{"id":"job_',
    "no object": "[1,2",
    "a repeated key": '{"id":"a","id":"b","spec":"","bids":[]}',
    "a repeated key deep inside": '{"id":"a","spec":"","bids":[{"bid":{"salt":1,"salt":2}}]}',
    "depth 200": "[".repeat(200) + "]".repeat(200),
    "a NUL": '{"id":"\u0000',
    "nothing": "",
    "two documents": "{} {}",
    "100,000 open brackets": "[".repeat(100_000),
    "100,000 open objects": '{"a":'.repeat(40_000),
    "60,000 members": `{${Array.from({ length: 20_000 }, (_, i) => `"${i}":1`).join(",")}}`,
    "a number beyond any": `{"id":${"9".repeat(100_000)}}`,
  })) {
    test(`${name} is invalid_json`, () => refuses("/v1/jobs", { text }, 400, "invalid_json"));
  }

  test("a bomb of any kind costs neither time nor memory", async () => {
    const resident = () => Number(readFileSync(`/proc/${net.processes.pid("market")}/status`, "utf8").match(/VmRSS:\s+(\d+)/)[1]);
    const before_kib = resident();
    const bombs = ["[", '{"a":', "[[],", '"\\u0000', '{"a":[1e9999,'].map((piece) => piece.repeat(Math.floor(250_000 / piece.length)));
    for (let round = 0; round < 4; ++round) {
      await Promise.all(bombs.map(async (text) => {
        const answer = await rest.request("POST", "/v1/market/quotes", { text });
        assert.equal(answer.json.code, "invalid_json", answer.text.slice(0, 200));
      }));
    }
    assert.ok(resident() - before_kib < 64 * 1024, `${resident() - before_kib} KiB more`);
  });

  test("an unknown field is named", async () => {
    const body = await rest.job_body(buyer, small_text_spec(blob));
    await refuses("/v1/jobs", { body: { ...body, tip: 1 } }, 400, "unknown_field");
  });

  test("a missing field is named", async () => {
    const { id, spec } = await rest.job_body(buyer, small_text_spec(blob));
    await refuses("/v1/jobs", { body: { id, spec } }, 400, "missing_field");
  });
});

describe("HTTP", () => {
  const status_of = (answer) => Number(answer.match(/^HTTP\/1\.1 (\d{3})/)?.[1]);
  const host = () => `Host: ${new URL(rest.url).host}\r\n`;

  test("a request without Host is 400", async () => {
    assert.equal(status_of(await rest.raw("GET /livez HTTP/1.1\r\n\r\n")), 400);
  });
  test("two Host headers are 400", async () => {
    assert.equal(status_of(await rest.raw(`GET /livez HTTP/1.1\r\n${host()}Host: other\r\n\r\n`)), 400);
  });
  test("Transfer-Encoding beside Content-Length is 400", async () => {
    const answer = await rest.raw(
      `POST /v1/jobs HTTP/1.1\r\n${host()}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`);
    assert.equal(status_of(answer), 400);
  });
  test("an unknown Transfer-Encoding is refused", async () => {
    const answer = await rest.raw(`POST /v1/jobs HTTP/1.1\r\n${host()}Transfer-Encoding: gzip, chunked\r\n\r\n`);
    assert.ok([400, 411, 501].includes(status_of(answer)), answer.slice(0, 80));
  });
  test("a head of 100 KiB is 431", async () => {
    assert.equal(status_of(await rest.raw(`GET /livez HTTP/1.1\r\n${host()}X-Long: ${"a".repeat(100_000)}\r\n\r\n`)), 431);
  });
  test("a body above the limit is 413", async () => {
    const answer = await rest.raw(`POST /v1/jobs HTTP/1.1\r\n${host()}Content-Length: 100000000\r\n\r\n`);
    assert.equal(status_of(answer), 413);
  });
  test("a head that never ends is cut off", async () => {
    const start = performance.now();
    await rest.raw(`GET /livez HTTP/1.1\r\n${host()}X-Slow: `);
    assert.ok(performance.now() - start < 15_000);
  });
  test("an unknown route is 404 not_found, a wrong method 405", async () => {
    await refused(await rest.request("GET", "/v1/nothing"), 404, "not_found");
    assert.equal((await rest.request("DELETE", "/v1/market/info")).status, 405);
  });
});

describe("sign-in", () => {
  /** An ERC-4361 message of the buyer; `change` overrides its parts. */
  async function message(change = {}) {
    const { nonce, chain_id } = await rest.get("/v1/auth/nonce");
    const { host } = new URL(rest.url);
    const parts = { domain: host, uri: `http://${host}`, chain_id, nonce, issued: new Date(), expires: new Date(Date.now() + 60_000), ...change };
    return `${parts.domain} wants you to sign in with your Ethereum account:\n${parts.address ?? buyer.address}\n\nSign in.\n\n` +
      `URI: ${parts.uri}\nVersion: 1\nChain ID: ${parts.chain_id}\nNonce: ${parts.nonce}\nIssued At: ${parts.issued.toISOString()}\n` +
      `Expiration Time: ${parts.expires.toISOString()}`;
  }
  const post = async (text, signer = buyer) =>
    new Rest(rest.url).request("POST", "/v1/auth/siwe", { body: { message: text, signature: await signer.signMessage({ message: text }) } });

  test("a message works once, also when it comes many times at once", async () => {
    const text = await message();
    const answers = await Promise.all(Array.from({ length: 8 }, () => post(text)));
    assert.equal(answers.filter((one) => one.status === 200).length, 1);
    for (const one of answers.filter((answer) => answer.status !== 200)) await refused(one, 401, "nonce_used");
  });
  for (const [name, change, status, code] of [
    ["that has expired", { expires: new Date(Date.now() - 1_000) }, 422, "expired"],
    ["issued an hour ago", { issued: new Date(Date.now() - 3_600_000) }, 422, "expired"],
    ["issued in an hour", { issued: new Date(Date.now() + 3_600_000), expires: new Date(Date.now() + 7_200_000) }, 422, "invalid_window"],
    ["for another site", { domain: "evil.example", uri: "http://evil.example" }, 403, "forbidden"],
    ["whose URI is another site's", { uri: "http://evil.example" }, 403, "forbidden"],
    ["for another chain", { chain_id: 1 }, 422, "wrong_chain"],
    ["with a nonce of its own making", { nonce: "0123456789abcdef01234567" }, 401, "nonce_used"],
    ["with an address in lower case", { address: buyer.address.toLowerCase() }, 400, "invalid_field"],
  ]) {
    test(`a message ${name} is ${code}`, async () => refused(await post(await message(change)), status, code));
  }
  test("a message signed by another key is invalid_signature", async () => refused(await post(await message(), stranger), 401, "invalid_signature"));
  test("a nonce that another run of the market made is nonce_used", async () => {
    const other = await message();
    const forged = other.replace(/Nonce: (\w{20})(\w+)/, (_, head, tail) => `Nonce: ${head}${[...tail].reverse().join("")}`);
    await refused(await post(forged), 401, "nonce_used");
  });
  test("a session is its account's alone", async () => {
    const one = new Rest(rest.url);
    const other = new Rest(rest.url);
    await one.sign_in(buyer);
    await other.sign_in(stranger);
    const { id } = (await one.request("POST", "/v1/api-keys", { body: { label: "mine" } })).json;
    await refused(await other.request("DELETE", `/v1/api-keys/${id}`), 404, "not_found");
    assert.deepEqual((await other.get("/v1/api-keys")).data, []);
    assert.ok((await one.get("/v1/api-keys")).data.some((key) => key.id === id && !key.revoked));
  });
});

describe("idempotency", () => {
  test("a key used with another body is idempotency_conflict, with the same the first answer again", async () => {
    const body = await rest.ask_body(provider, stranger.address);
    const headers = { "idempotency-key": random_hash() };
    const first = await rest.request("POST", "/v1/market/orders", { body, headers });
    assert.equal(first.status, 201, first.text);
    const again = await rest.request("POST", "/v1/market/orders", { body, headers });
    assert.equal(again.text, first.text);
    assert.equal(again.headers.get("idempotent-replayed"), "true");
    const earlier = await visible_state();
    const other = await rest.ask_body(provider, stranger.address);
    await refused(await rest.request("POST", "/v1/market/orders", { body: other, headers }), 422, "idempotency_conflict");
    assert.equal((await visible_state()).orders, earlier.orders);
  });
  test("a key is its caller's: another may use the same", async () => {
    const headers = { "idempotency-key": random_hash() };
    const anonymous = new Rest(rest.url);
    assert.equal((await rest.request("POST", "/v1/market/orders", { body: await rest.ask_body(provider, stranger.address), headers })).status, 201);
    assert.equal((await anonymous.request("POST", "/v1/market/orders", { body: await rest.ask_body(provider, stranger.address), headers })).status, 201);
  });
  test("a key of 256 bytes is invalid_field", async () => {
    const headers = { "idempotency-key": "k".repeat(256) };
    await refused(await rest.request("POST", "/v1/market/orders", { body: await rest.ask_body(provider, stranger.address), headers }), 400, "invalid_field");
  });
});

describe("signatures", () => {
  test("a bid signed by a stranger is invalid_signature", async () => {
    const body = await rest.job_body(buyer, small_text_spec(blob), {}, { signer: stranger });
    await refuses("/v1/jobs", { body }, 401, "invalid_signature");
  });
  test("a bid changed after signing is invalid_signature", async () => {
    const body = await rest.job_body(buyer, small_text_spec(blob));
    body.bids[0].bid.maxAmount = "999999";
    await refuses("/v1/jobs", { body }, 401, "invalid_signature");
  });
  test("a bid signed for another chain is wrong_chain", async () => {
    const body = await rest.job_body(buyer, small_text_spec(blob), {}, { domain: { chainId: 1 } });
    await refuses("/v1/jobs", { body }, 422, "wrong_chain");
  });
  test("an ask signed for another contract is invalid_signature", async () => {
    const body = await rest.ask_body(provider, stranger.address, {}, { domain: { verifyingContract: stranger.address } });
    await refuses("/v1/market/orders", { body }, 401, "invalid_signature");
  });
  test("a high-s copy of a good signature is invalid_signature", async () => {
    const body = await rest.ask_body(provider, stranger.address);
    const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
    const s = (order - BigInt(`0x${body.signature.slice(66, 130)}`)).toString(16).padStart(64, "0");
    const v = body.signature.endsWith("1b") ? "1c" : "1b";
    body.signature = `${body.signature.slice(0, 66)}${s}${v}`;
    await refuses("/v1/market/orders", { body }, 401, "invalid_signature");
  });
  test("an expired session or no session is 401", async () => {
    const anonymous = new Rest(rest.url);
    await refused(await anonymous.request("POST", "/v1/api-keys", { body: {} }), 401, "unauthorized");
    anonymous.token = "nonsense";
    assert.equal((await anonymous.request("POST", "/v1/api-keys", { body: {} })).status, 401);
  });
});

describe("orders", () => {
  test("an ask with price zero is invalid_price", async () => {
    const body = await rest.ask_body(provider, stranger.address, { price: 0n });
    await refuses("/v1/market/orders", { body }, 422, "invalid_price");
  });
  test("a bid with ceiling zero is invalid_price", async () => {
    const body = await rest.job_body(buyer, small_text_spec(blob), { priceCeiling: 0n });
    await refuses("/v1/jobs", { body }, 422, "invalid_price");
  });
  test("a bid that ended is expired", async () => {
    const body = await rest.job_body(buyer, small_text_spec(blob), { earliest: 0n, expiry: 1_000n });
    await refuses("/v1/jobs", { body }, 422, "expired");
  });
  test("a bid above the deposit is insufficient_funds", async () => {
    const body = await rest.job_body(buyer, small_text_spec(blob), { maxAmount: 900_000_000n, priceCeiling: 1_000_000n });
    await refuses("/v1/jobs", { body }, 402, "insufficient_funds");
  });
  test("a job whose data is not there is data_missing", async () => {
    const body = await rest.job_body(buyer, small_text_spec(random_hash()));
    await refuses("/v1/jobs", { body }, 422, "data_missing");
  });
  for (const [name, change, code] of [
    ["steps above the limit", { steps: 10 ** 12 }, "job_limit"],
    ["a segment longer than the job", { segment_steps: 41 }, "job_limit"],
    ["no steps", { steps: 0 }, "job_limit"],
    ["an unknown kind", { kind: "mine" }, "job_spec_invalid"],
    ["an unknown architecture", { model: { arch: "rnn" } }, "job_spec_invalid"],
    ["data of an unknown format", { data: { format: "pickle" } }, "job_spec_invalid"],
  ]) {
    test(`a job with ${name} is ${code}`, async () => {
      const body = await rest.job_body(buyer, { ...small_text_spec(blob), ...change });
      await refuses("/v1/jobs", { body }, 422, code);
    });
  }
  test("a spec that is not canonical is invalid_encoding", async () => {
    const body = await rest.job_body(buyer, small_text_spec(blob));
    body.spec = ` ${body.spec}`;
    await refuses("/v1/jobs", { body }, 400, "invalid_encoding");
  });
});

describe("replay", () => {
  const ask_once = async () => {
    const body = await rest.ask_body(provider, stranger.address);
    const first = await rest.request("POST", "/v1/market/orders", { body });
    return { body, first };
  };
  test("an ask posted twice is answered twice and there once", async () => {
    const { body, first } = await ask_once();
    assert.equal(first.status, 201, first.text);
    const before_second = await visible_state();
    const second = await rest.request("POST", "/v1/market/orders", { body });
    assert.equal(second.json.id, first.json.id, second.text);
    assert.equal((await visible_state()).orders, before_second.orders);
  });
  test("an ask posted again after it was cancelled is replayed_order", async () => {
    const { body, first } = await ask_once();
    const owner = new Rest(rest.url);
    await owner.sign_in(provider);
    const cancelled = await owner.request("DELETE", `/v1/market/orders/${first.json.id}`);
    assert.ok(cancelled.status < 300, cancelled.text);
    await refuses("/v1/market/orders", { body }, 409, "replayed_order");
  });
  test("a bid under the name of another job is replayed_order", async () => {
    await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 2_000_000n);
    await net.processes.until("market", "the deposit to be seen", async () =>
      BigInt((await rest.get(`/v1/accounts/${buyer.address}`)).available) >= 2_000_000n);
    const body = await rest.job_body(buyer, small_text_spec(blob));
    const posted = await rest.request("POST", "/v1/jobs", { body });
    assert.equal(posted.status, 201, posted.text);
    await refuses("/v1/jobs", { body: { ...body, id: job_id() } }, 409, "replayed_order");
    await refuses("/v1/jobs", { body: { ...body, spec: body.spec.replace('"seed":7', '"seed":8') } }, 400, "invalid_field");
  });
});

describe("models", () => {
  test("a completion of an unknown model is OpenAI's 404", async () => {
    const key = (await rest.request("POST", "/v1/api-keys", { body: { label: "test" } })).json.key;
    const client = new Rest(rest.url);
    client.token = key;
    const answer = await client.request("POST", "/v1/completions", { body: { model: "no-such-model", prompt: "Call me" } });
    assert.equal(answer.status, 404, answer.text);
    assert.equal(answer.json.error.code, "model_not_found");
    assert.deepEqual(Object.keys(answer.json.error).sort(), ["code", "message", "param", "type"]);
  });
});

describe("workers", () => {
  /** What the market says to a worker's first message before it closes the connection. */
  const first_answer = async (message) => {
    const socket = dial_worker(rest.url, await new Rest(rest.url).sign_in(stranger));
    const said = [];
    return new Promise((resolve, reject) => {
      socket.on("open", () => socket.send(JSON.stringify(message)));
      socket.on("message", (data) => said.push(JSON.parse(data.toString())));
      socket.on("error", reject);
      socket.on("close", (code) => resolve({ said, code }));
    });
  };
  test("a worker of another version is told which side to upgrade, and let go", async () => {
    for (const [version, program] of [[1, "millrace-worker"], [3, "millrace-market"]]) {
      const { said, code } = await first_answer({ type: "hello", version, fields: "of another time" });
      assert.deepEqual(said.map(({ type, code }) => [type, code]), [["error", "unsupported"]]);
      assert.match(said[0].detail, new RegExp(`protocol ${version}, the market 2: upgrade ${program}\\b`));
      assert.equal(code, 1008);
    }
  });
  test("what is no hello ends the connection", async () => {
    const { said } = await first_answer({ type: "hello", version: 2 });
    assert.deepEqual(said.map(({ code }) => code), ["missing_field"]);
  });
});

describe("vouchers", () => {
  /** One question to the signer over its socket. */
  const ask_signer = (question) =>
    new Promise((resolve, reject) => {
      const socket = connect(net.signer_socket, () => socket.write(`${JSON.stringify(question)}\n`));
      let answer = "";
      socket.setTimeout(5_000, () => socket.destroy(new Error("the signer does not answer")));
      socket.on("error", reject);
      socket.on("data", (data) => {
        answer += data;
        if (answer.includes("\n")) socket.end();
      });
      socket.on("close", () => resolve(JSON.parse(answer)));
    });
  /** A lease with what its name is the hash of: the signer makes sure of that. */
  const make_lease = () => {
    const zero_hash = `0x${"0".repeat(64)}`;
    const ask = {
      provider: stranger.address.toLowerCase(), resourceHash: zero_hash, unitKind: 3, price: 1n, minUnits: 1n, maxUnits: 9n, orderClass: 0,
      reclaimWindow: 0, earliest: 0n, expiry: 9n, volume: 9n, matcher: `0x${"0".repeat(40)}`, salt: random_hash(),
    };
    const ask_hash = hashStruct({ data: ask, primaryType: "Ask", types: { Ask: message_types.Ask } });
    const bid_hash = random_hash();
    return {
      lease: keccak256(encodeAbiParameters(parseAbiParameters("bytes32, bytes32, uint64"), [ask_hash, bid_hash, 0n])), bid_hash, index: "0",
      ask: {
        provider: ask.provider, resource_hash: ask.resourceHash, unit_kind: "training_step", price: "1", min_units: "1", max_units: "9",
        order_class: "on_demand", reclaim_window: "0", earliest: "0", expiry: "9", volume: "9", matcher: ask.matcher, salt: ask.salt,
      },
    };
  };
  const voucher = (sequence, amount, lease) => ({
    op: "sign_voucher", signer: net.delegate.toLowerCase(), chain_id: String(net.deployment.chain_id),
    contract: net.deployment.leases.toLowerCase(), ...lease, sequence: String(sequence), cumulative_units: String(amount),
    cumulative_amount: String(amount), receipts_root: random_hash(),
  });

  test("a voucher lower than the last is voucher_not_higher, and another of the same sequence is never signed", async () => {
    const lease = make_lease();
    const good = voucher(2, 2_000, lease);
    const signed = await ask_signer(good);
    assert.ok(!signed.error && !signed.code, JSON.stringify(signed));
    assert.deepEqual(await ask_signer(good), signed, "the same voucher twice has the same signature");
    assert.match(JSON.stringify(await ask_signer(voucher(1, 1_000, lease))), /voucher_not_higher/);
    assert.match(JSON.stringify(await ask_signer(voucher(3, 1_999, lease))), /voucher_not_higher/);
    assert.match(JSON.stringify(await ask_signer(voucher(2, 2_500, lease))), /already_signed_differently/);
  });
  test("a voucher for another contract, or of a lease that is not of its orders, is policy_refused", async () => {
    const question = { ...voucher(1, 1, make_lease()), contract: stranger.address.toLowerCase() };
    assert.match(JSON.stringify(await ask_signer(question)), /policy_refused|wrong_chain/);
    assert.match(JSON.stringify(await ask_signer(voucher(1, 1, { ...make_lease(), lease: random_hash() }))), /policy_refused/);
  });
  test("a bare digest cannot be asked for", async () => {
    const answer = await ask_signer({ op: "sign", digest: random_hash() });
    assert.match(JSON.stringify(answer), /unsupported|invalid/);
  });
});

/** Runs a program that must fail; its words must hold the code and more than that. */
async function fails(run, code) {
  const error = await run.then(() => undefined, (failure) => failure);
  assert.ok(error instanceof CommandFailed, `it did not fail: ${error}`);
  assert.match(error.output, new RegExp(code));
  assert.ok(error.output.trim().length > code.length + 20, error.output);
  assert.notEqual(error.exit_code, "SIGTERM", "it hung until it was stopped");
  return error;
}

describe("the command line", () => {
  test("without its chain it says chain_unreachable", async () => {
    await net.make_wallet("poor", "delegate");
    const options = net.cli_options("poor");
    options[options.indexOf("--rpc") + 1] = `http://127.0.0.1:${await free_port()}`;
    assert.equal((await fails(net.command("millrace", [...options, "--json", "balance"]), "chain_unreachable")).exit_code, 8);
  });
  test("it serves no model that was not published: unknown_model", () =>
    fails(net.cli("poor", "serve", "no-such-model", "--max-amount", "1"), "unknown_model"));
});

describe("starting", () => {
  const market = (name, change) => {
    mkdirSync(net.file(name), { recursive: true });
    return net.command("millrace-market", ["--config", net.market_config(name, { data_dir: net.file(name), ...change })], { timeout_ms: 60_000 });
  };
  test("a market without its chain says chain_unreachable", async () => {
    const port = await free_port();
    await fails(market("no_chain", { listen: `127.0.0.1:${await free_port()}`, rpc_url: `http://127.0.0.1:${port}` }), "chain_unreachable");
  });
  test("a market on a port in use says port_in_use", async () => {
    const squatter = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => squatter.once("listening", resolve));
    try {
      await fails(market("port_in_use", { listen: `127.0.0.1:${squatter.address().port}` }), "port_in_use");
    } finally {
      squatter.close();
    }
  });
  test("a market with an unknown setting says config_invalid", () => fails(market("typo", { listne: "127.0.0.1:1" }), "config_invalid"));
  test("a market without its deployment file says so", () =>
    fails(market("no_deployment", { listen: `127.0.0.1:${0}`, deployment: net.file("nowhere.json") }), "config_invalid|data_missing"));
  test("a signer without keys says data_missing", () => {
    mkdirSync(net.file("no_keys"), { recursive: true });
    return fails(net.command("millrace-signer", [
      ...["run", "--keystore", net.file("no_keys"), "--password-file", net.password_file, "--socket", `${net.signer_socket}2`],
      ...["--state", net.file("no_state"), "--policy", net.file("signer", "policy.toml")],
    ]), "data_missing");
  });
  test("a worker whose key is not registered says unknown_worker", async () => {
    await net.worker_command("unregistered", "setup", "--yes", "--light-key-files");
    await fails(net.command("millrace-worker", ["run", ...net.worker_options("unregistered")], { timeout_ms: 60_000 }), "unknown_worker");
  });
});
