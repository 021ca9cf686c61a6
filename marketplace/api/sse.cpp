// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/sse.hpp"

#include "ledger/base/money.hpp"

#include <fmt/format.h>

namespace marketplace::api {

using ledger::base::ErrorCode;
using ledger::base::fail;

http::Response stream_of(std::shared_ptr<EventFeed> feed) {
    auto stream = std::make_shared<http::StreamBody>();
    stream->on_start = [feed](const http::StreamWriterPtr& writer) {
        writer->write(": connected\nretry: 2000\n\n");
        feed->feed(*writer);
    };
    stream->on_tick = [feed](http::StreamWriter& writer) { feed->feed(writer); };
    return http::Response::events(std::move(stream));
}

std::string event_text(std::string_view id, std::string_view name, std::string_view data) {
    const std::string head = id.empty() ? std::string() : fmt::format("id: {}\n", id);
    return fmt::format("{}event: {}\ndata: {}\n\n", head, name, data);
}

bool wants_stream(const http::Request& request) {
    const auto accept = request.header("accept");
    return (accept && accept->find("text/event-stream") != std::string_view::npos) ||
           request.query_value("stream") == "true";
}

Result<std::optional<std::uint64_t>> read_last_event(const http::Request& request) {
    if (const auto last = request.header("last-event-id")) {
        const auto value = ledger::base::parse_u64(*last);
        if (!value) return fail(ErrorCode::invalid_field, "Last-Event-ID must be a number");
        return std::optional(*value);
    }
    if (!request.query_value("after")) return std::optional<std::uint64_t>();
    TRY_ASSIGN(const std::uint64_t after, read_query_u64(request, "after", 0));
    return std::optional(after);
}

}  // namespace marketplace::api
