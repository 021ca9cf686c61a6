// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/terminal.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <utility>

namespace marketplace::cli {
namespace {

struct CodePoint {
    char32_t value = 0;
    std::size_t bytes = 0;  ///< 0: invalid at this place
};

CodePoint decode_at(std::string_view text, std::size_t at) noexcept {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
    const unsigned char first = byte(0);
    if (first < 0x80) return {first, 1};
    const std::size_t length = first >= 0xf0 && first < 0xf5   ? 4
                               : first >= 0xe0 && first < 0xf0 ? 3
                               : first >= 0xc2 && first < 0xe0 ? 2
                                                               : 0;
    if (length == 0 || at + length > text.size()) return {};
    char32_t value = first & (0x7fU >> length);
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0U) != 0x80) return {};
        value = (value << 6U) | (byte(i) & 0x3fU);
    }
    const bool overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
    if (overlong || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return {};
    return {value, length};
}

bool steers_terminal(char32_t c) noexcept {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

std::size_t width_of(char32_t c) noexcept {
    if (c < 0x20 || (c >= 0x300 && c < 0x370)) return 0;
    const bool wide = (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) ||
                      (c >= 0xac00 && c <= 0xd7a3) || (c >= 0xf900 && c <= 0xfaff) ||
                      (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
                      (c >= 0x1f300 && c <= 0x1faff) || (c >= 0x20000 && c <= 0x3fffd);
    return wide ? 2 : 1;
}

/// Bytes of an escape sequence of ours (CSI … letter) at `at`; 0 when there is none.
std::size_t escape_bytes(std::string_view text, std::size_t at) noexcept {
    if (text[at] != '\x1b' || at + 1 >= text.size() || text[at + 1] != '[') return 0;
    std::size_t end = at + 2;
    while (end < text.size() && (text[end] < '@' || text[end] > '~'))
        ++end;
    return std::min(end + 1, text.size()) - at;
}

void append_utf8(std::string& out, char32_t c) {
    const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
    if (c < 0x80) {
        put(c);
    } else if (c < 0x800) {
        put(0xc0U | (c >> 6U));
        put(0x80U | (c & 0x3fU));
    } else {
        put(0xe0U | (c >> 12U));
        put(0x80U | ((c >> 6U) & 0x3fU));
        put(0x80U | (c & 0x3fU));
    }
}

/// The last values spread over `buckets`: each the mean of its share.
std::vector<double> bucketed(const std::vector<double>& values, std::size_t buckets) {
    std::vector<double> out;
    const std::size_t count = std::min(values.size(), buckets);
    out.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t begin = i * values.size() / count;
        const std::size_t end = std::max(begin + 1, (i + 1) * values.size() / count);
        double sum = 0;
        for (std::size_t j = begin; j < end; ++j)
            sum += values[j];
        out.push_back(sum / static_cast<double>(end - begin));
    }
    return out;
}

}  // namespace

std::string printable(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const CodePoint point = decode_at(text, at);
        if (point.bytes == 0 || steers_terminal(point.value)) {
            out.push_back('?');
            at += std::max<std::size_t>(point.bytes, 1);
        } else {
            out.append(text.substr(at, point.bytes));
            at += point.bytes;
        }
    }
    return out;
}

std::size_t display_width(std::string_view text) {
    std::size_t width = 0;
    for (std::size_t at = 0; at < text.size();) {
        if (const std::size_t skip = escape_bytes(text, at); skip > 0) {
            at += skip;
            continue;
        }
        const CodePoint point = decode_at(text, at);
        width += point.bytes == 0 ? 1 : width_of(point.value);
        at += std::max<std::size_t>(point.bytes, 1);
    }
    return width;
}

std::string fit(std::string_view text, std::size_t columns) {
    if (display_width(text) <= columns) return std::string(text);
    if (columns == 0) return {};
    std::string out;
    std::size_t width = 0;
    bool painted = false;
    for (std::size_t at = 0; at < text.size();) {
        if (const std::size_t skip = escape_bytes(text, at); skip > 0) {
            out.append(text.substr(at, skip));
            painted = true;
            at += skip;
            continue;
        }
        const CodePoint point = decode_at(text, at);
        const std::size_t step = point.bytes == 0 ? 1 : width_of(point.value);
        if (width + step > columns - 1) break;
        const std::size_t bytes = std::max<std::size_t>(point.bytes, 1);
        out.append(text.substr(at, bytes));
        width += step;
        at += bytes;
    }
    out += "…";
    if (painted) out += "\x1b[0m";
    return out;
}

