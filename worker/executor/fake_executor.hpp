// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/executor/executor.hpp"

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace worker::executor {

/// Trains nothing and answers with its prompt, at once and deterministically, for tests of callers.
/// Checkpoints are small real files, so that they can be uploaded and hashed.
class FakeExecutor final : public Executor {
 public:
    [[nodiscard]] ledger::base::Result<std::unique_ptr<Job>> start_train(const TrainTask& task,
                                                                         EventSink sink) override;
    /// unsupported: there is nothing to compare.
    [[nodiscard]] ledger::base::Result<std::unique_ptr<Job>> start_audit(const AuditTask& task,
                                                                         EventSink sink) override;
    [[nodiscard]] ledger::base::Result<std::unique_ptr<Job>> start_serve(const ServeTask& task,
                                                                         EventSink sink) override;
    /// The next training job fails with this after `step` steps, once.
    void fail_next_at(std::uint64_t step, ledger::base::Error error);

 private:
    std::mutex mutex_;
    std::uint64_t fail_step_ = 0;
    std::vector<ledger::base::Error> fail_with_;
};

}  // namespace worker::executor
