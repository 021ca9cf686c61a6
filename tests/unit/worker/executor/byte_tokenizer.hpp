// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/text/byte_alphabet.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

namespace worker::executor {

inline constexpr std::uint32_t kBegin = 256;  // "<s>"
inline constexpr std::uint32_t kTurn = 257;   // "<|turn|>"

/// Every byte a token, and two special ones.
inline std::string byte_tokenizer() {
    using nlohmann::json;
    json vocabulary = json::object();
    for (std::uint32_t i = 0; i < 256; ++i)
        vocabulary[worker::text::byte_alphabet()[i]] = i;
    const auto special = [](std::uint32_t id, const char* content) {
        return json{{"id", id},        {"content", content}, {"single_word", false},
                    {"lstrip", false}, {"rstrip", false},    {"normalized", false},
                    {"special", true}};
    };
    const json bytes{{"type", "ByteLevel"},
                     {"add_prefix_space", false},
                     {"trim_offsets", true},
                     {"use_regex", true}};
    const json begin{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
    const json text{{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
    json out{{"version", "1.0"},
             {"added_tokens", {special(kBegin, "<s>"), special(kTurn, "<|turn|>")}},
             {"normalizer", nullptr},
             {"pre_tokenizer", bytes},
             {"decoder", bytes},
             {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", json::array()}}}};
    out["post_processor"] = {
        {"type", "TemplateProcessing"},
        {"single", {begin, text}},
        {"pair", {begin, text, text}},
        {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {kBegin}}, {"tokens", {"<s>"}}}}}}};
    return out.dump();
}

}  // namespace worker::executor
