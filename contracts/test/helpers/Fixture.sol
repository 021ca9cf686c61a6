// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {Test} from "forge-std/Test.sol";
import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {
    CloseItem,
    FinalItem,
    ILeases,
    LeaseKey,
    LoneItem,
    ObjectionItem,
    OpenGroup,
    OpenItem,
    Parties
} from "../../src/interfaces/ILeases.sol";
import {IProviders} from "../../src/interfaces/IProviders.sol";
import {IReceiptLog} from "../../src/interfaces/IReceiptLog.sol";
import {ITreasury} from "../../src/interfaces/ITreasury.sol";
import {
    Ask,
    Bid,
    Delegation,
    Objection,
    Receipt as WorkReceipt,
    Voucher
} from "../../src/libraries/Messages.sol";
import {SettlementToken} from "../../src/mocks/SettlementToken.sol";
import {MessagesHarness} from "./MessagesHarness.sol";

/// @notice A lease to open with the ask it is under.
struct Opening {
    Ask ask;
    bytes askSignature;
    Bid bid;
    bytes bidSignature;
    Delegation delegation;
    bytes delegationSignature;
    uint64 price;
    uint64 maxUnits;
    address workerKey;
    uint64 index;
}

/// @notice A voucher to redeem. Named by `key` when that has an ask.
struct Claiming {
    Voucher voucher;
    Parties parties;
    bytes buyerSignature;
    bytes workerSignature;
    LeaseKey key;
}

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
    IDisputes internal disputes;
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
            make("Providers", abi.encode(money, owner, ahead(4), MIN_BOND, KEY_DELAY, UNBOND_DELAY))
        );
        escrow = IEscrow(make("Escrow", abi.encode(money, ahead(1), WITHDRAW_DELAY)));
        leases = ILeases(
            make("Leases", abi.encode(escrow, providers, treasury, operator, CLOSE_WINDOW))
        );
        receiptLog = IReceiptLog(make("ReceiptLog", abi.encode(operator)));
        disputes = IDisputes(make("Disputes", abi.encode(leases, providers)));
    }

    /// @notice Where the contract after this many others will stand.
    function ahead(uint64 steps) internal view returns (address) {
        return vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + steps);
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
    function makeItem() internal view returns (Opening memory) {
        return signItem(makeAsk(), makeBid(), noDelegation());
    }

    /// @notice An item of a delegate who signs orders and vouchers.
    function makeDelegatedItem() internal view returns (Opening memory) {
        return signItem(makeAsk(), makeBid(), makeDelegation());
    }

    function signItem(Ask memory ask, Bid memory bid, Delegation memory delegation)
        internal
        view
        returns (Opening memory item)
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

    function keyOf(Opening memory item) internal view returns (LeaseKey memory) {
        return LeaseKey(messages.hashAsk(item.ask), messages.hashBid(item.bid), item.index);
    }

    function leaseOf(Opening memory item) internal view returns (bytes32) {
        LeaseKey memory key = keyOf(item);
        return keccak256(abi.encode(key.askHash, key.bidHash, key.index));
    }

    function partiesOf(Opening memory item) internal pure returns (Parties memory) {
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

    function only(Opening memory item) internal pure returns (OpenGroup[] memory groups) {
        Opening[] memory items = new Opening[](1);
        items[0] = item;
        return grouped(items);
    }

    /// @notice One group each.
    function grouped(Opening[] memory items) internal pure returns (OpenGroup[] memory groups) {
        groups = new OpenGroup[](items.length);
        for (uint256 i = 0; i < items.length; ++i) {
            (groups[i].ask, groups[i].askSignature) = (items[i].ask, items[i].askSignature);
            groups[i].items = new OpenItem[](1);
            groups[i].items[0] = withoutAsk(items[i]);
        }
    }

    function withoutAsk(Opening memory item) internal pure returns (OpenItem memory) {
        return OpenItem(
            item.bid,
            item.bidSignature,
            item.delegation,
            item.delegationSignature,
            item.price,
            item.maxUnits,
            item.workerKey,
            item.index
        );
    }

    function only(Claiming memory item) internal pure returns (bytes memory batch) {
        return abi.encodePacked(packGroup(item.parties, 1), packItem(item));
    }

    /// @notice Neighbours with the same provider and worker in one group.
    function packed(Claiming[] memory items) internal pure returns (bytes memory batch) {
        for (uint256 i = 0; i < items.length;) {
            Parties memory parties = items[i].parties;
            uint8 count = 0;
            bytes memory group;
            for (; i < items.length; ++i) {
                Parties memory next = items[i].parties;
                if (next.provider != parties.provider) break;
                if (next.workerKey != parties.workerKey) break;
                group = bytes.concat(group, packItem(items[i]));
                ++count;
            }
            batch = bytes.concat(batch, packGroup(parties, count), group);
        }
    }

    function packGroup(Parties memory parties, uint8 count) internal pure returns (bytes memory) {
        return abi.encodePacked(parties.provider, parties.workerKey, count);
    }

    function packItem(Claiming memory item) internal pure returns (bytes memory) {
        Voucher memory voucher = item.voucher;
        bytes memory name = item.key.askHash == 0
            ? abi.encodePacked(uint8(0), voucher.lease)
            : abi.encodePacked(uint8(1), item.key.askHash, item.key.bidHash, item.key.index);
        return bytes.concat(
            name,
            abi.encodePacked(
                voucher.sequence,
                uint48(voucher.cumulativeUnits),
                uint48(voucher.cumulativeAmount),
                voucher.receiptsRoot,
                item.parties.buyer,
                item.parties.voucherSigner
            ),
            packSignature(item.buyerSignature),
            packSignature(item.workerSignature)
        );
    }

    function packSignature(bytes memory signature) internal pure returns (bytes memory) {
        return abi.encodePacked(uint16(signature.length), signature);
    }

    function openOne(Opening memory item) internal returns (bytes32 lease) {
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
        returns (Claiming memory item)
    {
        bytes32 digest = digestOf(messages.hashVoucher(voucher));
        item.voucher = voucher;
        item.parties = parties;
        item.buyerSignature =
            sign(parties.voucherSigner == delegate ? delegateKey : buyerKey, digest);
        item.workerSignature = sign(workerKey, digest);
    }

    function claimOne(Claiming memory item) internal {
        leases.claim(only(item));
    }

    function claimUnits(Opening memory item, uint64 units) internal {
        claimOne(claimOf(item, units));
    }

    function claimOf(Opening memory item, uint64 units)
        internal
        view
        returns (Claiming memory claim)
    {
        claim = signVoucher(makeVoucher(leaseOf(item), units), partiesOf(item));
        if (units == item.maxUnits) claim.key = keyOf(item);
    }

    function stateOf(Opening memory item) internal view returns (uint8 state) {
        (,,,,, state,) = leases.leases(leaseOf(item), hashOf(partiesOf(item)));
    }

    function closeBy(address who, Opening memory item, uint8 reason) internal {
        CloseItem[] memory items = new CloseItem[](1);
        items[0] = CloseItem(keyOf(item), partiesOf(item), reason);
        vm.prank(who);
        leases.requestClose(items);
    }

    function finalizeOne(Opening memory item) internal {
        FinalItem[] memory items = new FinalItem[](1);
        items[0] = FinalItem(keyOf(item), partiesOf(item));
        leases.finalizeClose(items);
    }

    /// @notice The worker's receipt over this many units.
    function receiptOf(Opening memory item, uint64 units)
        internal
        view
        returns (WorkReceipt memory receipt)
    {
        (receipt.lease, receipt.sequence) = (leaseOf(item), units);
        (receipt.unitKind, receipt.price) = (item.ask.unitKind, item.price);
        (receipt.cumulativeUnits, receipt.cumulativeAmount) = (units, units * item.price);
    }

    function loneOf(Opening memory item, WorkReceipt memory receipt, uint256 signer)
        internal
        view
        returns (LoneItem[] memory items)
    {
        items = new LoneItem[](1);
        bytes memory signature = sign(signer, digestOf(messages.hashReceipt(receipt)));
        items[0] = LoneItem(partiesOf(item), receipt, signature);
    }

    function claimAloneBy(address who, Opening memory item, uint64 units) internal {
        LoneItem[] memory items = loneOf(item, receiptOf(item, units), workerKey);
        vm.prank(who);
        leases.claimAlone(items);
    }

    function objectWith(uint256 signer, Opening memory item, bytes32 receipt) internal {
        ObjectionItem[] memory items = new ObjectionItem[](1);
        Objection memory objection = Objection(leaseOf(item), receipt);
        bytes memory signature = sign(signer, digestOf(messages.hashObjection(objection)));
        items[0] = ObjectionItem(partiesOf(item), objection, signature);
        leases.objectTo(items);
    }

    function payAlone(Opening memory item) internal {
        FinalItem[] memory items = new FinalItem[](1);
        items[0] = FinalItem(keyOf(item), partiesOf(item));
        leases.payAlone(items);
    }

    function expectRefusal(Opening memory item, bytes memory reason) internal {
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(leaseOf(item), 0, reason);
    }

    /// @notice What `Claimed` says in one word.
    function totalsOf(uint64 sequence, uint64 units, uint64 amount, uint64 paid, uint64 fee)
        internal
        pure
        returns (uint256)
    {
        return uint256(
            bytes32(
                abi.encodePacked(sequence, uint48(units), uint48(amount), uint48(paid), uint48(fee))
            )
        );
    }
}
