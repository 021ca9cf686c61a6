// SPDX-License-Identifier: Apache-2.0
// The parts of a snapshot, without the hash that guards the file. What loads breaks no invariant,
// and is what saving gives again.
#include "ledger/base/check.hpp"
#include "marketplace/engine/snapshot.hpp"

#include <cstddef>
#include <cstdint>

namespace engine = marketplace::engine;

namespace {

template <typename Part>
ledger::base::Bytes saved(const Part& part) {
    ledger::base::Bytes out;
    engine::SnapshotWriter writer(
        [&out](ledger::base::ByteView piece) { ledger::base::append(out, piece); });
    part.save(writer);
    writer.flush();
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const ledger::base::ByteView input(data + 1, size - 1);
    if (data[0] % 2 == 0) {
        engine::EngineConfig config;
        const auto state = engine::Engine::load(config, input);
        if (!state) return 0;
        MR_CHECK(!state->find_violation().has_value());
        const auto bytes = saved(*state);
        const auto again = engine::Engine::load(config, bytes);
        MR_CHECK(again.has_value());
        MR_CHECK(saved(*again) == bytes);
        return 0;
    }
    const auto market = engine::MarketData::load(input);
    if (!market) return 0;
    const auto bytes = saved(*market);
    const auto again = engine::MarketData::load(bytes);
    MR_CHECK(again.has_value());
    MR_CHECK(saved(*again) == bytes);
    return 0;
}
