// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"

#include <string>
#include <string_view>

namespace ledger::base {

namespace detail {
[[nodiscard]] std::string format_id(std::string_view prefix, ByteView bytes);
[[nodiscard]] bool parse_id(std::string_view text, std::string_view prefix, std::uint8_t* out);
}  // namespace detail

/// A 128-bit id made by the client, printed with its kind: "ord_" and 32 hex digits.
template <typename Tag>
class Id : public FixedBytes<16, Tag> {
 public:
    using FixedBytes<16, Tag>::FixedBytes;

    [[nodiscard]] std::string to_string() const {
        return detail::format_id(Tag::kPrefix, ByteView(this->data(), 16));
    }
    [[nodiscard]] static Result<Id> parse(std::string_view text) {
        Id out;
        if (!detail::parse_id(text, Tag::kPrefix, out.data()))
            return fail(ErrorCode::invalid_field,
                        "expected " + std::string(Tag::kPrefix) + " and 32 hex digits");
        return out;
    }
    friend auto operator<=>(const Id&, const Id&) = default;
};

struct JobIdTag {
    static constexpr std::string_view kPrefix = "job_";
};
using JobId = Id<JobIdTag>;

}  // namespace ledger::base

template <typename Tag>
struct std::hash<ledger::base::Id<Tag>> : std::hash<ledger::base::FixedBytes<16, Tag>> {};
