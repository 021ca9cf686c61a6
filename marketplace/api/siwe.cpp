// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/siwe.hpp"

#include "ledger/base/money.hpp"
#include "ledger/crypto/address.hpp"

#include <fmt/format.h>

#include <chrono>

namespace marketplace::api {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using ledger::base::TimeMs;

namespace {

constexpr std::size_t kMessageBytesMax = 4096;
constexpr std::string_view kWants = " wants you to sign in with your Ethereum account:";

tl::unexpected<ledger::base::Error> malformed(std::string_view what) {
    return fail(ErrorCode::invalid_field, fmt::format("/message is no ERC-4361 message: {}", what));
}

/// Takes lines off the front.
class Lines {
 public:
    explicit Lines(std::string_view text) : rest_(text) {}
    [[nodiscard]] bool done() const { return done_; }
    [[nodiscard]] std::string_view peek() const { return rest_.substr(0, rest_.find('\n')); }
    std::string_view next() {
        const std::string_view line = peek();
        if (line.size() == rest_.size())
            done_ = true;
        else
            rest_.remove_prefix(line.size() + 1);
        if (done_) rest_ = {};
        return line;
    }

 private:
    std::string_view rest_;
    bool done_ = false;
};

/// The value of "Name: value", when the next line begins with that name.
[[nodiscard]] std::optional<std::string_view> take_field(Lines& lines, std::string_view name) {
    if (lines.done() || !lines.peek().starts_with(name)) return std::nullopt;
    return lines.next().substr(name.size());
}

[[nodiscard]] bool is_plain(std::string_view text, std::size_t least, std::size_t most) {
    if (text.size() < least || text.size() > most) return false;
    for (const char c : text)
        if (c <= ' ' || c >= '\x7f') return false;
    return true;
}

[[nodiscard]] bool is_alphanumeric(std::string_view text) {
    for (const char c : text)
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')))
            return false;
    return true;
}

/// Two to four digits at `at`; -1 when there are none.
[[nodiscard]] int digits(std::string_view text, std::size_t at, std::size_t count) {
    int value = 0;
    for (std::size_t i = at; i < at + count; ++i) {
        if (i >= text.size() || text[i] < '0' || text[i] > '9') return -1;
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

Result<void> read_head(Lines& lines, SiweMessage& out) {
    std::string_view first = lines.next();
    if (!first.ends_with(kWants)) return malformed("the first line");
    first.remove_suffix(kWants.size());
    if (const auto at = first.find("://"); at != std::string_view::npos) {
        out.scheme = std::string(first.substr(0, at));
        first.remove_prefix(at + 3);
    }
    if (!is_plain(first, 1, 255)) return malformed("the domain");
    out.domain = std::string(first);
    const std::string_view address = lines.next();
    const auto parsed = ledger::crypto::parse_address(address);
    if (!parsed || ledger::crypto::to_checksum(*parsed) != address)
        return malformed("the address needs its checksum (EIP-55)");
    out.address = *parsed;
    if (!lines.next().empty()) return malformed("an empty line follows the address");
    if (!lines.done() && !lines.peek().empty()) {
        out.statement = std::string(lines.next());
    }
    if (lines.done() || !lines.next().empty()) return malformed("an empty line precedes URI");
    return {};
}

Result<void> read_time(Lines& lines, std::string_view name, std::optional<TimeMs>& out) {
    const auto text = take_field(lines, name);
    if (!text) return {};
    const auto time = parse_rfc3339(*text);
    if (!time) return malformed(name);
    out = *time;
    return {};
}

}  // namespace

Result<TimeMs> parse_rfc3339(std::string_view text) {
    using namespace std::chrono;
    const auto bad = [] { return fail(ErrorCode::invalid_field, "not an RFC 3339 time"); };
    const int year_value = digits(text, 0, 4);
    const int month_value = digits(text, 5, 2);
    const int day_value = digits(text, 8, 2);
    const int hour = digits(text, 11, 2);
    const int minute = digits(text, 14, 2);
    const int second = digits(text, 17, 2);
    const bool shaped = text.size() >= 20 && text[4] == '-' && text[7] == '-' &&
                        (text[10] == 'T' || text[10] == 't') && text[13] == ':' && text[16] == ':';
    if (!shaped || year_value < 1970 || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
        second < 0 || second > 59 || month_value < 1 || day_value < 1)
        return bad();
    const year_month_day date{year(year_value), month(static_cast<unsigned>(month_value)),
                              day(static_cast<unsigned>(day_value))};
    if (!date.ok()) return bad();
    std::size_t at = 19;
    std::int64_t millis = 0;
    if (text[at] == '.') {
        std::int64_t unit = 100;
        std::size_t count = 0;
        for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++count) {
            millis += (text[at] - '0') * unit;
            unit /= 10;
        }
        if (count == 0 || count > 9) return bad();
    }
    std::int64_t offset_min = 0;
    const std::string_view zone = text.substr(at);
    if (zone != "Z" && zone != "z") {
        const int zone_hour = digits(zone, 1, 2);
        const int zone_minute = digits(zone, 4, 2);
        if (zone.size() != 6 || (zone[0] != '+' && zone[0] != '-') || zone[3] != ':' ||
            zone_hour < 0 || zone_hour > 23 || zone_minute < 0 || zone_minute > 59)
            return bad();
        offset_min = (zone[0] == '-' ? -1 : 1) * (zone_hour * 60 + zone_minute);
    }
    const std::int64_t days = sys_days(date).time_since_epoch().count();
    const std::int64_t total =
        ((days * 24 + hour) * 60 + minute - offset_min) * 60'000 + second * 1000 + millis;
    if (total < 0) return bad();
    return static_cast<TimeMs>(total);
}

std::string to_rfc3339(TimeMs time_ms) {
    using namespace std::chrono;
    const sys_time<milliseconds> time{milliseconds(static_cast<std::int64_t>(time_ms))};
    const auto day_start = floor<days>(time);
    const year_month_day date(day_start);
    const hh_mm_ss clock(time - day_start);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                       static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                       clock.hours().count(), clock.minutes().count(), clock.seconds().count(),
                       clock.subseconds().count());
}

Result<SiweMessage> parse_siwe(std::string_view text) {
    if (text.size() > kMessageBytesMax) return malformed("longer than 4 KiB");
    if (text.find('\r') != std::string_view::npos) return malformed("a carriage return");
    SiweMessage out;
    Lines lines(text);
    TRY(read_head(lines, out));
    const auto uri = take_field(lines, "URI: ");
    if (!uri || !is_plain(*uri, 1, 1024)) return malformed("URI");
    out.uri = std::string(*uri);
    if (take_field(lines, "Version: ") != "1") return malformed("Version must be 1");
    const auto chain = take_field(lines, "Chain ID: ");
    const auto chain_id = ledger::base::parse_u64(chain.value_or(""));
    if (!chain_id) return malformed("Chain ID");
    out.chain_id = *chain_id;
    const auto nonce = take_field(lines, "Nonce: ");
    if (!nonce || nonce->size() < 8 || nonce->size() > 128 || !is_alphanumeric(*nonce))
        return malformed("Nonce");
    out.nonce = std::string(*nonce);
    std::optional<TimeMs> issued;
    TRY(read_time(lines, "Issued At: ", issued));
    if (!issued) return malformed("Issued At");
    out.issued_at_ms = *issued;
    TRY(read_time(lines, "Expiration Time: ", out.expires_at_ms));
    TRY(read_time(lines, "Not Before: ", out.not_before_ms));
    if (const auto id = take_field(lines, "Request ID: ")) out.request_id = std::string(*id);
    if (!lines.done() && lines.peek() == "Resources:") {
        lines.next();
        while (const auto resource = take_field(lines, "- "))
            out.resources.emplace_back(*resource);
    }
    if (!lines.done()) return malformed("text after its end");
    return out;
}

}  // namespace marketplace::api
