// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <c10/core/Device.h>
#include <c10/util/Exception.h>

#include <new>
#include <string>

/// For the files that include torch anyway.
namespace worker::model {

/// Runs `work`, which returns a Result, turning what torch and the allocator throw into errors.
template <typename Work>
auto guarded(Work&& work) -> decltype(work()) {
    using ledger::base::ErrorCode;
    using ledger::base::fail;
    try {
        return work();
    } catch (const std::bad_alloc&) {
        return fail(ErrorCode::out_of_memory, "the job needs more memory than it may use");
    } catch (const c10::Error& error) {
        const std::string what = error.what_without_backtrace();
        const bool memory = what.find("out of memory") != std::string::npos ||
                            what.find("can't allocate memory") != std::string::npos;
        if (memory)
            return fail(ErrorCode::out_of_memory, "the job needs more memory than it may use");
        return fail(ErrorCode::worker_failed, "libtorch: " + what.substr(0, what.find('\n')));
    }
}

/// "cpu" or "cuda". worker_failed when no GPU is visible: one that the sandbox hides must never
/// become a silent run on the CPU.
[[nodiscard]] ledger::base::Result<c10::Device> open_device(const std::string& name);

}  // namespace worker::model
