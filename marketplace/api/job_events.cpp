// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/job_events.hpp"

#include "marketplace/api/sse.hpp"
#include "marketplace/api/views.hpp"

namespace marketplace::api {

using ledger::base::Error;
using ledger::base::ErrorCode;

namespace {

constexpr std::size_t kPerWrite = 256;

/// One reader's place in a job's record.
class RecordFeed final : public EventFeed {
 public:
    RecordFeed(const JobRecordsPort& records, const domain::JobId& job, std::uint64_t after,
               bool was_final)
        : records_(records), job_(job), last_(after), final_(was_final) {}

    /// Ends the stream behind a final phase.
    void feed(http::StreamWriter& writer) override {
        for (;;) {
            const auto fresh = records_.after(job_, last_, kPerWrite);
            std::string text;
            for (const JobRecord& record : fresh) {
                last_ = record.sequence;
                final_ = final_ || is_final_phase(record);
                text += event_text(std::to_string(record.sequence), record.kind, record.data);
            }
            if (!text.empty() && !writer.write(std::move(text))) return;
            if (fresh.size() < kPerWrite) break;
            if (writer.queued_bytes() > 0) return;  // the rest at the next tick
        }
        if (final_) {
            writer.write(event_text({}, "end", "{}"));
            writer.close();
        }
    }

 private:
    [[nodiscard]] static bool is_final_phase(const JobRecord& record) {
        if (record.kind != "phase") return false;
        const Json data = Json::parse(record.data, nullptr, false);
        if (!data.is_object()) return false;
        const auto state = data.find("state");
        if (state == data.end() || !state->is_string()) return false;
        for (const auto value : {domain::JobState::kCompleted, domain::JobState::kFailed,
                                 domain::JobState::kCancelled, domain::JobState::kExpired})
            if (*state == std::string(to_string(value))) return true;
        return false;
    }

    const JobRecordsPort& records_;
    domain::JobId job_;
    std::uint64_t last_;
    bool final_;
};

/// The record is kept in memory: after a restart of the market its sequences begin anew, and a
/// reader that names a later one must not wait for it.
[[nodiscard]] std::uint64_t known_place(const JobRecordsPort& records, const domain::JobId& id,
                                        std::uint64_t after) {
    return after > 0 && records.after(id, after - 1, 1).empty() ? 0 : after;
}

}  // namespace

void answer_job_events(Services& services, const http::RequestPtr& request,
                       const http::Reply& reply, const domain::JobId& id) {
    const auto last = read_last_event(*request);
    if (!last) return reply(error_response(*request, last.error()));
    const auto limit = read_limit(*request, 1000, 1000);
    if (!limit) return reply(error_response(*request, limit.error()));
    const bool queued =
        services.context.engine.query([&services, request, reply, id, after = last->value_or(0),
                                       limit = *limit](const engine::Engine& e) {
            const auto* job = e.find_job(id);
            if (job == nullptr)
                return reply(error_response(*request, Error(ErrorCode::not_found, "no such job")));
            const std::uint64_t place = known_place(services.context.records, id, after);
            if (wants_stream(*request))
                return reply(stream_of(std::make_shared<RecordFeed>(
                    services.context.records, id, place, domain::is_final(job->state))));
            const auto records = services.context.records.after(id, place, limit + 1);
            Json items = Json::array();
            for (const JobRecord& record : records)
                if (items.size() < limit) items.push_back(record_view(record));
            reply(json_response(list_of(std::move(items), records.size() > limit)));
        });
    if (!queued) reply(error_response(*request, Error(ErrorCode::queue_full, "the engine")));
}

}  // namespace marketplace::api
