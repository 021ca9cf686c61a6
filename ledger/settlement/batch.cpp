// SPDX-License-Identifier: Apache-2.0
#include "ledger/settlement/batch.hpp"

#include <numeric>

namespace ledger::settlement {

using base::ErrorCode;
using base::Result;

Result<BatchFit> submit_fitting(std::size_t count,
                                const std::function<Result<void>(const Positions&)>& submit) {
    BatchFit fit;
    Positions left(count);
    std::iota(left.begin(), left.end(), 0U);
    Positions tried = left;
    while (!tried.empty()) {
        const auto submitted = submit(tried);
        if (submitted) {
            fit.sent = std::move(tried);
            return fit;
        }
        const ErrorCode code = submitted.error().code();
        if (code != ErrorCode::too_large && code != ErrorCode::chain_refused)
            return tl::make_unexpected(submitted.error());
        if (tried.size() > 1) {
            tried.resize(tried.size() / 2);
            continue;
        }
        fit.set_aside.push_back(tried.front());
        std::erase(left, tried.front());
        tried = left;
    }
    return fit;
}

}  // namespace ledger::settlement
