// SPDX-License-Identifier: Apache-2.0
#include "worker/model/philox.hpp"

#include <doctest/doctest.h>

#include <set>

using worker::model::Philox;

TEST_CASE("philox: published vectors of Random123") {
    CHECK(Philox::rounds({0, 0, 0, 0}, {0, 0}) ==
          Philox::Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    CHECK(Philox::rounds({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                         {0xffffffff, 0xffffffff}) ==
          Philox::Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    CHECK(Philox::rounds({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                         {0xa4093822, 0x299f31d0}) ==
          Philox::Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("philox: streams, places and seeds differ") {
    std::set<std::uint64_t> seen;
    for (const auto stream : {Philox::Stream::kInit, Philox::Stream::kBatch})
        for (std::uint64_t seed = 0; seed < 4; ++seed)
            for (std::uint64_t major = 0; major < 4; ++major)
                for (std::uint32_t minor = 0; minor < 4; ++minor)
                    seen.insert(Philox(seed, stream).u64(major, minor));
    CHECK(seen.size() == 2 * 4 * 4 * 4);
}

TEST_CASE("philox: numbers below a bound reach both ends") {
    const Philox random(1, Philox::Stream::kBatch);
    std::set<std::uint64_t> seen;
    for (std::uint32_t i = 0; i < 200; ++i)
        seen.insert(random.below(5, 0, i));
    CHECK(seen == std::set<std::uint64_t>{0, 1, 2, 3, 4});
}
