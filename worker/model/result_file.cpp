// SPDX-License-Identifier: Apache-2.0
#include "worker/model/result_file.hpp"

#include "ledger/base/money.hpp"

#include <string>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr const char* kResultKey = "millrace.result_step";

}  // namespace

Metadata result_metadata(std::uint64_t step) {
    return {{"format", "pt"}, {kResultKey, std::to_string(step)}};
}

Result<std::optional<std::uint64_t>> result_step(const std::filesystem::path& path) {
    TRY_ASSIGN(const SafetensorsFile file, SafetensorsFile::open(path));
    const auto found = file.index().metadata.find(kResultKey);
    if (found == file.index().metadata.end()) return std::optional<std::uint64_t>();
    const auto step = ledger::base::parse_u64(found->second);
    if (!step) return fail(ErrorCode::data_invalid, "the result's step is not a number");
    return std::optional(*step);
}

}  // namespace worker::model