std::string bar(std::uint64_t permille, std::size_t columns) {
    const std::uint64_t eighths = std::min<std::uint64_t>(permille, 1000) * columns * 8 / 1000;
    std::string out;
    for (std::size_t i = 0; i < columns; ++i) {
        const std::uint64_t filled =
            eighths > i * 8 ? std::min<std::uint64_t>(eighths - i * 8, 8) : 0;
        if (filled == 0) {
            append_utf8(out, U'░');
        } else {
            append_utf8(out, static_cast<char32_t>(0x2590 - filled));  // ▏ … █
        }
    }
    return out;
}

std::string sparkline(const std::vector<double>& values, std::size_t columns) {
    const std::vector<double> points = bucketed(values, columns);
    if (points.empty()) return {};
    const auto [low, high] = std::minmax_element(points.begin(), points.end());
    const double range = *high - *low;
    std::string out;
    for (const double value : points) {
        const double share = range > 0 ? (value - *low) / range : 0;
        append_utf8(out, static_cast<char32_t>(0x2581 + std::lround(share * 7)));
    }
    return out;
}

std::vector<std::string> curve(const std::vector<double>& values, std::size_t columns,
                               std::size_t rows) {
    constexpr std::size_t kScale = 9;  // columns of the scale and its line
    std::vector<std::string> lines;
    if (columns < kScale + 4 || rows < 2) return lines;
    const std::size_t width = columns - kScale;
    const std::vector<double> points = bucketed(values, width * 2);
    if (points.empty()) return lines;
    const auto [low, high] = std::minmax_element(points.begin(), points.end());
    const double range = *high > *low ? *high - *low : 1;
    const std::size_t levels = rows * 4;
    // Dots of a braille cell, by column and row from the top (Unicode 2800).
    constexpr std::array<std::array<unsigned, 4>, 2> kDots{
        {{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}}};
    std::vector<std::vector<unsigned>> cells(rows, std::vector<unsigned>(width, 0));
    const auto level_of = [&](double value) {
        const double share = (value - *low) / range;
        return levels - 1 -
               static_cast<std::size_t>(std::lround(share * static_cast<double>(levels - 1)));
    };
    const std::size_t span = width * 2;
    std::size_t previous = level_of(points.front());
    for (std::size_t x = 0; x < span; ++x) {
        // Few values are stretched over the whole width, so that the curve has its shape early.
        const std::size_t level = level_of(points[x * points.size() / span]);
        const std::size_t from = std::min(level, previous);
        const std::size_t to = std::max(level, previous);
        for (std::size_t y = from; y <= to; ++y)
            cells[y / 4][x / 2] |= kDots[x % 2][y % 4];
        previous = level;
    }
    for (std::size_t r = 0; r < rows; ++r) {
        std::string label;
        if (r == 0) label = format_number(*high);
        if (r + 1 == rows) label = format_number(*low);
        std::string text = fmt::format("{:>{}} ", label, kScale - 2);
        append_utf8(text, r == 0 || r + 1 == rows ? U'┤' : U'│');
        for (const unsigned dots : cells[r])
            append_utf8(text, 0x2800 + dots);
        lines.push_back(std::move(text));
    }
    return lines;
}

std::string format_duration(std::uint64_t milliseconds) {
    const std::uint64_t seconds = milliseconds / 1000;
    if (seconds < 60) return fmt::format("{} s", seconds);
    if (seconds < 3600) return fmt::format("{} min {:02} s", seconds / 60, seconds % 60);
    return fmt::format("{} h {:02} min", seconds / 3600, seconds / 60 % 60);
}

std::string format_bytes(std::uint64_t bytes) {
    if (bytes < 1024) return fmt::format("{} B", bytes);
    double value = static_cast<double>(bytes);
    for (const char* unit : {"KiB", "MiB", "GiB"}) {
        value /= 1024;
        if (value < 1024) return fmt::format("{:.1f} {}", value, unit);
    }
    return fmt::format("{:.1f} TiB", value / 1024);
}

std::string format_number(double value) {
    if (!std::isfinite(value)) return value != value ? "nan" : "inf";
    const double size = std::abs(value);
    if (size < 10) return fmt::format("{:.3f}", value);
    if (size < 1000) return fmt::format("{:.1f}", value);
    return fmt::format("{:.0f}", value);
}

Terminal::Options Terminal::detect(std::FILE* stream) {
    Options options;
    const int fd = fileno(stream);
    const char* term = std::getenv("TERM");
    const bool dumb = term == nullptr || std::string_view(term) == "dumb";
    options.live = isatty(fd) == 1 && !dumb;
    const char* no_colour = std::getenv("NO_COLOR");
    options.colour = options.live && (no_colour == nullptr || *no_colour == '\0');
    winsize size{};
    if (options.live && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) {
        options.columns = std::min<std::size_t>(size.ws_col, 200);
    } else if (const char* columns = std::getenv("COLUMNS"); columns != nullptr) {
        const long value = std::strtol(columns, nullptr, 10);
        if (value >= 20 && value <= 200) options.columns = static_cast<std::size_t>(value);
    }
    return options;
}

