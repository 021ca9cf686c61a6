// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/api/services.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

/// Server-sent events (HTML standard, section 9.2) that resume.
namespace marketplace::api {

/// One reader's place in something that grows. Called on the connection's thread.
class EventFeed {
 public:
    virtual ~EventFeed() = default;
    /// Writes what is new. It must not block; it is called again about four times a second, while
    /// nothing is queued.
    virtual void feed(http::StreamWriter& writer) = 0;
};
[[nodiscard]] http::Response stream_of(std::shared_ptr<EventFeed> feed);

/// "id: 7\nevent: phase\ndata: {…}\n\n"; no id when it is empty. `data` has no line breaks.
[[nodiscard]] std::string event_text(std::string_view id, std::string_view name,
                                     std::string_view data);

/// By Accept: text/event-stream, or ?stream=true for those who cannot set it.
[[nodiscard]] bool wants_stream(const http::Request& request);
/// The number the reader saw last: Last-Event-ID, else ?after; empty when neither is there.
[[nodiscard]] Result<std::optional<std::uint64_t>> read_last_event(const http::Request& request);

}  // namespace marketplace::api
