// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/model/json_grammar.hpp"
#include "worker/model/vocabulary.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace worker::model {

/// Which tokens of a vocabulary may come next, for states of one grammar. Keeps what it found.
/// Not thread-safe.
class TokenMasks {
 public:
    /// One bit a token: bit i % 64 of word i / 64.
    struct Mask {
        std::vector<std::uint64_t> bits;
        std::size_t count = 0;
    };

    /// The first `size` tokens of the vocabulary, sorted by their bytes.
    class Table {
     public:
        Table(const Vocabulary& vocabulary, std::uint32_t size);
        [[nodiscard]] std::size_t size() const noexcept { return size_; }
        [[nodiscard]] std::string_view bytes(std::uint32_t token) const noexcept;

     private:
        friend class TokenMasks;
        struct Entry {
            std::uint32_t token = 0;
            std::uint32_t begin = 0;  // of its bytes
            std::uint16_t size = 0;
            std::uint16_t shared = 0;  // bytes that the one before begins with, too
        };
        std::size_t size_;
        std::string text_;
        std::vector<Entry> entries_;                                   // tokens with bytes
        std::vector<std::pair<std::uint32_t, std::uint16_t>> places_;  // by token
    };

    explicit TokenMasks(std::shared_ptr<const Table> table) : table_(std::move(table)) {}
    [[nodiscard]] const Mask& allowed(const JsonState& state);

 private:
    [[nodiscard]] Mask find(const JsonState& state);

    std::shared_ptr<const Table> table_;
    std::unordered_map<std::string, Mask> known_;
    std::vector<JsonState> states_;  // after each byte of the token under way
};

}  // namespace worker::model
