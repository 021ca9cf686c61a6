// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace marketplace::cli {

/// One server-sent event (HTML standard, section 9.2).
struct ServerEvent {
    std::string id;
    std::string name = "message";
    std::string data;  ///< lines joined by "\n"
};

/// Cuts a stream of bytes into events. Lines longer than 1 MiB are dropped.
class SseParser {
 public:
    /// Hands over each event that the bytes complete; false stops (and is returned).
    bool feed(std::string_view bytes, const std::function<bool(const ServerEvent&)>& on_event);

 private:
    bool take_line(std::string_view line, const std::function<bool(const ServerEvent&)>& on_event);

    std::string line_;
    ServerEvent event_;
    bool has_data_ = false;
};

}  // namespace marketplace::cli
