// SPDX-License-Identifier: Apache-2.0
#include "worker/text/added_tokens.hpp"

#include "worker/text/utf8.hpp"

#include <unicode/uchar.h>

namespace worker::text {

namespace {

/// Letters, marks, decimal digits, connectors and joiners.
bool is_word(char32_t point) {
    const auto c = static_cast<UChar32>(point);
    constexpr std::uint32_t kMask = U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK;
    return (U_GET_GC_MASK(c) & kMask) != 0 || u_hasBinaryProperty(c, UCHAR_ALPHABETIC) ||
           u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL);
}

bool stands_alone(std::string_view text, std::size_t begin, std::size_t end) {
    const std::string_view before = text.substr(0, begin);
    if (!before.empty() && is_word(char_at(before, last_char(before)).point)) return false;
    return end == text.size() || !is_word(char_at(text, end).point);
}

}  // namespace

void TokenMatcher::add(const AddedToken& token) {
    if (token.content.empty()) return;
    std::uint32_t node = 0;
    for (const char c : token.content) {
        const auto byte = static_cast<unsigned char>(c);
        const auto [edge, added] = edges_.try_emplace((std::uint64_t{node} << 8) | byte,
                                                      static_cast<std::uint32_t>(nodes_.size()));
        if (added) nodes_.emplace_back();
        node = edge->second;
    }
    starts_[static_cast<unsigned char>(token.content.front())] = true;
    nodes_[node].token = tokens_.size();
    tokens_.push_back(token);
}

std::optional<std::size_t> TokenMatcher::longest_at(std::string_view text,
                                                    bool match_special) const {
    std::optional<std::size_t> found;
    std::uint32_t node = 0;
    for (const char c : text) {
        const auto edge = edges_.find((std::uint64_t{node} << 8) | static_cast<unsigned char>(c));
        if (edge == edges_.end()) break;
        node = edge->second;
        const auto& token = nodes_[node].token;
        if (token && (match_special || !tokens_[*token].special)) found = token;
    }
    return found;
}

std::vector<Segment> TokenMatcher::split(std::string_view text, bool match_special) const {
    std::vector<Segment> out;
    std::size_t done = 0;
    std::size_t at = 0;
    while (!tokens_.empty() && at < text.size()) {
        if (!starts_[static_cast<unsigned char>(text[at])]) {
            ++at;
            continue;
        }
        const auto found = longest_at(text.substr(at), match_special);
        if (!found) {
            ++at;
            continue;
        }
        const AddedToken& token = tokens_[*found];
        std::size_t begin = at;
        std::size_t end = at + token.content.size();
        at = end;
        if (token.single_word && !stands_alone(text, begin, end)) continue;
        while (token.lstrip && begin > done) {
            const std::size_t before = last_char(text.substr(0, begin));
            if (!is_space(char_at(text, before).point)) break;
            begin = before;
        }
        while (token.rstrip && end < text.size() && is_space(char_at(text, end).point))
            end += char_size(text[end]);
        if (begin > done) out.push_back({done, begin, std::nullopt});
        out.push_back({begin, end, token.id});
        done = end;
        at = end;
    }
    if (done < text.size()) out.push_back({done, text.size(), std::nullopt});
    return out;
}

}  // namespace worker::text
