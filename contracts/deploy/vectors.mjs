#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Golden vectors of every signed message, made with viem: tests/vectors/eip712.json.
// C++, Solidity and viem are compared through this file. --check: is the committed one reproducible?
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hashStruct, hashTypedData, keccak256, toHex, zeroAddress, zeroHash } from 'viem';
import { privateKeyToAccount, sign } from 'viem/accounts';

const file = join(dirname(fileURLToPath(import.meta.url)), '../../tests/vectors/eip712.json');

function fields(text) {
  return text.split(',').map((field) => {
    const [type, name] = field.split(' ');
    return { name, type };
  });
}

const types = {
  Ask: fields(
    'address provider,bytes32 resourceHash,uint8 unitKind,uint64 price,uint64 minUnits,uint64 maxUnits,uint8 orderClass,uint32 reclaimWindow,uint64 earliest,uint64 expiry,uint64 volume,address matcher,bytes32 salt',
  ),
  Bid: fields(
    'address buyer,bytes32 jobSpecHash,uint8 unitKind,uint64 priceCeiling,uint64 maxAmount,bytes32 constraintsHash,uint8 orderClass,uint8 verificationTier,uint64 earliest,uint64 deadline,uint64 expiry,uint64 volume,address matcher,bytes32 salt',
  ),
  Delegation: fields(
    'address owner,address delegate,uint8 scope,uint64 spendCap,uint64 expiry,uint64 nonce',
  ),
  Receipt: fields(
    'bytes32 lease,uint64 sequence,bytes32 previous,uint8 unitKind,uint64 cumulativeUnits,uint64 price,uint64 cumulativeAmount,bytes32 modelHash,bytes32 requestHash,bytes32 responseHash,uint64 startMs,uint64 endMs',
  ),
  Voucher: fields(
    'bytes32 lease,uint64 sequence,uint64 cumulativeUnits,uint64 cumulativeAmount,bytes32 receiptsRoot',
  ),
  Objection: fields('bytes32 lease,bytes32 receipt'),
  TreeHead: fields('uint64 size,bytes32 root,uint64 timeMs'),
};

// Keys anybody may know: the hash of a name.
const key = (name) => keccak256(toHex(`millrace test key ${name}`));
const address = (name) => privateKeyToAccount(key(name)).address;
const hash = (name) => keccak256(toHex(name));
const maxHash = `0x${'ff'.repeat(32)}`;
const maxAddress = '0xFFfFfFffFFfffFFfFFfFFFFFffFFFffffFfFFFfF';
const max64 = 2n ** 64n - 1n;

const leases = '0xDc64a140Aa3E981100a9becA4E685f962f0cF6C9';
const receiptLog = '0x5FC8d32690cc91D4c39d9d3abcBD16989F875707';
const local = (contract) => ({
  name: 'Millrace',
  version: '1',
  chainId: 31337,
  verifyingContract: contract,
});
const mainnet = (contract) => ({ ...local(contract), chainId: 1 });
const farthest = (contract) => ({ ...local(contract), chainId: Number.MAX_SAFE_INTEGER });

const ask = {
  provider: address('provider'),
  resourceHash: hash('resource'),
  unitKind: 3,
  price: 1_500n,
  minUnits: 1n,
  maxUnits: 100_000n,
  orderClass: 3,
  reclaimWindow: 0,
  earliest: 1_700_000_000n,
  expiry: 1_800_000_000n,
  volume: 200_000n,
  matcher: address('operator'),
  salt: hash('ask salt'),
};
const bid = {
  buyer: address('buyer'),
  jobSpecHash: hash('job spec'),
  unitKind: 3,
  priceCeiling: 2_000n,
  maxAmount: 600_000n,
  constraintsHash: hash('constraints'),
  orderClass: 0,
  verificationTier: 1,
  earliest: 1_700_000_000n,
  deadline: 1_800_003_600n,
  expiry: 1_800_000_000n,
  volume: 300n,
  matcher: address('operator'),
  salt: hash('bid salt'),
};
const delegation = {
  owner: address('buyer'),
  delegate: address('delegate'),
  scope: 3,
  spendCap: 50_000_000n,
  expiry: 1_800_000_000n,
  nonce: 0n,
};
const receipt = {
  lease: hash('lease'),
  sequence: 1n,
  previous: zeroHash,
  unitKind: 3,
  cumulativeUnits: 25n,
  price: 1_500n,
  cumulativeAmount: 37_500n,
  modelHash: hash('weights'),
  requestHash: hash('request'),
  responseHash: hash('checkpoint'),
  startMs: 1_750_000_000_000n,
  endMs: 1_750_000_060_000n,
};
const voucher = {
  lease: hash('lease'),
  sequence: 4n,
  cumulativeUnits: 100n,
  cumulativeAmount: 150_000n,
  receiptsRoot: hash('receipts root'),
};
const head = { size: 1_000n, root: hash('log root'), timeMs: 1_750_000_000_000n };

const zeroOf = { address: zeroAddress, bytes32: zeroHash, uint8: 0, uint32: 0, uint64: 0n };
const maxOf = { address: maxAddress, bytes32: maxHash, uint8: 255, uint32: 2 ** 32 - 1, uint64: max64 };
const fill = (type, values) =>
  Object.fromEntries(types[type].map((field) => [field.name, values[field.type]]));

const emptyRoot = '0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

