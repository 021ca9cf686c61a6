// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {Test} from "forge-std/Test.sol";
import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {ClaimItem, ILeases, LeaseKey, OpenItem, Parties} from "../../src/interfaces/ILeases.sol";
import {IProviders} from "../../src/interfaces/IProviders.sol";
import {IReceiptLog} from "../../src/interfaces/IReceiptLog.sol";
import {ITreasury} from "../../src/interfaces/ITreasury.sol";
import {Ask, Bid, Delegation, Voucher} from "../../src/libraries/Messages.sol";
import {SettlementToken} from "../../src/mocks/SettlementToken.sol";
import {MessagesHarness} from "./MessagesHarness.sol";

/// @notice The whole market on one chain, with one buyer, one provider and ready-made messages.
abstract contract Fixture is Test {
    uint64 internal constant CLOSE_WINDOW = 1 hours;
    uint64 internal constant WITHDRAW_DELAY = 3 days;
    uint64 internal constant UNBOND_DELAY = 7 days;
    uint64 internal constant KEY_DELAY = 2 hours;
    uint64 internal constant MIN_BOND = 1_000_000;
    uint64 internal constant START = 1_750_000_000;
    uint64 internal constant PRICE = 1_500;
    uint64 internal constant UNITS = 300;

    SettlementToken internal token;
    ITreasury internal treasury;
    IProviders internal providers;
    IEscrow internal escrow;
    ILeases internal leases;
    IReceiptLog internal receiptLog;
    MessagesHarness internal messages;

    address internal owner = makeAddr("owner");
    address internal buyer;
    uint256 internal buyerKey;
    address internal provider;
    uint256 internal providerKey;
    address internal worker;
    uint256 internal workerKey;
    address internal delegate;
    uint256 internal delegateKey;
    address internal operator;
    uint256 internal operatorKey;

    function setUp() public virtual {
        vm.warp(START);
        (buyer, buyerKey) = makeAddrAndKey("buyer");
        (provider, providerKey) = makeAddrAndKey("provider");
        (worker, workerKey) = makeAddrAndKey("worker");
        (delegate, delegateKey) = makeAddrAndKey("delegate");
        (operator, operatorKey) = makeAddrAndKey("operator");
        messages = new MessagesHarness();
        token = new SettlementToken(address(this));
        deployOn(token);
        fund(buyer, 100e6);
        enlist(provider, workerKey, MIN_BOND);
    }

    function deployOn(IERC20 money) internal {
        treasury = ITreasury(make("Treasury", abi.encode(owner, 100)));
        providers = IProviders(
            make("Providers", abi.encode(money, owner, MIN_BOND, KEY_DELAY, UNBOND_DELAY))
        );
        address next = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 1);
        escrow = IEscrow(make("Escrow", abi.encode(money, next, WITHDRAW_DELAY)));
        leases = ILeases(
            make("Leases", abi.encode(escrow, providers, treasury, operator, CLOSE_WINDOW))
        );
        receiptLog = IReceiptLog(make("ReceiptLog", abi.encode(operator)));
    }

    /// @notice Deploys compiled code. The tests do not import the contracts, which are compiled by
    /// the optimising pipeline, so that they themselves compile fast.
    function make(string memory name, bytes memory args) internal returns (address made) {
        return create(codeOf(name, args));
    }

    function codeOf(string memory name, bytes memory args) internal view returns (bytes memory) {
        return abi.encodePacked(vm.getCode(string.concat(name, ".sol:", name)), args);
    }

    function create(bytes memory code) internal returns (address made) {
        assembly ("memory-safe") {
            made := create(0, add(code, 0x20), mload(code))
            if iszero(made) {
                returndatacopy(mload(0x40), 0, returndatasize())
                revert(mload(0x40), returndatasize())
            }
        }
    }

    // ── actors ──────────────────────────────────────────────────────────────────────────────────

    /// @notice Gives `account` this much free money in escrow.
    function fund(address account, uint64 amount) internal {
        token.mint(account, amount);
        vm.startPrank(account);
        token.approve(address(escrow), amount);
        escrow.deposit(account, amount);
        vm.stopPrank();
    }

    function enlist(address who, uint256 key, uint64 bond) internal {
        token.mint(who, bond);
        vm.startPrank(who);
        token.approve(address(providers), bond);
        providers.register(vm.addr(key), proofOf(key, who), bond);
        vm.stopPrank();
    }

    function proofOf(uint256 key, address who) internal view returns (bytes memory) {
        bytes32 text =
            keccak256(abi.encode("millrace.worker", block.chainid, address(providers), who));
        return sign(key, MessageHashUtils.toEthSignedMessageHash(text));
    }

    function sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function freeOf(address account) internal view returns (uint64 free) {
        (free,,,,) = escrow.accounts(account);
    }

    function lockedOf(address account) internal view returns (uint64 locked) {
        (, locked,,,) = escrow.accounts(account);
    }

    function creditOf(address account) internal view returns (uint64 earned) {
        (,, earned,,) = escrow.accounts(account);
    }

    // ── messages ────────────────────────────────────────────────────────────────────────────────

    function makeAsk() internal view returns (Ask memory) {
        return Ask({
            provider: provider,
            resourceHash: keccak256("resource"),
            unitKind: 3,
            price: PRICE,
            minUnits: 1,
            maxUnits: 100_000,
            orderClass: 3,
            reclaimWindow: 0,
            earliest: START,
            expiry: START + 30 days,
            volume: 200_000,
            matcher: operator,
            salt: keccak256("ask")
        });
    }

    function makeBid() internal view returns (Bid memory) {
        return Bid({
            buyer: buyer,
            jobSpecHash: keccak256("job"),
            unitKind: 3,
            priceCeiling: 2_000,
            maxAmount: 600_000,
            constraintsHash: keccak256("constraints"),
            orderClass: 0,
            verificationTier: 0,
            earliest: START,
            deadline: START + 2 days,
            expiry: START + 1 days,
            volume: UNITS,
            matcher: operator,
            salt: keccak256("bid")
        });
    }

    function noDelegation() internal pure returns (Delegation memory none) {}

    function makeDelegation() internal view returns (Delegation memory) {
        return Delegation({
            owner: buyer,
            delegate: delegate,
            scope: 3,
            spendCap: 1_000_000,
            expiry: START + 7 days,
            nonce: 0
        });
    }

    /// @notice An item signed by the buyer alone.
    function makeItem() internal view returns (OpenItem memory) {
        return signItem(makeAsk(), makeBid(), noDelegation());
    }

    /// @notice An item of a delegate who signs orders and vouchers.
    function makeDelegatedItem() internal view returns (OpenItem memory) {
        return signItem(makeAsk(), makeBid(), makeDelegation());
    }

    function signItem(Ask memory ask, Bid memory bid, Delegation memory delegation)
        internal
        view
        returns (OpenItem memory item)
    {
        item.ask = ask;
        item.askSignature = sign(providerKey, digestOf(messages.hashAsk(ask)));
        item.bid = bid;
        item.bidSignature = sign(
            delegation.scope & 1 != 0 ? delegateKey : buyerKey, digestOf(messages.hashBid(bid))
        );
        item.delegation = delegation;
        if (delegation.delegate != address(0) || delegation.scope != 0) {
            item.delegationSignature = sign(buyerKey, digestOf(messages.hashDelegation(delegation)));
        }
        item.price = ask.price;
        item.maxUnits = UNITS;
        item.workerKey = worker;
    }

    function digestOf(bytes32 structHash) internal view returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(leases.domainSeparator(), structHash);
    }

    function keyOf(OpenItem memory item) internal view returns (LeaseKey memory) {
        return LeaseKey(messages.hashAsk(item.ask), messages.hashBid(item.bid), item.index);
    }

    function leaseOf(OpenItem memory item) internal view returns (bytes32) {
        LeaseKey memory key = keyOf(item);
        return keccak256(abi.encode(key.askHash, key.bidHash, key.index));
    }

    function partiesOf(OpenItem memory item) internal pure returns (Parties memory) {
        return Parties({
            buyer: item.bid.buyer,
            provider: item.ask.provider,
            voucherSigner: item.delegation.scope & 2 != 0
                ? item.delegation.delegate
                : item.bid.buyer,
            workerKey: item.workerKey
        });
    }

    function hashOf(Parties memory parties) internal pure returns (bytes32) {
        return keccak256(abi.encode(parties));
    }

    // ── doing ───────────────────────────────────────────────────────────────────────────────────

    function only(OpenItem memory item) internal pure returns (OpenItem[] memory items) {
        items = new OpenItem[](1);
        items[0] = item;
    }

    function only(ClaimItem memory item) internal pure returns (ClaimItem[] memory items) {
        items = new ClaimItem[](1);
        items[0] = item;
    }

    function openOne(OpenItem memory item) internal returns (bytes32 lease) {
        vm.prank(operator);
        leases.open(only(item));
        lease = leaseOf(item);
        (,,,,, uint8 state,) = leases.leases(lease, hashOf(partiesOf(item)));
        assertEq(state, 1, "not opened");
    }

    function makeVoucher(bytes32 lease, uint64 units) internal pure returns (Voucher memory) {
        return Voucher({
            lease: lease,
            sequence: units,
            cumulativeUnits: units,
            cumulativeAmount: units * PRICE,
            receiptsRoot: keccak256(abi.encode("root", units))
        });
    }

    function signVoucher(Voucher memory voucher, Parties memory parties)
        internal
        view
        returns (ClaimItem memory item)
    {
        bytes32 digest = digestOf(messages.hashVoucher(voucher));
        item.voucher = voucher;
        item.parties = parties;
        item.buyerSignature =
            sign(parties.voucherSigner == delegate ? delegateKey : buyerKey, digest);
        item.workerSignature = sign(workerKey, digest);
    }

    function claimOne(ClaimItem memory item) internal {
        leases.claim(only(item));
    }

    function claimUnits(OpenItem memory item, uint64 units) internal {
        claimOne(signVoucher(makeVoucher(leaseOf(item), units), partiesOf(item)));
    }

    function stateOf(OpenItem memory item) internal view returns (uint8 state) {
        (,,,,, state,) = leases.leases(leaseOf(item), hashOf(partiesOf(item)));
    }

    function closeBy(address who, OpenItem memory item, uint8 reason) internal {
        LeaseKey memory key = keyOf(item);
        Parties memory parties = partiesOf(item);
        vm.prank(who);
        leases.requestClose(key, parties, reason);
    }
}
