// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/eth/messages.hpp"
#include "tests/bench/orders/load.hpp"

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

/// What nothing that checks and keeps a signed order can do without, each part bare and alone.
namespace bench {

/// One signed order as it is sent, and as the parts need it.
struct Sample {
    ledger::eth::Ask ask;
    ledger::base::Hash32 digest;
    ledger::base::Signature signature;
    std::string body;
    std::string resource;
};

/// CPU seconds that one order takes in each part: what others take from the core does not count.
struct Parts {
    double hash_s = 0;     ///< EIP-712 struct hash and digest
    double recover_s = 0;  ///< libsecp256k1 recovery and the address
    double parse_s = 0;    ///< JSON of body and resource document
    double row_s = 0;      ///< a prepared insert, `group` rows per fsynced commit
    double http_s = 0;     ///< epoll server that reads as many bytes and writes as many

    [[nodiscard]] double sum() const { return hash_s + recover_s + parse_s + row_s + http_s; }
};

struct LimitInput {
    std::span<const Sample> samples;
    std::span<const std::string> requests;
    std::size_t answer_bytes = 0;  ///< of one whole answer
    std::size_t record_bytes = 0;  ///< of one journal row
    std::size_t group = 0;
    ledger::eth::Domain domain;
    std::filesystem::path folder;
    LoadOptions load;
};
[[nodiscard]] Parts measure_parts(const LimitInput& input);

}  // namespace bench
