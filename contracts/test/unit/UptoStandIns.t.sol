// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";

import {Permit2StandIn} from "../../src/mocks/Permit2StandIn.sol";
import {SettlementToken} from "../../src/mocks/SettlementToken.sol";
import {UptoProxyStandIn} from "../../src/mocks/UptoProxyStandIn.sol";
import {BadWallet, GoodWallet} from "../helpers/Wallets.sol";

/// @notice The test chains' Permit2 and x402 proxy, at the addresses of the public ones.
contract UptoStandInsTest is Test {
    Permit2StandIn private constant PERMIT2 =
        Permit2StandIn(0x000000000022D473030F116dDEE9F6B43aC78BA3);
    UptoProxyStandIn private constant PROXY =
        UptoProxyStandIn(0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002);
    uint256 private constant MOST = 1000;

    SettlementToken private token;
    address private payer;
    uint256 private payerKey;
    address private facilitator = makeAddr("facilitator");
    address private receiver = makeAddr("receiver");

    struct Call {
        Permit2StandIn.PermitTransferFrom permit;
        uint256 amount;
        address owner;
        UptoProxyStandIn.Witness witness;
        bytes signature;
    }

    function setUp() public {
        vm.etch(address(PERMIT2), type(Permit2StandIn).runtimeCode);
        vm.etch(address(PROXY), type(UptoProxyStandIn).runtimeCode);
        vm.warp(1_800_000_000);
        token = new SettlementToken(address(this));
        (payer, payerKey) = makeAddrAndKey("payer");
        fund(payer);
    }

    function fund(address account) private {
        token.mint(account, 2 * MOST);
        vm.prank(account);
        token.approve(address(PERMIT2), type(uint256).max);
    }

    /// What the payer signs, built apart from the contracts' own hashing.
    function digestOf(Call memory call) private view returns (bytes32) {
        bytes32 permitted = keccak256(
            abi.encode(
                keccak256("TokenPermissions(address token,uint256 amount)"),
                call.permit.permitted.token,
                call.permit.permitted.amount
            )
        );
        bytes32 witness = keccak256(
            abi.encode(
                keccak256("Witness(address to,address facilitator,uint256 validAfter)"),
                call.witness.to,
                call.witness.facilitator,
                call.witness.validAfter
            )
        );
        bytes32 message = keccak256(
            abi.encode(
                keccak256(
                    "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Witness witness)TokenPermissions(address token,uint256 amount)Witness(address to,address facilitator,uint256 validAfter)"
                ),
                permitted,
                address(PROXY),
                call.permit.nonce,
                call.permit.deadline,
                witness
            )
        );
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,uint256 chainId,address verifyingContract)"),
                keccak256("Permit2"),
                block.chainid,
                address(PERMIT2)
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, message));
    }

    function sign(Call memory call, uint256 key) private view {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digestOf(call));
        call.signature = abi.encodePacked(r, s, v);
    }

    function makeCall() private view returns (Call memory call) {
        call.permit.permitted = Permit2StandIn.TokenPermissions(address(token), MOST);
        call.permit.nonce = 0x1234;
        call.permit.deadline = block.timestamp + 10;
        call.amount = 400;
        call.owner = payer;
        call.witness = UptoProxyStandIn.Witness(receiver, facilitator, block.timestamp);
        sign(call, payerKey);
    }

    function settle(Call memory call) private {
        vm.prank(facilitator);
        PROXY.settle(call.permit, call.amount, call.owner, call.witness, call.signature);
    }

    function refused(Call memory call, bytes memory reason) private {
        vm.expectRevert(reason);
        settle(call);
        assertEq(token.balanceOf(receiver), 0);
    }

    function refused(Call memory call, bytes4 reason) private {
        refused(call, abi.encodeWithSelector(reason));
    }

    function test_TakesLessThanWasSignedForOnce() public {
        Call memory call = makeCall();
        vm.expectEmit(address(PROXY));
        emit UptoProxyStandIn.Settled();
        settle(call);
        assertEq(token.balanceOf(receiver), 400);
        assertEq(token.balanceOf(payer), 2 * MOST - 400);
        assertEq(PERMIT2.nonceBitmap(payer, 0x12), 1 << 0x34);
        vm.expectRevert(Permit2StandIn.InvalidNonce.selector);
        settle(call);
        // A neighbour in the same word is another nonce.
        call.permit.nonce = 0x1235;
        sign(call, payerKey);
        settle(call);
        assertEq(token.balanceOf(receiver), 800);
    }

    function test_TheProxysRefusalsInTheirOrder() public {
        Call memory call = makeCall();
        call.amount = MOST + 1;
        vm.expectRevert(UptoProxyStandIn.AmountExceedsPermitted.selector);
        PROXY.settle(call.permit, call.amount, call.owner, call.witness, call.signature);
        call.amount = 0;
        call.owner = address(0);
        vm.expectRevert(UptoProxyStandIn.UnauthorizedFacilitator.selector);
        PROXY.settle(call.permit, call.amount, call.owner, call.witness, call.signature);
        refused(call, UptoProxyStandIn.InvalidAmount.selector);
        call.amount = MOST;
        call.witness.to = address(0);
        refused(call, UptoProxyStandIn.InvalidOwner.selector);
        call.owner = payer;
        call.witness.validAfter = block.timestamp + 1;
        refused(call, UptoProxyStandIn.InvalidDestination.selector);
        call.witness.to = receiver;
        refused(call, UptoProxyStandIn.PaymentTooEarly.selector);
    }

    function test_Permit2sRefusals() public {
        Call memory call = makeCall();
        call.permit.deadline = block.timestamp - 1;
        refused(
            call,
            abi.encodeWithSelector(Permit2StandIn.SignatureExpired.selector, call.permit.deadline)
        );
        call = makeCall();
        call.witness.to = facilitator;
        refused(call, Permit2StandIn.InvalidSigner.selector);
        call = makeCall();
        call.permit.permitted.amount = MOST + 1;
        refused(call, Permit2StandIn.InvalidSigner.selector);
        call = makeCall();
        call.signature = new bytes(65);
        refused(call, Permit2StandIn.InvalidSignature.selector);
        call.signature = new bytes(66);
        refused(call, Permit2StandIn.InvalidSignatureLength.selector);
        // Straight to Permit2 nobody gets more, or by a signature for the proxy.
        call = makeCall();
        vm.expectRevert(abi.encodeWithSelector(Permit2StandIn.InvalidAmount.selector, MOST));
        PERMIT2.permitWitnessTransferFrom(
            call.permit,
            Permit2StandIn.SignatureTransferDetails(receiver, MOST + 1),
            payer,
            bytes32(0),
            "",
            call.signature
        );
        vm.prank(payer);
        token.approve(address(PERMIT2), 1);
        vm.expectRevert();
        settle(call);
    }

    function test_TheOwnerTakesASignatureBack() public {
        Call memory call = makeCall();
        vm.expectEmit(address(PERMIT2));
        emit Permit2StandIn.UnorderedNonceInvalidation(payer, 0x12, 1 << 0x34);
        vm.prank(payer);
        PERMIT2.invalidateUnorderedNonces(0x12, 1 << 0x34);
        refused(call, Permit2StandIn.InvalidNonce.selector);
    }

    function test_ShortSignaturesAndContractWallets() public {
        Call memory call = makeCall();
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(payerKey, digestOf(call));
        call.signature = abi.encodePacked(r, bytes32(uint256(s) | uint256(v - 27) << 255));
        settle(call);
        assertEq(token.balanceOf(receiver), 400);
        call = makeCall();
        call.owner = address(new GoodWallet(payer));
        fund(call.owner);
        settle(call);
        assertEq(token.balanceOf(receiver), 800);
        call.owner = address(new BadWallet(BadWallet.Way.Garbage));
        vm.expectRevert(Permit2StandIn.InvalidContractSignature.selector);
        settle(call);
    }

    function test_TheProxyNamesWhatItUses() public view {
        assertEq(address(PROXY.PERMIT2()), address(PERMIT2));
        assertEq(
            PROXY.WITNESS_TYPEHASH(),
            keccak256("Witness(address to,address facilitator,uint256 validAfter)")
        );
        assertEq(
            PROXY.WITNESS_TYPE_STRING(),
            "Witness witness)TokenPermissions(address token,uint256 amount)Witness(address to,address facilitator,uint256 validAfter)"
        );
    }
}