std::string Terminal::paint(Paint paint, std::string_view text) const {
    if (!options_.colour || paint == Paint::kPlain) return std::string(text);
    constexpr std::array<std::string_view, 7> kCodes{"0", "1", "2", "32", "33", "31", "36"};
    return fmt::format("\x1b[{}m{}\x1b[0m", kCodes[static_cast<std::size_t>(paint)], text);
}

void Terminal::clear_region() {
    if (drawn_lines_ == 0) return;
    fmt::print(stream_, "\x1b[{}F\x1b[J", drawn_lines_);
    drawn_lines_ = 0;
}

void Terminal::line(std::string_view text) {
    clear_region();
    fmt::print(stream_, "{}\n", text);
    std::fflush(stream_);
}

void Terminal::write(std::string_view text) {
    clear_region();
    std::fwrite(text.data(), 1, text.size(), stream_);
    std::fflush(stream_);
}

void Terminal::redraw(const std::vector<std::string>& lines) {
    if (!options_.live) return;
    clear_region();
    for (const std::string& text : lines)
        fmt::print(stream_, "{}\n", fit(text, columns() - 1));
    drawn_lines_ = lines.size();
    std::fflush(stream_);
}

void Table::row(std::vector<std::string> cells) {
    cells.resize(columns_.size());
    for (std::string& cell : cells)
        cell = printable(cell);
    rows_.push_back(std::move(cells));
}

std::vector<std::string> Table::render(std::size_t columns_max) const {
    std::vector<std::size_t> widths;
    for (const Column& column : columns_)
        widths.push_back(display_width(column.title));
    for (const auto& cells : rows_)
        for (std::size_t i = 0; i < cells.size(); ++i)
            widths[i] = std::max(widths[i], display_width(cells[i]));
    const auto total = [&widths] {
        std::size_t sum = widths.empty() ? 0 : 2 * (widths.size() - 1);
        for (const std::size_t width : widths)
            sum += width;
        return sum;
    };
    while (total() > columns_max) {
        std::size_t widest = columns_.size();
        for (std::size_t i = 0; i < columns_.size(); ++i) {
            if (columns_[i].align == Align::kRight || widths[i] <= 8) continue;
            if (widest == columns_.size() || widths[i] > widths[widest]) widest = i;
        }
        if (widest == columns_.size()) break;  // nothing left to cut
        --widths[widest];
    }
    const auto render_row = [&](const std::vector<std::string>& cells) {
        std::string text;
        for (std::size_t i = 0; i < cells.size(); ++i) {
            const std::string cell = fit(cells[i], widths[i]);
            const std::string pad(widths[i] - std::min(display_width(cell), widths[i]), ' ');
            if (i > 0) text += "  ";
            text += columns_[i].align == Align::kRight ? pad + cell : cell + pad;
        }
        while (!text.empty() && text.back() == ' ')
            text.pop_back();
        return text;
    };
    std::vector<std::string> titles;
    for (const Column& column : columns_)
        titles.push_back(column.title);
    std::vector<std::string> lines{render_row(titles)};
    for (const auto& cells : rows_)
        lines.push_back(render_row(cells));
    return lines;
}

void Table::print(Terminal& terminal) const {
    const std::size_t columns_max = terminal.live() ? terminal.columns() : 10'000;
    const std::vector<std::string> lines = render(columns_max);
    terminal.line(terminal.paint(Paint::kBold, lines.front()));
    for (std::size_t i = 1; i < lines.size(); ++i)
        terminal.line(lines[i]);
}

void Progress::update(std::uint64_t done) {
    done_ = done;
    const std::uint64_t permille = total_ == 0 ? 1000 : std::min(done, total_) * 1000 / total_;
    const std::string text = fmt::format("{:<10} {} {:>3} %  {} of {}", label_, bar(permille, 24),
                                         permille / 10, format_bytes(done), format_bytes(total_));
    if (terminal_.live()) {
        if (std::exchange(drawn_permille_, permille) != permille) terminal_.redraw({text});
    } else if (permille / 100 > printed_step_) {
        printed_step_ = permille / 100;
        terminal_.line(fmt::format("{} {} %", label_, printed_step_ * 10));
    }
}

void Progress::finish() {
    if (done_ < total_ || total_ == 0) update(total_);
    terminal_.settle();
}

}  // namespace marketplace::cli
