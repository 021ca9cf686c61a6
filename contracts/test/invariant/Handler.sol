// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {LeaseKey, LoneItem, Parties} from "../../src/interfaces/ILeases.sol";
import {
    Ask,
    Bid,
    Delegation,
    Receipt as WorkReceipt,
    Voucher
} from "../../src/libraries/Messages.sol";
import {SettlementToken} from "../../src/mocks/SettlementToken.sol";
import {Claiming, Fixture, Opening} from "../helpers/Fixture.sol";
import {MoodyToken} from "../helpers/HostileTokens.sol";

/// @notice Three buyers, three providers, the operator and an attacker doing anything in any order.
/// Keeps its own books of what must follow and checks every step against them.
contract Handler is Fixture {
    struct Known {
        Opening item;
        bytes32 id;
        bytes32 partiesHash;
        uint64 locked;
        uint64 highest; // of all vouchers both sides signed
        uint64 paid;
        uint64 units;
        uint16 feeBps; // of the day it was opened
        uint8 state;
        uint64 lone; // what the worker alone claims
        uint64 loneAt; // when that is due
        bool objected;
    }

    uint256 internal constant ACTORS = 3;
    address[] public buyers;
    address[] public sellers;
    uint256[] internal buyerKeys;
    uint256[] internal sellerKeys;
    uint256[][ACTORS] internal workerKeys; // of each seller, those revoked included
    address public attacker = makeAddr("attacker");
    Known[] internal known;
    uint256[] internal live; // of known, those not closed
    mapping(bytes32 lease => bool) internal named;
    bool internal immutable moody;
    uint64 internal nextSalt;
    uint64[ACTORS] internal askSalts;
    bytes32[] internal cancelledOrders;
    mapping(string => uint256) public done;

    constructor(bool moody_) {
        moody = moody_;
    }

    function init() external {
        vm.warp(START);
        setUp();
        if (moody) {
            token = SettlementToken(address(new MoodyToken()));
            deployOn(token);
        }
        for (uint256 i = 0; i < ACTORS; ++i) {
            (address who, uint256 key) = makeAddrAndKey(string.concat("buyer", vm.toString(i)));
            buyers.push(who);
            buyerKeys.push(key);
            fund(who, 50e6);
            (who, key) = makeAddrAndKey(string.concat("seller", vm.toString(i)));
            sellers.push(who);
            sellerKeys.push(key);
            uint256 work = uint256(keccak256(abi.encode("worker", i)));
            workerKeys[i].push(work);
            enlist(who, work, MIN_BOND);
        }
    }

    // ── actions ─────────────────────────────────────────────────────────────────────────────────

    function deposit(uint256 who, uint64 amount) external checked("deposit") {
        address account = buyers[who % ACTORS];
        amount = uint64(bound(amount, 1, 20e6));
        token.mint(account, amount);
        vm.startPrank(account);
        token.approve(address(escrow), amount);
        try escrow.deposit(account, amount) {} catch {}
        vm.stopPrank();
    }

    function open(uint256 who, uint256 seller, uint64 units, uint64 price, uint8 flags)
        external
        checked("open")
    {
        Opening memory item = _makeItem(who % ACTORS, seller % ACTORS, units, price, flags);
        _open(item);
    }

    /// @notice The bid of a lease there is, once more: the same, under another index, or elsewhere.
    function openAgain(uint256 which, uint64 units, uint8 index) external checked("openAgain") {
        if (known.length == 0) return;
        Opening memory item = known[which % known.length].item;
        item.index = index % 4;
        item.maxUnits = uint64(bound(units, 1, 1_000));
        _open(item);
    }

    function claim(uint256 which, uint64 units, uint64 skew, uint8 forge)
        external
        checked("claim")
    {
        if (known.length == 0) return;
        Known storage lease = known[which % known.length];
        (Claiming memory item, bool valid) = _makeClaim(lease, units, skew, forge);
        if (valid && item.voucher.cumulativeAmount > lease.highest) {
            lease.highest = item.voucher.cumulativeAmount;
        }
        Claiming[] memory items = new Claiming[](forge % 5 == 4 ? 2 : 1);
        items[0] = item;
        if (items.length == 2) items[1] = item;
        address seller = lease.item.ask.provider;
        uint64 before = creditOf(seller);
        (, uint64 paidBefore,,,,,) = leases.leases(lease.id, lease.partiesHash);
        vm.prank(attacker);
        leases.claim(packed(items));
        (, uint64 paid,,,,,) = leases.leases(lease.id, lease.partiesHash);
        uint64 fee = _feeOn(lease, paid) - _feeOn(lease, paidBefore);
        assertEq(creditOf(seller) - before, paid - paidBefore - fee, "credited once, less the fee");
        if (stateOf(lease.item) == 3 && lease.state != 3) ++done["closed by claim"];
        if (!valid) assertEq(paid, paidBefore, "a bad voucher pays nothing");
    }

    function requestClose(uint256 which, uint8 who, uint8 reason) external checked("close") {
        if (known.length == 0) return;
        Known storage lease = known[which % known.length];
        Parties memory parties = partiesOf(lease.item);
        address[6] memory all = [
            parties.buyer,
            parties.provider,
            parties.workerKey,
            parties.voucherSigner,
            operator,
            attacker
        ];
        bool stranger = who % 6 == 5;
        uint8 state = stateOf(lease.item);
        closeBy(all[who % 6], lease.item, uint8(bound(reason, 1, 7)));
        if (stranger) assertEq(stateOf(lease.item), state, "a stranger closed a lease");
    }

    function finalize(uint256 which) external checked("finalize") {
        if (known.length == 0) return;
        Known storage lease = known[which % known.length];
        uint8 state = stateOf(lease.item);
        uint64 since = _finalSince(lease, state);
        if (lease.loneAt > since) since = lease.loneAt;
        if (block.timestamp >= since) _expectLonePaid(lease);
        vm.prank(attacker);
        finalizeOne(lease.item);
        bool isDue = state == 3 || block.timestamp >= since;
        assertEq(stateOf(lease.item), isDue ? 3 : state, "final when its time has come");
    }

    /// @notice A worker claims by its receipt alone; or somebody else does, or signs.
    function claimAlone(uint256 which, uint64 units, uint8 forge) external checked("claimAlone") {
        if (known.length == 0) return;
        Known storage lease = known[which % known.length];
        units = uint64(bound(units, 0, uint256(lease.item.maxUnits) + 1));
        WorkReceipt memory receipt = receiptOf(lease.item, units);
        Parties memory parties = partiesOf(lease.item);
        bool forged = forge % 5 == 3;
        LoneItem[] memory items =
            loneOf(lease.item, receipt, forged ? _signerKey(parties) : _workerKey(parties));
        (, uint64 paid,,,, uint8 state,) = leases.leases(lease.id, lease.partiesHash);
        bool valid = !forged && forge % 5 != 4 && units <= lease.item.maxUnits && !lease.objected
            && (state == 1 || state == 2) && block.timestamp < _finalSince(lease, state)
            && receipt.cumulativeAmount > paid && receipt.cumulativeAmount > lease.lone;
        if (valid) {
            lease.lone = receipt.cumulativeAmount;
            lease.loneAt = uint64(block.timestamp) + CLOSE_WINDOW;
            ++done["claimed alone"];
        }
        vm.prank(forge % 5 == 4 ? attacker : forge % 2 == 0 ? parties.provider : parties.workerKey);
        leases.claimAlone(items);
        _checkLone(lease);
    }

    function objectTo(uint256 which, uint8 by) external checked("objectTo") {
        if (known.length == 0) return;
        Known storage lease = known[which % known.length];
        (bytes32 receipt,,,,) = leases.loneClaim(lease.id);
        Parties memory parties = partiesOf(lease.item);
        uint8 state = stateOf(lease.item);
        bool valid = by % 3 != 2 && lease.lone != 0 && block.timestamp < lease.loneAt
            && (state == 1 || state == 2);
        if (valid) {
            (lease.lone, lease.loneAt, lease.objected) = (0, 0, true);
            ++done["objected"];
        }
        vm.prank(attacker);
        uint256 signer = by % 3 == 2 ? _workerKey(parties) : _signerKey(parties);
        objectWith(signer, lease.item, receipt);
        _checkLone(lease);
    }

    function payLone(uint256 which) external checked("payAlone") {
        if (known.length == 0) return;
        Known storage lease = known[which % known.length];
        (, uint64 before,,,,,) = leases.leases(lease.id, lease.partiesHash);
        uint64 due = block.timestamp >= lease.loneAt ? lease.lone : 0;
        if (due != 0) _expectLonePaid(lease);
        uint8 state = stateOf(lease.item);
        vm.prank(attacker);
        payAlone(lease.item);
        (, uint64 paid,,,,,) = leases.leases(lease.id, lease.partiesHash);
        if (state == 3 || due < before) due = before;
        assertEq(paid, due, "a lone claim that is due is paid, and no other");
        _checkLone(lease);
    }

    function _expectLonePaid(Known storage lease) private {
        if (stateOf(lease.item) == 3 || lease.lone == 0) return;
        if (lease.lone > lease.highest) lease.highest = lease.lone;
        (lease.lone, lease.loneAt) = (0, 0);
        ++done["paid alone"];
    }

    function _checkLone(Known storage lease) private view {
        (,, uint64 amount, uint64 payableAt, bool objected) = leases.loneClaim(lease.id);
        assertEq(amount, lease.lone, "what waits");
        assertEq(payableAt, lease.loneAt, "until when");
        assertEq(objected, lease.objected);
    }

    function _finalSince(Known storage lease, uint8 state) private view returns (uint64) {
        return state == 1 ? lease.item.bid.deadline + CLOSE_WINDOW : leases.finalAt(lease.id);
    }

    function withdraw(uint256 who, uint64 amount, uint8 step) external checked("withdraw") {
        address account = buyers[who % ACTORS];
        uint64 free = freeOf(account);
        vm.startPrank(account);
        if (step % 3 == 0 && free != 0) {
            escrow.requestWithdraw(uint64(bound(amount, 1, free)));
        } else if (step % 3 == 1) {
            try escrow.cancelWithdraw() {} catch {}
        } else {
            try escrow.withdraw() {} catch {}
        }
        vm.stopPrank();
    }

    function sweep(uint256 who) external checked("sweep") {
        address[4] memory all = [sellers[0], sellers[1], sellers[2], address(treasury)];
        try escrow.sweep(all[who % 4]) {} catch {}
    }

    function revoke(uint256 who) external checked("revoke") {
        vm.prank(buyers[who % ACTORS]);
        leases.revokeDelegations();
    }

    /// @notice A provider takes its ask back and offers under another from then on.
    function cancelAsk(uint256 who) external checked("cancelAsk") {
        Ask memory ask = _makeAsk(who % ACTORS);
        vm.prank(attacker);
        try leases.cancelAsk(ask) {
            fail("a stranger cancelled an ask");
        } catch {}
        vm.prank(ask.provider);
        leases.cancelAsk(ask);
        ++askSalts[who % ACTORS];
        cancelledOrders.push(messages.hashAsk(ask));
    }

    function cancelBid(uint256 which) external checked("cancelBid") {
        if (known.length == 0) return;
        Bid memory bid = known[which % known.length].item.bid;
        vm.prank(attacker);
        try leases.cancelBid(bid) {
            fail("a stranger cancelled a bid");
        } catch {}
        vm.prank(bid.buyer);
        leases.cancelBid(bid);
        cancelledOrders.push(messages.hashBid(bid));
    }

    function attack(uint256 who, uint64 amount) external checked("attack") {
        vm.startPrank(attacker);
        try escrow.tryLock(buyers[who % ACTORS], amount) {
            fail("locked by a stranger");
        } catch {}
        try escrow.credit(attacker, amount) {
            fail("credited by a stranger");
        } catch {}
        try escrow.release(attacker, 0, amount) {
            fail("released by a stranger");
        } catch {}
        try escrow.withdraw() {
            fail("withdrew what it never had");
        } catch {}
        vm.stopPrank();
    }

    /// @notice A provider adds a worker key, which is active after the delay, or revokes one.
    function rotateKey(uint256 who, uint256 which, bool isRevoked) external checked("rotate") {
        who = who % ACTORS;
        uint256[] storage keys = workerKeys[who];
        if (isRevoked) {
            address revoked = vm.addr(keys[which % keys.length]);
            vm.prank(sellers[who]);
            try providers.revokeWorkerKey(revoked) {} catch {}
            assertFalse(providers.isActive(sellers[who], revoked), "a revoked key is not active");
            return;
        }
        if (keys.length == 8) return;
        uint256 key = uint256(keccak256(abi.encode("worker", who, keys.length)));
        bytes memory proof = proofOf(key, sellers[who]);
        vm.prank(attacker);
        try providers.addWorkerKey(vm.addr(key), proof) {
            fail("a stranger added a key");
        } catch {}
        vm.prank(sellers[who]);
        providers.addWorkerKey(vm.addr(key), proof);
        assertFalse(providers.isActive(sellers[who], vm.addr(key)), "active before its delay");
        keys.push(key);
    }

    /// @notice The token holders change the fee; leases there are keep theirs.
    function changeFee(uint16 bps) external checked("fee") {
        bps = uint16(bound(bps, 0, 600));
        vm.prank(attacker);
        try treasury.setFeeBps(bps) {
            fail("a stranger changed the fee");
        } catch {}
        vm.prank(owner);
        try treasury.setFeeBps(bps) {
            assertLe(bps, 500, "a fee above the cap");
        } catch {
            assertGt(bps, 500);
        }
    }

    /// @notice A worker is caught with two receipts of one sequence.
    function equivocate(uint256 which, uint64 sequence, bool isForged) external checked("dispute") {
        if (known.length == 0) return;
        Known storage lease = known[which % known.length];
        sequence = uint64(bound(sequence, 1, 4));
        Parties memory parties = partiesOf(lease.item);
        WorkReceipt memory one;
        (one.lease, one.sequence) = (lease.id, sequence);
        WorkReceipt memory two = abi.decode(abi.encode(one), (WorkReceipt));
        two.responseHash = keccak256("another");
        bool wasProven = disputes.isProven(lease.id, sequence);
        uint256 stake = _stakeOf(parties.provider);
        uint256 owed = _owedByProviders();
        bytes memory first = _signReceipt(parties, one);
        bytes memory second = isForged ? first : _signReceipt(parties, two);
        vm.prank(attacker);
        try disputes.proveEquivocation(lease.id, parties, one, first, two, second) {
            assertFalse(wasProven || isForged, "slashed without a new proof");
            uint256 taken = stake < MIN_BOND ? stake : MIN_BOND;
            assertEq(_stakeOf(parties.provider), stake - taken);
            assertEq(_owedByProviders(), owed + taken, "what is taken is owed to somebody");
            ++done["slashed"];
        } catch {
            assertTrue(wasProven || isForged, "a proof was refused");
            assertEq(_stakeOf(parties.provider), stake);
        }
    }

    function addBond(uint256 who) external checked("bond") {
        address seller = sellers[who % ACTORS];
        if (providers.bondOf(seller) >= MIN_BOND) return;
        token.mint(seller, MIN_BOND);
        vm.startPrank(seller);
        token.approve(address(providers), MIN_BOND);
        try providers.addBond(MIN_BOND) {} catch {}
        vm.stopPrank();
    }

    function collect(uint256 who) external checked("collect") {
        address[4] memory all = [buyers[0], buyers[1], buyers[2], attacker];
        try providers.collect(all[who % 4]) {} catch {}
    }

    function pass(uint32 time) external checked("pass") {
        vm.warp(block.timestamp + bound(time, 1, 12 hours));
    }

    function changeMood(uint8 mood, uint256 who) external checked("mood") {
        if (!moody) return;
        address[4] memory enemies = [buyers[who % 3], sellers[who % 3], attacker, address(escrow)];
        bytes memory call = who % 2 == 0
            ? abi.encodeCall(IEscrow.sweep, (sellers[who % 3]))
            : abi.encodeCall(IEscrow.deposit, (attacker, 1));
        MoodyToken(address(token))
            .setMood(MoodyToken.Mood(mood % 5), enemies[who % 4], address(escrow), call);
    }

    // ── what must be true ───────────────────────────────────────────────────────────────────────

    /// @dev After every action: every lease moved along a drawn arrow and its totals only rose. One
    /// that is closed is looked at once more at the very end.
    modifier checked(string memory name) {
        _;
        ++done[name];
        for (uint256 i = live.length; i > 0; --i) {
            Known storage lease = known[live[i - 1]];
            _checkLease(lease);
            if (lease.state != 3) continue;
            live[i - 1] = live[live.length - 1];
            live.pop();
        }
    }

    function _checkLease(Known storage lease) private {
        (uint64 locked, uint64 paid,, uint64 units,, uint8 state,) =
            leases.leases(lease.id, lease.partiesHash);
        assertEq(locked, lease.locked, "I-04 the lock never changes");
        assertGe(paid, lease.paid, "I-04 totals never fall");
        assertGe(units, lease.units, "I-04 units never fall");
        assertLe(paid, locked, "I-04 never above the lock");
        assertLe(paid, lease.highest, "I-06 never above the largest valid voucher or lone claim");
        uint8 was = lease.state;
        bool arrow =
            state == was || (was == 1 && (state == 2 || state == 3)) || (was == 2 && state == 3);
        assertTrue(arrow, "I-13 states move along drawn arrows");
        if (was == 3) assertEq(paid, lease.paid, "nothing is paid after the close");
        (lease.paid, lease.units, lease.state) = (paid, units, state);
    }

    /// @notice I-05: what is owed is what was promised, and it is there.
    function checkSolvent() external view {
        uint256 owed = 0;
        for (uint256 i = 0; i < ACTORS; ++i) {
            owed += _owedTo(buyers[i]) + _owedTo(sellers[i]);
        }
        owed += _owedTo(address(treasury)) + _owedTo(attacker) + _owedTo(buyer);
        for (uint256 i = 0; i < live.length; ++i) {
            Known storage lease = known[live[i]];
            owed += lease.locked - lease.paid + _feeOn(lease, lease.paid);
        }
        assertEq(owed, escrow.liabilities(), "every atom is owed to somebody");
        assertGe(token.balanceOf(address(escrow)), escrow.liabilities(), "I-05 solvent");
    }

    /// @notice Every bond, and every part of a slashed one, is there.
    function checkBonds() external view {
        uint256 stakes = _stakeOf(provider);
        for (uint256 i = 0; i < ACTORS; ++i) {
            stakes += _stakeOf(sellers[i]);
        }
        assertGe(token.balanceOf(address(providers)), stakes + _owedByProviders());
    }

    /// @notice Locks of an account are the maxima of its open leases, no more and no less.
    function checkLocks() external view {
        for (uint256 b = 0; b < ACTORS; ++b) {
            uint256 locked = 0;
            for (uint256 i = 0; i < live.length; ++i) {
                Known storage lease = known[live[i]];
                if (lease.item.bid.buyer == buyers[b]) locked += lease.locked;
            }
            assertEq(lockedOf(buyers[b]), locked);
        }
    }

    /// @notice What was closed or cancelled stays so, whatever came after.
    function checkEnded() external {
        for (uint256 i = 0; i < known.length; ++i) {
            _checkLease(known[i]);
        }
        for (uint256 i = 0; i < cancelledOrders.length; ++i) {
            assertTrue(leases.isCancelled(cancelledOrders[i]));
        }
    }

    /// @notice I-12: without the operator everybody gets everything out within the delays.
    function checkExits() external {
        if (moody) {
            MoodyToken(address(token)).setMood(MoodyToken.Mood.Honest, address(0), address(0), "");
        }
        vm.startPrank(attacker);
        vm.warp(block.timestamp + 60 days);
        for (uint256 i = 0; i < known.length; ++i) {
            if (known[i].state != 3) finalizeOne(known[i].item);
            assertEq(stateOf(known[i].item), 3);
            known[i].state = 3;
        }
        delete live;
        vm.stopPrank();
        for (uint256 i = 0; i < ACTORS; ++i) {
            assertEq(lockedOf(buyers[i]), 0);
            _leave(buyers[i]);
            if (creditOf(sellers[i]) != 0) escrow.sweep(sellers[i]);
            _unbond(sellers[i]);
        }
        if (creditOf(address(treasury)) != 0) escrow.sweep(address(treasury));
        if (!moody) _leave(buyer);
        assertEq(escrow.liabilities(), 0, "I-12 everybody is out");
    }

    function paidTotal() external view returns (uint256 total) {
        for (uint256 i = 0; i < known.length; ++i) {
            total += known[i].paid;
        }
    }

    function _leave(address account) private {
        uint64 free = freeOf(account);
        vm.startPrank(account);
        if (free != 0) escrow.requestWithdraw(free);
        vm.warp(block.timestamp + WITHDRAW_DELAY);
        (,,, uint64 withdrawing,) = escrow.accounts(account);
        if (withdrawing != 0) escrow.withdraw();
        vm.stopPrank();
    }

    function _unbond(address seller) private {
        uint64 bond = providers.bondOf(seller);
        if (bond == 0) return;
        vm.startPrank(seller);
        providers.requestUnbond(bond);
        vm.warp(block.timestamp + UNBOND_DELAY);
        providers.unbond();
        vm.stopPrank();
        assertGe(token.balanceOf(seller), bond);
    }

    function _stakeOf(address seller) private view returns (uint256) {
        (uint64 unbonding,) = providers.unbondingOf(seller);
        return uint256(providers.bondOf(seller)) + unbonding;
    }

    /// @dev Of slashed bonds: buyers, the challenger and nobody.
    function _owedByProviders() private view returns (uint256 owed) {
        for (uint256 i = 0; i < ACTORS; ++i) {
            owed += providers.owedTo(buyers[i]);
        }
        owed += providers.owedTo(attacker) + providers.owedTo(providers.BURNED());
    }

    function _feeOn(Known storage lease, uint64 paid) private view returns (uint64) {
        return uint64(uint256(paid) * lease.feeBps / 10_000);
    }

    function _owedTo(address account) private view returns (uint256) {
        (uint64 free,, uint64 earned, uint64 withdrawing,) = escrow.accounts(account);
        return uint256(free) + earned + withdrawing;
    }

    // ── making messages ─────────────────────────────────────────────────────────────────────────

    function _makeAsk(uint256 seller) private view returns (Ask memory ask) {
        ask = makeAsk();
        ask.provider = sellers[seller];
        ask.price = PRICE - 100;
        ask.volume = 2_000;
        ask.expiry = START + 3650 days;
        ask.salt = bytes32(uint256(askSalts[seller]));
    }

    function _makeItem(uint256 who, uint256 seller, uint64 units, uint64 price, uint8 flags)
        private
        returns (Opening memory item)
    {
        Ask memory ask = _makeAsk(seller);
        Bid memory bid = makeBid();
        bid.buyer = buyers[who];
        bid.volume = uint64(bound(units, 1, 1_000)) * (flags % 3 + 1);
        bid.maxAmount = 10e6;
        bid.expiry = START + 3650 days;
        bid.deadline = uint64(block.timestamp) + 1 days;
        bid.salt = bytes32(uint256(nextSalt++));
        Delegation memory delegation;
        if (flags & 4 != 0) {
            delegation = makeDelegation();
            delegation.owner = buyers[who];
            delegation.spendCap = 5e6;
            delegation.expiry = START + 3650 days;
            delegation.nonce = leases.delegationNonce(buyers[who]);
            delegation.scope = flags & 8 != 0 ? 3 : 2;
        }
        item.ask = ask;
        item.bid = bid;
        item.delegation = delegation;
        item.price = uint64(bound(price, PRICE - 150, 2_050));
        item.maxUnits = uint64(bound(units, 1, 1_000));
        uint256[] storage keys = workerKeys[seller];
        item.workerKey = vm.addr(keys[uint256(keccak256(abi.encode(price))) % keys.length]);
        item.askSignature = sign(sellerKeys[seller], digestOf(messages.hashAsk(ask)));
        uint256 bidKey = delegation.scope == 3 ? delegateKey : buyerKeys[who];
        item.bidSignature = sign(bidKey, digestOf(messages.hashBid(bid)));
        if (delegation.scope != 0) {
            item.delegationSignature =
                sign(buyerKeys[who], digestOf(messages.hashDelegation(delegation)));
        }
    }

    function _open(Opening memory item) private {
        bytes32 id = leaseOf(item);
        bytes32 partiesHash = hashOf(partiesOf(item));
        (,,,,, uint8 before,) = leases.leases(id, partiesHash);
        LeaseKey memory key = keyOf(item);
        bool cancelled = leases.isCancelled(key.askHash) || leases.isCancelled(key.bidHash);
        bool active = providers.isActive(item.ask.provider, item.workerKey);
        uint64 free = freeOf(item.bid.buyer);
        vm.prank(operator);
        leases.open(only(item));
        (uint64 locked,,,,, uint8 state,) = leases.leases(id, partiesHash);
        if (before != 0 || state == 0) {
            assertEq(freeOf(item.bid.buyer), free, "a refused item has no effect");
            return;
        }
        assertFalse(cancelled, "a lease under a cancelled order");
        assertTrue(active, "a lease with a worker that is not active");
        assertEq(free - freeOf(item.bid.buyer), locked);
        assertLe(
            locked, uint256(item.maxUnits) * item.bid.priceCeiling, "I-04 lock <= ceiling x units"
        );
        assertLe(leases.askOutstanding(messages.hashAsk(item.ask)), item.ask.volume);
        assertFalse(named[id], "a lease's name is used once");
        named[id] = true;
        live.push(known.length);
        Known storage lease = known.push();
        lease.item = item;
        lease.feeBps = leases.feeBpsOf(id, partiesHash);
        assertEq(lease.feeBps, treasury.feeBps(), "the fee of the day");
        (lease.id, lease.partiesHash, lease.locked, lease.state) = (id, partiesHash, locked, state);
        ++done["opened"];
    }

    function _makeClaim(Known storage lease, uint64 units, uint64 skew, uint8 forge)
        private
        view
        returns (Claiming memory item, bool valid)
    {
        // Every fifth or so claims the last unit, which closes the lease.
        units = uint64(bound(units, 0, uint256(lease.item.maxUnits) * 5 / 4));
        if (units > lease.item.maxUnits) units = lease.item.maxUnits;
        Parties memory parties = partiesOf(lease.item);
        Voucher memory voucher = makeVoucher(lease.id, units);
        voucher.cumulativeAmount = units * lease.item.price;
        if (forge % 5 == 1) voucher.cumulativeAmount += uint64(bound(skew, 1, 1_000_000));
        bytes32 digest = digestOf(messages.hashVoucher(voucher));
        item.voucher = voucher;
        item.parties = parties;
        if (units == lease.item.maxUnits) item.key = keyOf(lease.item);
        item.buyerSignature = sign(_signerKey(parties), digest);
        item.workerSignature = sign(_workerKey(parties), digest);
        if (forge % 5 == 2) item.buyerSignature = item.workerSignature;
        if (forge % 5 == 3) item.workerSignature = item.buyerSignature;
        valid = forge % 5 == 0 || forge % 5 == 4;
    }

    function _signReceipt(Parties memory parties, WorkReceipt memory receipt)
        private
        view
        returns (bytes memory)
    {
        return sign(_workerKey(parties), digestOf(messages.hashReceipt(receipt)));
    }

    function _signerKey(Parties memory parties) private view returns (uint256) {
        if (parties.voucherSigner == delegate) return delegateKey;
        for (uint256 i = 0; i < ACTORS; ++i) {
            if (buyers[i] == parties.voucherSigner) return buyerKeys[i];
        }
        revert("no such signer");
    }

    function _workerKey(Parties memory parties) private view returns (uint256) {
        for (uint256 i = 0; i < ACTORS; ++i) {
            for (uint256 k = 0; k < workerKeys[i].length; ++k) {
                if (vm.addr(workerKeys[i][k]) == parties.workerKey) return workerKeys[i][k];
            }
        }
        revert("no such worker");
    }

    function fail(string memory why) private pure {
        revert(why);
    }
}
