// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/text/value.hpp"

#include <cstdint>
#include <vector>

namespace worker::text {

/// The field "post_processor" of a tokenizer file: the ids around those of one text.
class PostProcessor {
 public:
    /// Nothing around them when `part` is null. Errors: data_invalid, unsupported, job_limit.
    [[nodiscard]] static ledger::base::Result<PostProcessor> parse(const Value* part);

    [[nodiscard]] const std::vector<std::uint32_t>& before() const noexcept { return before_; }
    [[nodiscard]] const std::vector<std::uint32_t>& after() const noexcept { return after_; }

 private:
    [[nodiscard]] ledger::base::Result<void> add_template(const Value& part);
    std::vector<std::uint32_t> before_;
    std::vector<std::uint32_t> after_;
};

}  // namespace worker::text
