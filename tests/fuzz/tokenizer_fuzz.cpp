// SPDX-License-Identifier: Apache-2.0
// A tokenizer file, a byte 0xFF, a text: what loads gives ids that are its own, and whole UTF-8
// back.
#include "ledger/base/check.hpp"
#include "worker/text/tokenizer.hpp"
#include "worker/text/utf8.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view all(reinterpret_cast<const char*>(data), size);
    const std::size_t cut = all.find('\xff');
    const auto tokenizer = worker::text::Tokenizer::from_json(all.substr(0, cut));
    if (!tokenizer) return 0;
    const std::string_view text = cut == std::string_view::npos ? "a b" : all.substr(cut + 1);
    const auto ids = tokenizer->encode(text, {false, true});
    if (!ids) return 0;
    std::string streamed;
    worker::text::StreamDecoder stream(*tokenizer, worker::text::Skip::kNothing);
    for (const auto id : *ids) {
        MR_CHECK(id < tokenizer->vocabulary_size());
        const std::string piece = stream.push(id);
        MR_CHECK(worker::text::is_utf8(piece));
        streamed += piece;
    }
    streamed += stream.finish();
    MR_CHECK(streamed == tokenizer->decode(*ids, worker::text::Skip::kNothing));
    return 0;
}
