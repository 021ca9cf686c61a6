// SPDX-License-Identifier: Apache-2.0
// A market on a fresh anvil for measuring: deployed contracts, funded actors, signed messages.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  concat,
  createPublicClient,
  createWalletClient,
  defineChain,
  encodeAbiParameters,
  hashStruct,
  http,
  keccak256,
  numberToHex,
  size,
  toHex,
  zeroAddress,
  zeroHash,
} from 'viem';
import { privateKeyToAccount, sign } from 'viem/accounts';
import { until } from '../../../scripts/lib/wait.mjs';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const vectors = JSON.parse(readFileSync(join(root, '../tests/vectors/eip712.json'), 'utf8'));

/// The types of the signed messages, from the golden vectors.
export const types = Object.fromEntries(vectors.map((one) => [one.primaryType, one.types[one.primaryType]]));
export const hashOf = (primaryType, data) =>
  hashStruct({ data, primaryType, types: { [primaryType]: types[primaryType] } });

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/// Waits until a node answers, at most 20 s.
async function answering(url) {
  const body = '{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}';
  const headers = { 'content-type': 'application/json' };
  const ask = () => fetch(url, { method: 'POST', headers, body });
  return until(`anvil to answer at ${url}`, ask, { timeout_ms: 20_000, every_ms: 50 });
}

export const keyOf = (name) => keccak256(toHex(`millrace gas ${name}`));
export const accountOf = (name) => privateKeyToAccount(keyOf(name));

const packSignature = (signature) => concat([numberToHex(size(signature), { size: 2 }), signature]);

function packClaim({ key, voucher, parties, buyerSignature, workerSignature }) {
  return concat([
    key
      ? concat(['0x01', key.askHash, key.bidHash, numberToHex(key.index, { size: 8 })])
      : concat(['0x00', voucher.lease]),
    numberToHex(voucher.sequence, { size: 8 }),
    numberToHex(voucher.cumulativeUnits, { size: 6 }),
    numberToHex(voucher.cumulativeAmount, { size: 6 }),
    voucher.receiptsRoot,
    parties.buyer,
    parties.voucherSigner,
    packSignature(buyerSignature),
    packSignature(workerSignature),
  ]);
}

/// What `claim` takes: neighbours of one provider and worker in one group.
export function packClaims(claims) {
  const groups = [];
  for (const claim of claims) {
    const { provider, workerKey } = claim.parties;
    const head = concat([provider, workerKey]);
    if (groups.at(-1)?.head !== head) groups.push({ head, items: [] });
    groups.at(-1).items.push(packClaim(claim));
  }
  return concat(groups.flatMap(({ head, items }) => [head, numberToHex(items.length, { size: 1 }), ...items]));
}

