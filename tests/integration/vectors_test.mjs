// SPDX-License-Identifier: Apache-2.0
// The golden vectors as viem sees them: C++ and Solidity check the same file, so all three agree on every hash.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { hashTypedData, recoverTypedDataAddress } from "../../scripts/lib/chain.mjs";

const vectors = JSON.parse(readFileSync(new URL("../vectors/eip712.json", import.meta.url), "utf8"));
const type_strings = {
  Ask: "address provider,bytes32 resourceHash,uint8 unitKind,uint64 price,uint64 minUnits,uint64 maxUnits,uint8 orderClass,uint32 reclaimWindow,uint64 earliest,uint64 expiry,uint64 volume,address matcher,bytes32 salt",
  Bid: "address buyer,bytes32 jobSpecHash,uint8 unitKind,uint64 priceCeiling,uint64 maxAmount,bytes32 constraintsHash,uint8 orderClass,uint8 verificationTier,uint64 earliest,uint64 deadline,uint64 expiry,uint64 volume,address matcher,bytes32 salt",
  Delegation: "address owner,address delegate,uint8 scope,uint64 spendCap,uint64 expiry,uint64 nonce",
  Receipt: "bytes32 lease,uint64 sequence,bytes32 previous,uint8 unitKind,uint64 cumulativeUnits,uint64 price,uint64 cumulativeAmount,bytes32 modelHash,bytes32 requestHash,bytes32 responseHash,uint64 startMs,uint64 endMs",
  Voucher: "bytes32 lease,uint64 sequence,uint64 cumulativeUnits,uint64 cumulativeAmount,bytes32 receiptsRoot",
  TreeHead: "uint64 size,bytes32 root,uint64 timeMs",
};
const half_order = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n;

for (const [name, fields] of Object.entries(type_strings)) {
  const of_message = vectors.filter((vector) => vector.primaryType === name);

  test(`${name}: at least five vectors, among them the largest and the smallest values`, () => {
    assert.ok(of_message.length >= 5, `${of_message.length} vectors`);
    const numbers = of_message.flatMap((vector) =>
      vector.types[name].filter(({ type }) => type.startsWith("uint")).map(({ name, type }) => {
        const bits = BigInt(type.slice(4));
        const value = BigInt(vector.message[name]);
        return value === 0n ? "zero" : value === 2n ** bits - 1n ? "largest" : "between";
      }));
    assert.ok(numbers.includes("zero"), "no zero");
    assert.ok(numbers.includes("largest"), "no largest value of a type");
  });

  for (const vector of of_message) {
    test(`${name}: ${vector.name}`, async () => {
      const { domain, types, primaryType, message, digest, signer, signature } = vector;
      assert.equal(types[name].map((field) => `${field.type} ${field.name}`).join(","), fields);
      assert.equal(hashTypedData({ domain, types, primaryType, message }), digest);
      const recovered = await recoverTypedDataAddress({ domain, types, primaryType, message, signature });
      assert.equal(recovered.toLowerCase(), signer.toLowerCase());
      assert.ok(BigInt(`0x${signature.slice(66, 130)}`) <= half_order, "high-s signature");
    });
  }
}
