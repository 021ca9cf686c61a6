// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {Permit2StandIn} from "./Permit2StandIn.sol";

/// @title A stand-in for x402's public proxy of payments up to an amount, for test chains alone
/// @notice Public chains have x402UptoPermit2Proxy at 0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002.
/// This is not its code: it has its `settle`, written anew with the same typed data and refusals, to
/// be placed at that address of a chain that has nothing there.
/// @dev The public one also has `settleWithPermit`, which the market does not use.
contract UptoProxyStandIn is ReentrancyGuardTransient {
    struct Witness {
        address to;
        address facilitator;
        uint256 validAfter;
    }

    error UnauthorizedFacilitator();
    error AmountExceedsPermitted();
    error InvalidAmount();
    error InvalidOwner();
    error InvalidDestination();
    error PaymentTooEarly();

    event Settled();

    // solhint-disable-next-line const-name-snakecase
    Permit2StandIn public constant PERMIT2 =
        Permit2StandIn(0x000000000022D473030F116dDEE9F6B43aC78BA3);
    bytes32 public constant WITNESS_TYPEHASH =
        keccak256("Witness(address to,address facilitator,uint256 validAfter)");
    string public constant WITNESS_TYPE_STRING =
        "Witness witness)TokenPermissions(address token,uint256 amount)Witness(address to,address facilitator,uint256 validAfter)";

    /// @notice Moves `amount` of what the owner signed to the receiver that was signed for, at the
    /// request of the facilitator that was signed for.
    function settle(
        Permit2StandIn.PermitTransferFrom calldata permit,
        uint256 amount,
        address owner,
        Witness calldata witness,
        bytes calldata signature
    ) external nonReentrant {
        if (amount > permit.permitted.amount) {
            revert AmountExceedsPermitted();
        }
        if (msg.sender != witness.facilitator) {
            revert UnauthorizedFacilitator();
        }
        if (amount == 0) revert InvalidAmount();
        if (owner == address(0)) revert InvalidOwner();
        if (witness.to == address(0)) revert InvalidDestination();
        if (block.timestamp < witness.validAfter) revert PaymentTooEarly();
        PERMIT2.permitWitnessTransferFrom(
            permit,
            Permit2StandIn.SignatureTransferDetails(witness.to, amount),
            owner,
            keccak256(
                abi.encode(WITNESS_TYPEHASH, witness.to, witness.facilitator, witness.validAfter)
            ),
            WITNESS_TYPE_STRING,
            signature
        );
        emit Settled();
    }
}
