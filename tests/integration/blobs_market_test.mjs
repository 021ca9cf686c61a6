// SPDX-License-Identifier: Apache-2.0
// A file larger than one request takes, sent and fetched by the command line while the market is killed and the
// sender goes away: it goes on from what is there, and the bytes are the same.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { root } from "../../scripts/lib/chain.mjs";
import { Devnet } from "../../scripts/lib/devnet.mjs";

const folder = join(root, "build/test/blobs");
const bin = join(process.env.MILLRACE_BIN ?? join(root, "build/release/bin"), "millrace");
const bytes = randomBytes(160 * 1024 * 1024);
const hash = `0x${createHash("sha256").update(bytes).digest("hex")}`;
let net;

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain();
  await net.start_signer();
  await net.start_market({ blob_account_bytes: 200 * 1024 * 1024 });
  await net.make_wallet("buyer");
  await net.cli("buyer", "keys", "create"); // signs in
  writeFileSync(net.file("large"), bytes);
});
after(() => net?.stop());

const parts = () => {
  const place = net.file("market", "blobs", "parts");
  return existsSync(place) ? readdirSync(place).map((name) => join(place, name)) : [];
};
const start = (name, ...args) => net.processes.start(name, bin, [...net.cli_options("buyer"), ...args]);
const part_size = (file) => {
  try {
    return statSync(file).size;
  } catch {
    return 0;
  }
};

test("an upload outlives kill -9 of the market, and of its sender", async () => {
  start("first upload", "upload", net.file("large"));
  await net.processes.until("first upload", "a third to be there", () => parts().some((file) => part_size(file) > bytes.length / 4), { every_ms: 5 });
  await net.processes.kill9("market");
  const kept = part_size(parts()[0]);
  assert.ok(kept > 0 && kept < bytes.length);
  await net.start_market({ blob_account_bytes: 200 * 1024 * 1024 });
  // The same process goes on by itself; then it is killed, and another goes on.
  await net.processes.until("first upload", "the upload to go on", () => parts().some((file) => part_size(file) > kept), { every_ms: 5 });
  await net.processes.kill9("first upload");
  const result = await net.cli("buyer", "upload", net.file("large"));
  assert.equal(result.hash, hash);
  assert.equal(parts().length, 0);
  // Known bytes are not sent again, and another such file has no room in the account's share.
  assert.equal((await net.cli("buyer", "upload", net.file("large"))).hash, hash);
  writeFileSync(net.file("another"), randomBytes(80 * 1024 * 1024));
  await assert.rejects(net.cli("buyer", "upload", net.file("another")), /too_large/);
});

test("a download goes on from what is on disk", async () => {
  const target = net.file("fetched");
  start("first download", "download", hash, target);
  await net.processes.until("first download", "a part to be there", () => part_size(`${target}.part`) > 1_000_000, { every_ms: 1 });
  await net.processes.kill9("first download");
  const kept = part_size(`${target}.part`);
  assert.ok(kept < bytes.length, "the download was over before it could be cut");
  await net.cli("buyer", "download", hash, target);
  assert.ok(readFileSync(target).equals(bytes));
  const metrics = await (await fetch(`${net.market_url}/metrics`)).text();
  assert.match(metrics, /millrace_http_requests_total\{route="\/v1\/blobs\/\{sha256\}",status="206"\} [1-9]/);
  assert.match(metrics, new RegExp(`millrace_blob_bytes ${bytes.length}\\n`));
});