export async function startMarket() {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const anvil = spawn(
    join(root, 'node_modules/.bin/anvil'),
    ['--port', `${port}`, '--hardfork', 'prague', '--silent', '--prune-history', '--gas-limit', '300000000'],
    { stdio: 'ignore' },
  );
  const folder = mkdtempSync(join(tmpdir(), 'millrace-gas-'));
  const stop = () => {
    anvil.kill();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const transport = http(url, { retryCount: 0, timeout: 60_000 });
    await answering(url);
    const deployer = '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80';
    const operator = privateKeyToAccount(
      '0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d',
    );
    const out = join(folder, 'deployment.json');
    execFileSync(
      process.execPath,
      [join(root, 'deploy/deploy.mjs'), '--rpc', url, '--key-env', 'DEPLOYER_KEY',
        '--operator', operator.address, '--close-window', '0', '--out', out],
      { env: { ...process.env, DEPLOYER_KEY: deployer }, stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const deployment = JSON.parse(readFileSync(out, 'utf8'));
    return makeMarket(transport, deployment, privateKeyToAccount(deployer), operator, stop);
  } catch (error) {
    stop();
    throw error;
  }
}

function makeMarket(transport, deployment, deployer, operator, stop) {
  const chain = defineChain({
    id: deployment.chain_id,
    name: 'anvil',
    nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [] } },
  });
  const reader = createPublicClient({ chain, transport, pollingInterval: 20 });
  const abi = (name) => JSON.parse(readFileSync(join(root, `abi/${name}.json`), 'utf8'));
  const contracts = {
    token: { address: deployment.token, abi: abi('SettlementToken') },
    escrow: { address: deployment.escrow, abi: abi('Escrow') },
    providers: { address: deployment.providers, abi: abi('Providers') },
    leases: { address: deployment.leases, abi: abi('Leases') },
    receiptLog: { address: deployment.receipt_log, abi: abi('ReceiptLog') },
    disputes: { address: deployment.disputes, abi: abi('Disputes') },
  };
  const domain = {
    name: 'Millrace',
    version: '1',
    chainId: deployment.chain_id,
    verifyingContract: deployment.leases,
  };
  const domainOf = (type) =>
    type === 'TreeHead' ? { ...domain, verifyingContract: deployment.receipt_log } : domain;
  const separator = (where) =>
    keccak256(
      encodeAbiParameters(
        [{ type: 'bytes32' }, { type: 'bytes32' }, { type: 'bytes32' }, { type: 'uint256' }, { type: 'address' }],
        [
          keccak256(toHex('EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)')),
          keccak256(toHex(where.name)),
          keccak256(toHex(where.version)),
          BigInt(where.chainId),
          where.verifyingContract,
        ],
      ),
    );
  const market = {
    reader,
    deployment,
    operator,
    deployer,
    stop,
    contracts,
    /// Signs a message with a named actor's key (or the operator's).
    sign(type, message, signer) {
      const digest = keccak256(
        concat(['0x1901', separator(domainOf(type)), hashOf(type, message)]),
      );
      const privateKey = signer === 'operator'
        ? '0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d'
        : keyOf(signer);
      return sign({ hash: digest, privateKey, to: 'hex' });
    },
    /// Sends a call and returns its receipt; a revert throws.
    async send(contract, functionName, args, account = operator) {
      const writer = createWalletClient({ chain, transport, account });
      const hash = await writer.writeContract({
        ...contracts[contract],
        functionName,
        args,
        gas: 200_000_000n,
        gasPrice: 10n ** 10n,
      });
      const receipt = await reader.waitForTransactionReceipt({ hash });
      if (receipt.status !== 'success') throw new Error(`${functionName} reverted`);
      return receipt;
    },
    async asAccount(address, contract, functionName, args) {
      await reader.request({ method: 'anvil_setBalance', params: [address, numberToHex(10n ** 20n)] });
      await reader.request({ method: 'anvil_impersonateAccount', params: [address] });
      const receipt = await market.send(contract, functionName, args, address);
      await reader.request({ method: 'anvil_stopImpersonatingAccount', params: [address] });
      return receipt;
    },
    async addProvider(name) {
      const account = accountOf(name);
      const worker = accountOf(`${name} worker`);
      const text = keccak256(
        encodeAbiParameters(
          [{ type: 'string' }, { type: 'uint256' }, { type: 'address' }, { type: 'address' }],
          ['millrace.worker', BigInt(deployment.chain_id), deployment.providers, account.address],
        ),
      );
      const proof = await worker.signMessage({ message: { raw: text } });
      await market.asAccount(account.address, 'providers', 'register', [worker.address, proof, 0n]);
    },
    async fund(name, amount) {
      const { address } = accountOf(name);
      await market.send('token', 'mint', [deployer.address, amount], deployer);
      await market.send('token', 'approve', [deployment.escrow, amount], deployer);
      await market.send('escrow', 'deposit', [address, amount], deployer);
    },
    async openItem(provider, buyer, salt, options = {}) {
      const delegate = options.delegate;
      const now = 1_700_000_000n;
      const ask = {
        provider: accountOf(provider).address,
        resourceHash: keccak256(toHex('resource')),
        unitKind: 3,
        price: 1_500n,
        minUnits: 1n,
        maxUnits: 100_000n,
        orderClass: 3,
        reclaimWindow: 0,
        earliest: now,
        expiry: 4_000_000_000n,
        volume: 100_000_000n,
        matcher: operator.address,
        salt: keccak256(toHex(`ask ${provider}`)),
      };
      const bid = {
        buyer: accountOf(buyer).address,
        jobSpecHash: keccak256(toHex(`job ${buyer} ${salt}`)),
        unitKind: 3,
        priceCeiling: 2_000n,
        maxAmount: 600_000_000n,
        constraintsHash: keccak256(toHex('constraints')),
        orderClass: 0,
        verificationTier: 0,
        earliest: now,
        deadline: 4_000_000_000n,
        expiry: 4_000_000_000n,
        volume: options.units ?? 300n,
        matcher: operator.address,
        // Counted upward from a random start: the low byte is a bit in a shared word.
        salt: toHex((BigInt(keccak256(toHex(`salts of ${buyer}`))) & ~0xffn) + BigInt(salt), { size: 32 }),
      };
      const delegation = {
        owner: delegate ? bid.buyer : zeroAddress,
        delegate: delegate ? accountOf(delegate).address : zeroAddress,
        scope: delegate ? 3 : 0,
        spendCap: delegate ? 50_000_000n : 0n,
        expiry: delegate ? 4_000_000_000n : 0n,
        nonce: 0n,
      };
      return {
        ask,
        askSignature: await market.sign('Ask', ask, provider),
        bid,
        bidSignature: await market.sign('Bid', bid, delegate ?? buyer),
        delegation,
        delegationSignature: delegate ? await market.sign('Delegation', delegation, buyer) : '0x',
        price: 1_500n,
        maxUnits: options.units ?? 300n,
        workerKey: accountOf(`${provider} worker`).address,
        index: 0n,
        names: { provider, buyer, signer: delegate ?? buyer },
      };
    },
    keyOf(item) {
      return { askHash: hashOf('Ask', item.ask), bidHash: hashOf('Bid', item.bid), index: item.index };
    },
    leaseOf(item) {
      const { askHash, bidHash, index } = market.keyOf(item);
      return keccak256(
        encodeAbiParameters([{ type: 'bytes32' }, { type: 'bytes32' }, { type: 'uint64' }], [askHash, bidHash, index]),
      );
    },
    partiesOf(item) {
      return {
        buyer: item.bid.buyer,
        provider: item.ask.provider,
        voucherSigner: accountOf(item.names.signer).address,
        workerKey: item.workerKey,
      };
    },
    receiptOf: (lease, sequence, response) => ({
      lease,
      sequence,
      previous: zeroHash,
      unitKind: 3,
      cumulativeUnits: sequence,
      price: 1_500n,
      cumulativeAmount: sequence * 1_500n,
      modelHash: zeroHash,
      requestHash: zeroHash,
      responseHash: keccak256(toHex(response)),
      startMs: 0n,
      endMs: 0n,
    }),
    /// What `open` takes: neighbours under the same ask in one group.
    groupsOf(items) {
      const groups = [];
      for (const { ask, askSignature, ...item } of items) {
        if (groups.at(-1)?.askSignature !== askSignature) groups.push({ ask, askSignature, items: [] });
        groups.at(-1).items.push(item);
      }
      return groups;
    },
    async claimItem(item, units) {
      const voucher = {
        lease: market.leaseOf(item),
        sequence: units,
        cumulativeUnits: units,
        cumulativeAmount: units * 1_500n,
        receiptsRoot: keccak256(toHex(`root ${units}`)),
      };
      return {
        key: units === item.maxUnits ? market.keyOf(item) : undefined,
        voucher,
        parties: market.partiesOf(item),
        buyerSignature: await market.sign('Voucher', voucher, item.names.signer),
        workerSignature: await market.sign('Voucher', voucher, `${item.names.provider} worker`),
      };
    },
  };
  return market;
}
