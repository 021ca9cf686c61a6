// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/executor/executor.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>

/// The lines between a worker and its job child: one JSON object each, the parent's on the child's
/// stdin, the child's on its stdout. Either side distrusts the other's bytes.
namespace worker::executor {

inline constexpr std::size_t kLineBytesMax = 1U << 20U;

/// The first line a child reads.
struct ChildStart {
    enum class Kind : std::uint8_t { kTrain, kServe, kAudit };
    Kind kind = Kind::kTrain;
    std::string spec_json;
    std::filesystem::path job_dir;
    model::TrainFiles files;
    std::filesystem::path weights;
    std::filesystem::path folder;    // instead of weights, or to fine-tune, by the spec
    std::filesystem::path examples;  // fine-tuning
    std::filesystem::path validation;
    std::uint64_t memory_bytes = 0;  // that the child may use; 0: any
    model::RuntimeOptions runtime;
    bool walls = false;              // refuse execve once loaded
    std::uint64_t stop_at_step = 0;  // training; 0: the spec's last step
    std::filesystem::path claimed;   // of an audit
    ledger::base::Hash32 claimed_hash;
};

struct Pause {};
struct Resume {};
struct Stop {};
struct Abort {
    std::string id;
};
struct Hold {
    std::string id;
    model::TextModel::Pace pace = model::TextModel::Pace::kHold;
};
using Command = std::variant<Pause, Resume, Stop, Abort, Hold, GenerateRequest, EmbedRequest>;

// Each line ends without "\n". Decoders refuse unknown fields and values out of range.
[[nodiscard]] std::string encode_start(const ChildStart& start);
[[nodiscard]] ledger::base::Result<ChildStart> decode_start(std::string_view line);
[[nodiscard]] std::string encode_command(const Command& command);
[[nodiscard]] ledger::base::Result<Command> decode_command(std::string_view line);
/// A checkpoint crosses as a bare file name.
[[nodiscard]] std::string encode_event(const JobEvent& event);
[[nodiscard]] ledger::base::Result<JobEvent> decode_event(std::string_view line);

}  // namespace worker::executor
