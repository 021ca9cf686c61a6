// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/sse.hpp"

namespace marketplace::cli {

bool SseParser::feed(std::string_view bytes,
                     const std::function<bool(const ServerEvent&)>& on_event) {
    constexpr std::size_t kLineBytesMax = 1U << 20U;
    for (const char c : bytes) {
        if (c != '\n') {
            if (line_.size() < kLineBytesMax) line_.push_back(c);
            continue;
        }
        if (!line_.empty() && line_.back() == '\r') line_.pop_back();
        const bool go_on = take_line(line_, on_event);
        line_.clear();
        if (!go_on) return false;
    }
    return true;
}

bool SseParser::take_line(std::string_view line,
                          const std::function<bool(const ServerEvent&)>& on_event) {
    if (line.empty()) {
        bool go_on = true;
        if (has_data_) go_on = on_event(event_);
        event_ = ServerEvent{event_.id, "message", {}};
        has_data_ = false;
        return go_on;
    }
    if (line.front() == ':') return true;  // a comment keeps the connection alive
    const auto colon = line.find(':');
    const std::string_view field = line.substr(0, colon);
    std::string_view value = colon == std::string_view::npos ? "" : line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (field == "data") {
        if (has_data_) event_.data.push_back('\n');
        event_.data.append(value);
        has_data_ = true;
    } else if (field == "event") {
        event_.name = value;
    } else if (field == "id") {
        event_.id = value;
    }
    return true;
}

}  // namespace marketplace::cli
