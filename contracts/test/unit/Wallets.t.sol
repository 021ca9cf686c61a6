// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILeases} from "../../src/interfaces/ILeases.sol";
import {Ask, Bid, Delegation, Voucher} from "../../src/libraries/Messages.sol";
import {Claiming, Fixture, Opening} from "../helpers/Fixture.sol";
import {BadWallet, GoodWallet} from "../helpers/Wallets.sol";

/// @notice Contract wallets (ERC-1271) wherever an address signs.
contract WalletsTest is Fixture {
    GoodWallet private buyerWallet;
    GoodWallet private providerWallet;
    GoodWallet private workerWallet;
    GoodWallet private delegateWallet;

    function setUp() public override {
        super.setUp();
        buyerWallet = new GoodWallet(buyer);
        providerWallet = new GoodWallet(provider);
        workerWallet = new GoodWallet(worker);
        delegateWallet = new GoodWallet(delegate);
        fund(address(buyerWallet), 10e6);
        token.mint(address(providerWallet), MIN_BOND);
        providerWallet.run(
            address(token), abi.encodeCall(token.approve, (address(providers), MIN_BOND))
        );
        providerWallet.run(
            address(providers),
            abi.encodeCall(
                providers.register,
                (address(workerWallet), proofOf(workerKey, address(providerWallet)), MIN_BOND)
            )
        );
    }

    function walletItem() private view returns (Opening memory item) {
        Ask memory ask = makeAsk();
        Bid memory bid = makeBid();
        Delegation memory delegation = makeDelegation();
        ask.provider = address(providerWallet);
        bid.buyer = address(buyerWallet);
        delegation.owner = address(buyerWallet);
        delegation.delegate = address(delegateWallet);
        item = signItem(ask, bid, delegation);
        item.workerKey = address(workerWallet);
    }

    function test_EverySignerMayBeAContract() public {
        Opening memory item = walletItem();
        openOne(item);
        Voucher memory voucher = makeVoucher(leaseOf(item), 100);
        bytes32 digest = digestOf(messages.hashVoucher(voucher));
        Claiming memory claim;
        claim.voucher = voucher;
        claim.parties = partiesOf(item);
        claim.buyerSignature = sign(delegateKey, digest);
        claim.workerSignature = sign(workerKey, digest);
        claimOne(claim);
        assertEq(creditOf(address(providerWallet)), 148_500);
    }

    function test_BuyersWalletMaySignBesideItsDelegate() public {
        Opening memory item = walletItem();
        item.bidSignature = sign(buyerKey, digestOf(keyOf(item).bidHash));
        openOne(item);
    }

    function test_RefusesAnotherOwner() public {
        Opening memory item = walletItem();
        bytes32 digest = digestOf(keyOf(item).askHash);
        item.askSignature = sign(buyerKey, digest);
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(
            leaseOf(item),
            0,
            abi.encodeWithSelector(ILeases.BadSignature.selector, address(providerWallet), digest)
        );
        vm.prank(operator);
        leases.open(only(item));
    }

    function test_BadWalletsFailAlone() public {
        Opening[] memory items = new Opening[](6);
        for (uint256 i = 0; i < 5; ++i) {
            BadWallet bad = new BadWallet(BadWallet.Way(i));
            fund(address(bad), 1e6);
            Bid memory bid = makeBid();
            bid.buyer = address(bad);
            items[i] = signItem(makeAsk(), bid, noDelegation());
        }
        items[5] = makeItem();
        vm.prank(operator);
        leases.open{gas: 16_777_216}(grouped(items));
        for (uint256 i = 0; i < 5; ++i) {
            assertEq(stateOf(items[i]), 0);
        }
        assertEq(stateOf(items[5]), 1);
    }

    /// @notice The most a batch bears: what a wallet burns is bounded, and the rest still opens.
    function test_ABatchBearsThirtyWalletsThatBurnTheirGas() public {
        Opening[] memory items = new Opening[](31);
        for (uint256 i = 0; i < 30; ++i) {
            Bid memory bid = makeBid();
            bid.buyer = address(new BadWallet(BadWallet.Way.BurnGas));
            items[i] = signItem(makeAsk(), bid, noDelegation());
        }
        items[30] = makeItem();
        vm.prank(operator);
        leases.open{gas: 16_777_216}(grouped(items));
        assertEq(stateOf(items[29]), 0);
        assertEq(stateOf(items[30]), 1);
    }

    function test_AHundredOpensAndClaimsFitIntoATransaction() public {
        Opening[] memory items = new Opening[](100);
        Claiming[] memory claims = new Claiming[](100);
        for (uint256 i = 0; i < 100; ++i) {
            Bid memory bid = makeBid();
            bid.salt = keccak256(abi.encode("salt", i)); // no two in one storage word
            items[i] = signItem(makeAsk(), bid, makeDelegation());
            items[i].delegation.spendCap = 100e6;
            items[i].delegationSignature =
                sign(buyerKey, digestOf(messages.hashDelegation(items[i].delegation)));
            claims[i] = signVoucher(makeVoucher(leaseOf(items[i]), 100), partiesOf(items[i]));
        }
        vm.prank(operator);
        leases.open{gas: 16_777_216}(grouped(items));
        leases.claim{gas: 16_777_216}(packed(claims));
        for (uint256 i = 0; i < 100; ++i) {
            assertEq(stateOf(items[i]), 1);
        }
        assertEq(creditOf(provider), 100 * 148_500);
    }

    function test_AnAccountWithDelegatedCodeSignsWithItsKey() public {
        vm.etch(buyer, address(new BadWallet(BadWallet.Way.Revert)).code);
        openOne(makeItem());
    }
}
