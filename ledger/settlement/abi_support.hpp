// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "ledger/eth/abi.hpp"
#include "ledger/rpc/chain.hpp"

#include <string_view>

/// Shared by this room's *_abi.cpp files.
namespace ledger::settlement::detail {

/// A contract's answer or event that is not what its ABI says is the node's nonsense.
template <typename T>
[[nodiscard]] base::Result<T> as_answer(base::Result<T> value) {
    if (value) return value;
    return base::fail(base::ErrorCode::chain_bad_answer, value.error().detail());
}

/// Calls a view function: the returned bytes, or chain_mismatch when no contract stands there
/// (a call to an account without code succeeds with nothing).
[[nodiscard]] base::Result<base::Bytes> view(rpc::Chain& chain, const base::Address& contract,
                                             std::string_view signature,
                                             const eth::abi::Encoder& arguments, rpc::BlockTag at);

/// Whether an entry is this event with this count of indexed arguments.
[[nodiscard]] bool is_event(const rpc::LogEntry& entry, const base::Hash32& topic,
                            std::size_t indexed);

/// An indexed address, refusing dirty upper bytes.
[[nodiscard]] base::Result<base::Address> topic_address(const rpc::LogEntry& entry,
                                                        std::size_t index);

}  // namespace ledger::settlement::detail
