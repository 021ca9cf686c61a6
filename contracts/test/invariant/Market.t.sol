// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {Handler} from "./Handler.sol";

/// @notice The invariants of the design that the contracts alone can break, after random actions of
/// random actors. I-03, I-04, I-06 and I-13 are checked by the handler at every step.
abstract contract MarketInvariants is Test {
    Handler internal handler;

    function start(bool moody) internal {
        handler = new Handler(moody);
        handler.init();
        targetContract(address(handler));
        bytes4[] memory selectors = new bytes4[](25);
        selectors[0] = Handler.deposit.selector;
        selectors[1] = Handler.open.selector;
        selectors[2] = Handler.openAgain.selector;
        selectors[3] = Handler.claim.selector;
        selectors[4] = Handler.requestClose.selector;
        selectors[5] = Handler.finalize.selector;
        selectors[6] = Handler.claim.selector;
        selectors[7] = Handler.withdraw.selector;
        selectors[8] = Handler.sweep.selector;
        selectors[9] = Handler.revoke.selector;
        selectors[10] = Handler.attack.selector;
        selectors[11] = Handler.pass.selector;
        selectors[12] = Handler.changeMood.selector;
        selectors[13] = Handler.claim.selector;
        selectors[14] = Handler.cancelAsk.selector;
        selectors[15] = Handler.cancelBid.selector;
        selectors[16] = Handler.rotateKey.selector;
        selectors[17] = Handler.changeFee.selector;
        selectors[18] = Handler.equivocate.selector;
        selectors[19] = Handler.addBond.selector;
        selectors[20] = Handler.collect.selector;
        selectors[21] = Handler.claimAlone.selector;
        selectors[22] = Handler.objectTo.selector;
        selectors[23] = Handler.payLone.selector;
        selectors[24] = Handler.claimAlone.selector;
        targetSelector(FuzzSelector(address(handler), selectors));
    }

    function invariant_SolventAndLocksAddUp() public view {
        handler.checkSolvent();
        handler.checkLocks();
        handler.checkBonds();
    }

    function afterInvariant() public {
        emit log_named_uint("opened", handler.done("opened"));
        emit log_named_uint("closed by claim", handler.done("closed by claim"));
        emit log_named_uint("claimed alone", handler.done("claimed alone"));
        emit log_named_uint("paid alone", handler.done("paid alone"));
        emit log_named_uint("objected", handler.done("objected"));
        emit log_named_uint("slashed", handler.done("slashed"));
        emit log_named_uint("paid", handler.paidTotal());
        handler.checkEnded();
        handler.checkExits();
    }
}

contract HonestTokenTest is MarketInvariants {
    function setUp() public {
        start(false);
    }
}

contract MoodyTokenTest is MarketInvariants {
    function setUp() public {
        start(true);
    }
}
