#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Deploys the settlement contracts and writes the deployment file that the programs read.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  createPublicClient,
  createWalletClient,
  defineChain,
  encodeDeployData,
  getAddress,
  getContractAddress,
  http,
  isAddress,
  keccak256,
  toHex,
  zeroHash,
} from 'viem';
import { privateKeyToAccount } from 'viem/accounts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const help = `usage: deploy.mjs --rpc URL --key-env VAR --operator ADDRESS --out FILE [options]

  --rpc URL             JSON-RPC endpoint of the chain
  --key-env VAR         environment variable holding the deployer's private key (0x + 64 hex digits)
  --operator ADDRESS    runs the market: requests closes, signs log heads
  --out FILE            where to write the deployment as JSON
  --owner ADDRESS       owns treasury and provider rules (default: the deployer)
  --token ADDRESS       an existing settlement token (default: deploys a test token)
  --mint ADDR=ATOMS     mints test tokens; may be repeated
  --close-window S      seconds between a requested close and its end (default 3600)
  --withdraw-delay S    seconds before a withdrawal leaves (default 259200: 3 days)
  --unbond-delay S      seconds before a bond leaves (default 604800: 7 days)
  --key-delay S         seconds before a further worker key is active (default 3600)
  --govern HOLDER=UNITS deploys the governance token (18 decimals), all of it to HOLDER, with
                        governor and timelock; the timelock becomes the owner
  --timelock-delay S    seconds a decision waits (default 172800: 2 days)
  --min-bond ATOMS      least bond of a provider (default 0)
  --fee-bps N           fee in basis points, at most 500 (default 100)
  --no-build            use the compiled contracts as they are`;

class Failure extends Error {}

function fail(text) {
  throw new Failure(text);
}

function readOptions() {
  let values;
  try {
    const text = { type: 'string' };
    ({ values } = parseArgs({
      options: {
        rpc: text,
        'key-env': text,
        operator: text,
        owner: text,
        token: text,
        govern: text,
        'timelock-delay': { ...text, default: '172800' },
        out: text,
        mint: { type: 'string', multiple: true, default: [] },
        'close-window': { ...text, default: '3600' },
        'withdraw-delay': { ...text, default: '259200' },
        'unbond-delay': { ...text, default: '604800' },
        'key-delay': { ...text, default: '3600' },
        'min-bond': { ...text, default: '0' },
        'fee-bps': { ...text, default: '100' },
        'no-build': { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    fail(`${error.message}\n${help}`);
  }
  if (values.help) {
    console.log(help);
    process.exit(0);
  }
  for (const name of ['rpc', 'key-env', 'operator', 'out']) {
    if (!values[name]) fail(`--${name} is missing\n${help}`);
  }
  const address = (name) => {
    const text = values[name];
    if (text === undefined) return undefined;
    if (!isAddress(text, { strict: false })) fail(`--${name}: "${text}" is not an address`);
    return getAddress(text);
  };
  const number = (name, most = 2n ** 40n) => {
    const text = values[name];
    if (!/^[0-9]{1,19}$/.test(text)) fail(`--${name}: "${text}" is not a whole number`);
    if (BigInt(text) > most) fail(`--${name}: ${text} is above ${most}`);
    return BigInt(text);
  };
  const key = process.env[values['key-env']];
  if (!key) fail(`--key-env: the environment variable ${values['key-env']} is not set`);
  if (!/^0x[0-9a-fA-F]{64}$/.test(key)) {
    fail(`--key-env: ${values['key-env']} does not hold a private key (0x and 64 hex digits)`);
  }
  const mints = values.mint.map((text) => {
    const [to, amount] = text.split('=');
    if (!isAddress(to ?? '', { strict: false }) || !/^[0-9]{1,30}$/.test(amount ?? '')) {
      fail(`--mint: "${text}" is not ADDRESS=ATOMS`);
    }
    return { to: getAddress(to), amount: BigInt(amount) };
  });
  const [holder, supply] = values.govern?.split('=') ?? [];
  if (values.govern !== undefined) {
    if (!isAddress(holder, { strict: false }) || !/^[0-9]{1,40}$/.test(supply ?? '')) {
      fail(`--govern: "${values.govern}" is not HOLDER=UNITS`);
    }
    if (values.owner) fail('--govern makes the timelock the owner: leave out --owner');
  }
  if (mints.length > 0 && values.token) fail('--mint needs the test token: leave out --token');
  return {
    rpc: values.rpc,
    key,
    operator: address('operator'),
    owner: address('owner'),
    token: address('token'),
    out: resolve(values.out),
    mints,
    govern: holder && { holder: getAddress(holder), supply: BigInt(supply) },
    timelockDelay: number('timelock-delay'),
    closeWindow: number('close-window'),
    withdrawDelay: number('withdraw-delay'),
    unbondDelay: number('unbond-delay'),
    keyDelay: number('key-delay'),
    minBond: number('min-bond', 2n ** 63n),
    feeBps: number('fee-bps', 500n),
    build: !values['no-build'],
  };
}

function build() {
  const forge = join(root, 'node_modules/.bin/forge');
  if (!existsSync(forge)) fail(`forge is not installed: run "npm ci --ignore-scripts" in ${root}`);
  try {
    execFileSync(forge, ['build', '--quiet', '--skip', 'test'], { cwd: root, stdio: 'pipe' });
  } catch (error) {
    fail(`forge build failed:\n${error.stderr}${error.stdout}`);
  }
}

function artifact(name) {
  const path = join(root, `out/${name}.sol/${name}.json`);
  if (!existsSync(path)) fail(`${path} is missing: build the contracts first (leave out --no-build)`);
  const { abi, bytecode } = JSON.parse(readFileSync(path, 'utf8'));
  return { abi, bytecode: bytecode.object };
}

async function connect(options) {
  let transport;
  try {
    new URL(options.rpc);
    transport = http(options.rpc, { timeout: 15_000, retryCount: 2 });
  } catch {
    fail(`--rpc: "${options.rpc}" is not a URL`);
  }
  const probe = createPublicClient({ transport });
  let chainId;
  try {
    chainId = await probe.getChainId();
  } catch (error) {
    fail(`no chain answers at ${options.rpc}: ${error.shortMessage ?? error.message}`);
  }
  const chain = defineChain({
    id: chainId,
    name: `chain ${chainId}`,
    nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [options.rpc] } },
  });
  const account = privateKeyToAccount(options.key);
  const reader = createPublicClient({ chain, transport, pollingInterval: 100 });
  const writer = createWalletClient({ chain, transport, account });
  if ((await reader.getBalance({ address: account.address })) === 0n) {
    fail(`the deployer ${account.address} has nothing to pay for gas with on chain ${chainId}`);
  }
  return { reader, writer, account, chainId };
}

/// Sends one transaction after the other with nonces of its own, and waits for each.
function makeSender({ reader, writer, account }, firstNonce) {
  let nonce = firstNonce;
  const gas = { used: 0n, block: undefined };
  const settle = async (what, hash) => {
    const receipt = await reader.waitForTransactionReceipt({ hash, timeout: 120_000 });
    if (receipt.status !== 'success') fail(`${what} was reverted (transaction ${hash})`);
    gas.used += receipt.gasUsed;
    gas.block ??= receipt.blockNumber;
    return receipt;
  };
  return {
    gas,
    next: (steps) => getContractAddress({ from: account.address, nonce: BigInt(nonce + steps) }),
    async deploy(name, args) {
      const { abi, bytecode } = artifact(name);
      const data = encodeDeployData({ abi, bytecode, args });
      const hash = await writer.sendTransaction({ data, nonce: nonce++ });
      const receipt = await settle(`deploying ${name}`, hash);
      console.error(`deploy: ${name.padEnd(16)} ${getAddress(receipt.contractAddress)}`);
      return getAddress(receipt.contractAddress);
    },
    async call(what, address, name, functionName, args) {
      const { abi } = artifact(name);
      const hash = await writer.writeContract({ address, abi, functionName, args, nonce: nonce++ });
      await settle(what, hash);
    },
  };
}

const votingDelay = 86_400;
const votingPeriod = 432_000;

/// Deploys token, timelock and governor; afterwards nobody but the governor proposes.
async function deployGovernance(sender, options, deployer) {
  const { holder, supply } = options.govern;
  const token = await sender.deploy('MillraceToken', [holder, supply]);
  const timelock = await sender.deploy('Timelock', [options.timelockDelay, deployer]);
  const governor = await sender.deploy('MillraceGovernor', [
    token,
    timelock,
    votingDelay,
    votingPeriod,
    supply / 1_000n,
  ]);
  const call = (what, ...args) => sender.call(`timelock: ${what}`, timelock, 'Timelock', what, args);
  for (const role of ['PROPOSER_ROLE', 'CANCELLER_ROLE']) {
    await call('grantRole', keccak256(toHex(role)), governor);
  }
  await call('renounceRole', zeroHash, deployer);
  return { governance_token: token, timelock, governor };
}

async function main() {
  const options = readOptions();
  if (options.build) build();
  const link = await connect(options);
  const { reader, account, chainId } = link;
  const firstNonce = await reader.getTransactionCount({
    address: account.address,
    blockTag: 'pending',
  });
  const sender = makeSender(link, firstNonce);
  const governance = options.govern && (await deployGovernance(sender, options, account.address));
  const owner = governance?.timelock ?? options.owner ?? account.address;

  if (options.token && !(await reader.getCode({ address: options.token }))) {
    fail(`--token: there is no contract at ${options.token}`);
  }
  const token = options.token ?? (await sender.deploy('SettlementToken', [account.address]));
  const treasury = await sender.deploy('Treasury', [owner, Number(options.feeBps)]);
  // Contracts that name each other: the addresses of those to come are known ahead.
  const providers = await sender.deploy('Providers', [
    token,
    owner,
    sender.next(4), // Disputes
    options.minBond,
    options.keyDelay,
    options.unbondDelay,
  ]);
  const escrow = await sender.deploy('Escrow', [token, sender.next(1), options.withdrawDelay]);
  const leases = await sender.deploy('Leases', [
    escrow,
    providers,
    treasury,
    options.operator,
    options.closeWindow,
  ]);
  const receiptLog = await sender.deploy('ReceiptLog', [options.operator]);
  const disputes = await sender.deploy('Disputes', [leases, providers]);
  for (const { to, amount } of options.mints) {
    await sender.call(`minting to ${to}`, token, 'SettlementToken', 'mint', [to, amount]);
  }

  const deployment = {
    chain_id: chainId,
    block: Number(sender.gas.block),
    token,
    escrow,
    providers,
    leases,
    receipt_log: receiptLog,
    disputes,
    treasury,
    operator: options.operator,
    owner,
    close_window_s: Number(options.closeWindow),
    withdraw_delay_s: Number(options.withdrawDelay),
    unbond_delay_s: Number(options.unbondDelay),
    key_delay_s: Number(options.keyDelay),
    min_bond: options.minBond.toString(),
    fee_bps: Number(options.feeBps),
    ...governance,
  };
  const text = `${JSON.stringify(deployment, null, 2)}\n`;
  mkdirSync(dirname(options.out), { recursive: true });
  writeFileSync(options.out, text);
  process.stdout.write(text);
  console.error(`deploy: ${sender.gas.used} gas; written to ${options.out}`);
}

main().catch((error) => {
  const text = error instanceof Failure ? error.message : (error.shortMessage ?? error.stack);
  console.error(`deploy: ${text}`);
  process.exit(1);
});
