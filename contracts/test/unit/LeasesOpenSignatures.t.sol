// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {ILeases} from "../../src/interfaces/ILeases.sol";
import {Ask, Bid, Delegation} from "../../src/libraries/Messages.sol";
import {Opening} from "../helpers/Fixture.sol";
import {OpenFixture} from "../helpers/OpenFixture.sol";

/// @notice Every changed bit of a message or signature is refused.
contract LeasesOpenSignaturesTest is OpenFixture {
    /// @notice Which field of the item a mutation touches is drawn by the fuzzer.
    function testFuzz_AnyChangedFieldIsRefused(uint8 field, uint256 bit) public {
        Opening memory item = makeDelegatedItem();
        bytes32 unchanged = keccak256(abi.encode(item));
        bytes memory flat = abi.encode(item.ask);
        uint256 which = field % 3;
        if (which == 0) {
            _flip(flat, bit);
            try this.decodeAsk(flat) returns (Ask memory ask) {
                item.ask = ask;
            } catch {
                return;
            }
        } else if (which == 1) {
            flat = abi.encode(item.bid);
            _flip(flat, bit);
            try this.decodeBid(flat) returns (Bid memory bid) {
                item.bid = bid;
            } catch {
                return;
            }
        } else {
            flat = abi.encode(item.delegation);
            _flip(flat, bit);
            try this.decodeDelegation(flat) returns (Delegation memory delegation) {
                item.delegation = delegation;
            } catch {
                return;
            }
        }
        assertNotEq(keccak256(abi.encode(item)), unchanged);
        vm.recordLogs();
        vm.prank(operator);
        leases.open(only(item));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 1);
        assertEq(logs[0].topics[0], ILeases.ItemFailed.selector);
        assertEq(leases.spentBy(buyer, delegate), 0);
        assertEq(lockedOf(buyer), 0);
    }

    function _flip(bytes memory flat, uint256 bit) private pure {
        bit = bit % (flat.length * 8);
        flat[bit / 8] = bytes1(uint8(flat[bit / 8]) ^ uint8(1 << (bit % 8)));
    }

    function decodeAsk(bytes calldata flat) external pure returns (Ask memory) {
        return abi.decode(flat, (Ask));
    }

    function decodeBid(bytes calldata flat) external pure returns (Bid memory) {
        return abi.decode(flat, (Bid));
    }

    function decodeDelegation(bytes calldata flat) external pure returns (Delegation memory) {
        return abi.decode(flat, (Delegation));
    }

    function test_RefusesSignaturesOfOtherShapes() public {
        Opening memory item = makeItem();
        bytes32 digest = digestOf(keyOf(item).bidHash);
        bytes memory reason = abi.encodeWithSelector(ILeases.BadSignature.selector, buyer, digest);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(buyerKey, digest);
        bytes32 order = bytes32(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141);
        bytes32 highS = bytes32(uint256(order) - uint256(s));
        bytes32 vs = bytes32(uint256(s) | (uint256(v - 27) << 255));

        item.bidSignature = abi.encodePacked(r, highS, v == 27 ? uint8(28) : uint8(27));
        refuse(item, reason); // high s
        item.bidSignature = abi.encodePacked(r, vs);
        refuse(item, reason); // 64 bytes
        item.bidSignature = abi.encodePacked(r, s, v == 27 ? uint8(28) : uint8(27));
        refuse(item, reason); // the other v
        item.bidSignature = abi.encodePacked(r, s, v - 27);
        refuse(item, reason); // v of 0 or 1
        item.bidSignature = abi.encodePacked(bytes32(0), s, v);
        refuse(item, reason); // r zero
        item.bidSignature = abi.encodePacked(r, bytes32(0), v);
        refuse(item, reason); // s zero
        item.bidSignature = abi.encodePacked(r, s, v, uint8(0));
        refuse(item, reason); // 66 bytes
        item.bidSignature = "";
        refuse(item, reason); // nothing
        item.bidSignature = abi.encodePacked(r, s, v);
        openOne(item);
    }

    function test_RefusesMessagesOfAnotherChainOrContract() public {
        Opening memory item = makeItem();
        vm.chainId(block.chainid + 1);
        bytes32 elsewhere = digestOf(keyOf(item).askHash);
        refuse(item, abi.encodeWithSelector(ILeases.BadSignature.selector, provider, elsewhere));
        vm.chainId(block.chainid - 1);
        deployOn(token);
        vm.prank(operator);
        leases.open(only(item));
        assertEq(stateOf(item), 0);
    }
}
