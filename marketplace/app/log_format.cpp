// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/log_format.hpp"

#include <fmt/format.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <utility>

namespace marketplace::app {
namespace {

/// The message, escaped: the rest of the line is a pattern.
class EscapedMessage final : public spdlog::custom_flag_formatter {
 public:
    void format(const spdlog::details::log_msg& message, const std::tm&,
                spdlog::memory_buf_t& out) override {
        const std::string text =
            json_escaped(std::string_view(message.payload.data(), message.payload.size()));
        out.append(text.data(), text.data() + text.size());
    }
    [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
        return std::make_unique<EscapedMessage>();
    }
};

}  // namespace

std::string json_escaped(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        } else {
            out += c;
        }
    }
    return out;
}

void log_as_json() {
    auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
    formatter->add_flag<EscapedMessage>('*').set_pattern(
        R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l","message":"%*"})");
    spdlog::set_formatter(std::move(formatter));
}

void log_request(const http::AccessRecord& record, bool all) {
    const bool fault = record.status >= 500;
    if (!fault && !all) return;
    const std::string& route = record.request.route;
    spdlog::log(fault ? spdlog::level::warn : spdlog::level::info,
                "event=request id={} method={} route={} status={} bytes={} ms={:.1f} address={}",
                record.request.id, to_string(record.request.method), route.empty() ? "none" : route,
                record.status, record.response_bytes,
                static_cast<double>(record.duration.count()) / 1000, record.request.remote_address);
}

}  // namespace marketplace::app
