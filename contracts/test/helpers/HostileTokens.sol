// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @notice Tokens that do what they should not.
contract PlainToken is ERC20 {
    uint8 private immutable _decimals;

    constructor(uint8 decimals_) ERC20("Plain", "PLN") {
        _decimals = decimals_;
    }

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function decimals() public view override returns (uint8) {
        return _decimals;
    }
}

/// @notice Keeps 1 % of every transfer.
contract FeeToken is PlainToken(6) {
    function _update(address from, address to, uint256 value) internal override {
        if (from == address(0)) return super._update(from, to, value);
        super._update(from, to, value - value / 100);
        super._update(from, address(0xFEE), value / 100);
    }
}

/// @notice Answers false and moves nothing.
contract FalseToken is PlainToken(6) {
    function transfer(address, uint256) public pure override returns (bool) {
        return false;
    }

    function transferFrom(address, address, uint256) public pure override returns (bool) {
        return false;
    }
}

/// @notice Moves money and answers nothing, like an old token everybody uses.
contract SilentToken {
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    uint8 public constant decimals = 6;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function approve(address spender, uint256 amount) external {
        allowance[msg.sender][spender] = amount;
    }

    function transfer(address to, uint256 amount) external {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
    }

    function transferFrom(address from, address to, uint256 amount) external {
        allowance[from][msg.sender] -= amount;
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @notice Refuses to move money of or to listed accounts.
contract BlocklistToken is PlainToken(6) {
    error Blocked(address account);

    mapping(address => bool) public blocked;

    function setBlocked(address account, bool value) external {
        blocked[account] = value;
    }

    function _update(address from, address to, uint256 value) internal override {
        if (blocked[from]) revert Blocked(from);
        if (blocked[to]) revert Blocked(to);
        super._update(from, to, value);
    }
}

/// @notice Calls somebody back in the middle of every transfer.
contract ReentrantToken is PlainToken(6) {
    address public target;
    bytes public call;
    bool public lastDone;
    bytes public lastAnswer;

    function arm(address target_, bytes calldata call_) external {
        target = target_;
        call = call_;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (target == address(0)) return;
        address callee = target;
        target = address(0);
        (lastDone, lastAnswer) = callee.call(call);
    }
}

/// @notice Changes its mind about how to behave.
contract MoodyToken is PlainToken(6) {
    enum Mood {
        Honest,
        KeepsAPart,
        AnswersFalse,
        Blocks,
        CallsBack
    }

    Mood public mood;
    address public enemy;
    address public target;
    bytes public call;

    function setMood(Mood mood_, address enemy_, address target_, bytes calldata call_) external {
        (mood, enemy, target, call) = (mood_, enemy_, target_, call_);
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        return mood != Mood.AnswersFalse && super.transfer(to, value);
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        return mood != Mood.AnswersFalse && super.transferFrom(from, to, value);
    }

    function _update(address from, address to, uint256 value) internal override {
        if (from == address(0)) return super._update(from, to, value);
        if (mood == Mood.Blocks) require(from != enemy && to != enemy, "blocked");
        uint256 kept = mood == Mood.KeepsAPart ? (value + 99) / 100 : 0;
        super._update(from, to, value - kept);
        if (kept != 0) super._update(from, address(0xFEE), kept);
        if (mood != Mood.CallsBack || target == address(0)) return;
        address callee = target;
        target = address(0);
        (bool done,) = callee.call(call);
        require(!done, "reentry went through");
        target = callee;
    }
}
