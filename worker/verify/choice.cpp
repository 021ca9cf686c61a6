// SPDX-License-Identifier: Apache-2.0
#include "worker/verify/choice.hpp"

#include "worker/model/philox.hpp"

#include <algorithm>
#include <cstring>
#include <set>

namespace worker::verify {

using ledger::base::Hash32;

std::vector<std::uint64_t> choose_segments(const Hash32& seed, std::uint64_t count,
                                           std::uint64_t k) {
    std::uint64_t key = 0;
    std::memcpy(&key, seed.data(), sizeof(key));
    std::uint64_t salt = 0;
    std::memcpy(&salt, seed.data() + sizeof(key), sizeof(salt));
    const model::Philox random(key, model::Philox::Stream::kShuffle);
    std::set<std::uint64_t> chosen;
    // Floyd's sampling: k draws, each subset equally likely.
    k = std::min(k, count);
    for (std::uint64_t i = 0; i < k; ++i) {
        const std::uint64_t top = count - k + i;
        const std::uint64_t drawn =
            random.below(top + 1, salt & 0xFFFFFFFFFFFFULL, static_cast<std::uint32_t>(i));
        if (!chosen.insert(drawn).second) chosen.insert(top);
    }
    return {chosen.begin(), chosen.end()};
}

}  // namespace worker::verify