const cases = [
  ['ask: training steps, standing', 'Ask', ask, 'provider'],
  ['ask: gpu milliseconds, anyone may pair it', 'Ask', { ...ask, unitKind: 0, price: 2_100_000n, matcher: zeroAddress, orderClass: 0 }, 'provider'],
  ['ask: output tokens, interruptible', 'Ask', { ...ask, unitKind: 2, orderClass: 1, reclaimWindow: 120, price: 1n }, 'provider'],
  ['ask: every field zero', 'Ask', fill('Ask', zeroOf), 'provider'],
  ['ask: every field at its largest', 'Ask', fill('Ask', maxOf), 'provider'],
  ['ask: another chain', 'Ask', ask, 'provider', mainnet(leases)],
  ['bid: training', 'Bid', bid, 'buyer'],
  ['bid: signed by a delegate', 'Bid', bid, 'delegate'],
  ['bid: input tokens, standing, anyone may pair it', 'Bid', { ...bid, unitKind: 1, orderClass: 3, volume: max64, matcher: zeroAddress }, 'buyer'],
  ['bid: every field zero', 'Bid', fill('Bid', zeroOf), 'buyer'],
  ['bid: every field at its largest', 'Bid', fill('Bid', maxOf), 'buyer'],
  ['bid: largest salt', 'Bid', { ...bid, salt: maxHash }, 'buyer'],
  ['bid: another contract', 'Bid', bid, 'buyer', local(maxAddress)],
  ['delegation: orders and vouchers', 'Delegation', delegation, 'buyer'],
  ['delegation: vouchers only', 'Delegation', { ...delegation, scope: 2 }, 'buyer'],
  ['delegation: orders only, raised nonce', 'Delegation', { ...delegation, scope: 1, nonce: 7n }, 'buyer'],
  ['delegation: every field zero', 'Delegation', fill('Delegation', zeroOf), 'buyer'],
  ['delegation: every field at its largest', 'Delegation', fill('Delegation', maxOf), 'buyer'],
  ['receipt: first of a lease', 'Receipt', receipt, 'worker'],
  ['receipt: second of a lease', 'Receipt', { ...receipt, sequence: 2n, previous: hash('first receipt'), cumulativeUnits: 50n, cumulativeAmount: 75_000n }, 'worker'],
  ['receipt: output tokens', 'Receipt', { ...receipt, unitKind: 2, cumulativeUnits: 333n, price: 2_000_000n, cumulativeAmount: 666n }, 'worker'],
  ['receipt: every field zero', 'Receipt', fill('Receipt', zeroOf), 'worker'],
  ['receipt: every field at its largest', 'Receipt', fill('Receipt', maxOf), 'worker'],
  ['voucher: signed by the voucher signer', 'Voucher', voucher, 'delegate'],
  ['voucher: the same signed by the worker', 'Voucher', voucher, 'worker'],
  ['voucher: no receipts yet', 'Voucher', { ...voucher, sequence: 0n, cumulativeUnits: 0n, cumulativeAmount: 0n, receiptsRoot: emptyRoot }, 'worker'],
  ['voucher: every field zero', 'Voucher', fill('Voucher', zeroOf), 'worker'],
  ['voucher: every field at its largest', 'Voucher', fill('Voucher', maxOf), 'worker'],
  ['voucher: largest chain id a double can hold', 'Voucher', voucher, 'worker', farthest(leases)],
  ['objection: by the voucher signer', 'Objection', { lease: voucher.lease, receipt: hash('receipt') }, 'delegate'],
  ['objection: by the buyer', 'Objection', { lease: voucher.lease, receipt: hash('receipt') }, 'buyer'],
  ['objection: another contract', 'Objection', { lease: voucher.lease, receipt: hash('receipt') }, 'delegate', local(maxAddress)],
  ['objection: every field zero', 'Objection', fill('Objection', zeroOf), 'buyer'],
  ['objection: every field at its largest', 'Objection', fill('Objection', maxOf), 'buyer'],
  ['tree head: a thousand leaves', 'TreeHead', head, 'operator'],
  ['tree head: one leaf', 'TreeHead', { ...head, size: 1n }, 'operator'],
  ['tree head: empty log', 'TreeHead', { size: 0n, root: emptyRoot, timeMs: 0n }, 'operator'],
  ['tree head: every field zero', 'TreeHead', fill('TreeHead', zeroOf), 'operator'],
  ['tree head: every field at its largest', 'TreeHead', fill('TreeHead', maxOf), 'operator'],
  ['tree head: co-signed by a witness', 'TreeHead', head, 'witness'],
];

async function vector([name, primaryType, message, signer, domain]) {
  const where = domain ?? local(primaryType === 'TreeHead' ? receiptLog : leases);
  const only = { [primaryType]: types[primaryType] };
  const typed = { domain: where, types: only, primaryType, message };
  const digest = hashTypedData(typed);
  const signature = await sign({ hash: digest, privateKey: key(signer), to: 'hex' });
  return {
    name,
    domain: where,
    types: only,
    primaryType,
    message,
    structHash: hashStruct({ data: message, types: only, primaryType }),
    digest,
    signer: address(signer),
    privateKey: key(signer),
    signature,
  };
}

const vectors = [];
for (const one of cases) vectors.push(await vector(one));
// 64-bit numbers are decimal strings: a JSON number holds 53 bits.
const text = `${JSON.stringify(
  vectors,
  (_, value) => (typeof value === 'bigint' ? value.toString() : value),
  2,
)}\n`;

if (process.argv.includes('--check')) {
  let committed = '';
  try {
    committed = readFileSync(file, 'utf8');
  } catch (error) {
    console.error(`vectors: ${file} cannot be read: ${error.message}`);
  }
  if (committed !== text) {
    console.error('vectors: tests/vectors/eip712.json is not what viem gives; run: npm run vectors');
    process.exit(1);
  }
  console.log(`vectors: ${vectors.length} reproduced`);
} else {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  console.log(`vectors: ${vectors.length} written`);
}
