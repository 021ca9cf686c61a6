// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <string>

namespace c10 {
struct Device;
}

/// For the files that use torch; torch itself stays behind these declarations.
namespace worker::model {

/// The error that stands for the exception in flight: out_of_memory or worker_failed for what torch
/// and the allocator throw; anything else goes on flying. Inside a catch block only.
[[nodiscard]] ledger::base::Error torch_error();

/// Runs `work`, which returns a Result, turning what torch and the allocator throw into errors.
template <typename Work>
auto guarded(Work&& work) -> decltype(work()) {
    try {
        return work();
    } catch (...) {
        return tl::make_unexpected(torch_error());
    }
}

/// "cpu" or "cuda". worker_failed when no GPU is visible: one that the sandbox hides must never
/// become a silent run on the CPU.
[[nodiscard]] ledger::base::Result<c10::Device> open_device(const std::string& name);

}  // namespace worker::model
