// SPDX-License-Identifier: Apache-2.0
#include "worker/model/vocabulary.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

namespace worker::model {

using ledger::base::Result;

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// Length of the character that begins with this byte, 0 when none does.
std::size_t sequence_length(std::uint8_t lead) {
    if (lead < 0x80) return 1;
    if (lead >= 0xC2 && lead <= 0xDF) return 2;
    if (lead >= 0xE0 && lead <= 0xEF) return 3;
    if (lead >= 0xF0 && lead <= 0xF4) return 4;
    return 0;
}

/// Whether `second` may follow `lead` (no overlong forms, no surrogates, nothing past U+10FFFF).
bool second_fits(std::uint8_t lead, std::uint8_t second) {
    if (lead == 0xE0) return second >= 0xA0 && second <= 0xBF;
    if (lead == 0xED) return second >= 0x80 && second <= 0x9F;
    if (lead == 0xF0) return second >= 0x90 && second <= 0xBF;
    if (lead == 0xF4) return second >= 0x80 && second <= 0x8F;
    return second >= 0x80 && second <= 0xBF;
}

class ByteStream : public TokenStream {
 public:
    std::string push(std::uint32_t token) override {
        bytes_.push_back(static_cast<char>(token));
        std::string out;
        while (!bytes_.empty()) {
            const auto lead = static_cast<std::uint8_t>(bytes_[0]);
            const std::size_t length = sequence_length(lead);
            std::size_t good = length == 0 ? 0 : 1;
            while (good > 0 && good < std::min(length, bytes_.size())) {
                const auto next = static_cast<std::uint8_t>(bytes_[good]);
                const bool fits =
                    good == 1 ? second_fits(lead, next) : (next >= 0x80 && next <= 0xBF);
                if (!fits) break;
                ++good;
            }
            if (good == length && length > 0) {
                out.append(bytes_, 0, length);
                bytes_.erase(0, length);
            } else if (good == bytes_.size()) {
                break;  // may still become a character
            } else {
                out += kReplacement;
                bytes_.erase(0, std::max<std::size_t>(good, 1));
            }
        }
        return out;
    }
    std::string finish() override {
        const bool broken = !bytes_.empty();
        bytes_.clear();
        return std::string(broken ? kReplacement : std::string_view());
    }

 private:
    std::string bytes_;  // the start of a character
};

class ByteVocabulary : public Vocabulary {
 public:
    Result<std::vector<std::uint32_t>> encode(std::string_view text) const override {
        std::vector<std::uint32_t> out;
        out.reserve(text.size());
        for (const char c : text)
            out.push_back(static_cast<std::uint8_t>(c));
        return out;
    }
    std::unique_ptr<TokenStream> stream() const override { return std::make_unique<ByteStream>(); }
    std::string bytes(std::uint32_t token) const override {
        return token < 256 ? std::string(1, static_cast<char>(token)) : std::string();
    }
    std::string label(std::uint32_t token) const override {
        if (token < 0x80) return std::string(1, static_cast<char>(token));
        return fmt::format("\\x{:02x}", token);
    }
};

}  // namespace

std::shared_ptr<const Vocabulary> byte_vocabulary() {
    return std::make_shared<ByteVocabulary>();
}

}  // namespace worker::model
