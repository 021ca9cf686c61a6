// SPDX-License-Identifier: Apache-2.0
// A config that is taken keeps every promise that the forward pass builds on.
#include "ledger/base/check.hpp"
#include "worker/model/hf_config.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    static_cast<void>(worker::model::parse_generation_config(text, 32000));
    const auto config = worker::model::parse_hf_config(text);
    if (!config) return 0;
    MR_CHECK(worker::model::check_decoder_config(*config).has_value());
    MR_CHECK(config->heads % config->kv_heads == 0);
    MR_CHECK(config->rope.dims <= config->head_dim);
    MR_CHECK(config->rope.dims == 0 || config->rope.theta >= 1.0);
    MR_CHECK(config->rope.factor >= 1.0);
    MR_CHECK(config->windows.size() == config->depth);
    MR_CHECK(worker::model::parameter_count(*config) > 0);
    return 0;
}
