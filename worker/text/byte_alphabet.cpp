// SPDX-License-Identifier: Apache-2.0
#include "worker/text/byte_alphabet.hpp"

#include "worker/text/utf8.hpp"

namespace worker::text {

namespace {

bool prints(unsigned byte) {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
}

}  // namespace

const std::array<std::string, 256>& byte_alphabet() {
    static const std::array<std::string, 256> kAlphabet = [] {
        std::array<std::string, 256> out;
        char32_t next = 0x100;
        for (unsigned byte = 0; byte < 256; ++byte)
            append_utf8(out[byte], prints(byte) ? byte : next++);
        return out;
    }();
    return kAlphabet;
}

std::string from_byte_alphabet(std::string_view token) {
    static const std::array<std::int16_t, 0x144> kBytes = [] {
        std::array<std::int16_t, 0x144> out{};
        out.fill(-1);
        for (unsigned byte = 0; byte < 256; ++byte)
            out[char_at(byte_alphabet()[byte], 0).point] = static_cast<std::int16_t>(byte);
        return out;
    }();
    std::string out;
    for (std::size_t at = 0; at < token.size();) {
        const Utf8Step step = char_at(token, at);
        if (step.point >= kBytes.size() || kBytes[step.point] < 0) return std::string(token);
        out.push_back(static_cast<char>(kBytes[step.point]));
        at += step.size;
    }
    return out;
}

}  // namespace worker::text
