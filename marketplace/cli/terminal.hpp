// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

/// Text for people: colours and live regions on a terminal, plain lines on a pipe.
namespace marketplace::cli {

/// Control characters and bidirectional overrides become '?': names and log lines come from
/// strangers and must not steer the terminal. Invalid UTF-8 becomes '?' as well.
[[nodiscard]] std::string printable(std::string_view text);

/// Columns a text takes on a terminal; escape sequences take none.
[[nodiscard]] std::size_t display_width(std::string_view text);

/// The first columns of a text, with "…" when something was cut.
[[nodiscard]] std::string fit(std::string_view text, std::size_t columns);

/// "█████▌    ": `permille` of 1000 filled.
[[nodiscard]] std::string bar(std::uint64_t permille, std::size_t columns);

/// "▇▆▄▃▂▂▁": the last values, averaged into `columns` buckets; empty without values.
[[nodiscard]] std::string sparkline(const std::vector<double>& values, std::size_t columns);

/// A line chart of braille dots, `rows` lines of `columns` characters with a scale at the left.
[[nodiscard]] std::vector<std::string> curve(const std::vector<double>& values, std::size_t columns,
                                             std::size_t rows);

/// "58 s", "3 min 04 s", "2 h 05 min".
[[nodiscard]] std::string format_duration(std::uint64_t milliseconds);
/// "512 B", "1.4 MiB".
[[nodiscard]] std::string format_bytes(std::uint64_t bytes);
/// Three significant places below 10, fewer above: "2.417", "31.2", "1204".
[[nodiscard]] std::string format_number(double value);

enum class Paint : std::uint8_t { kPlain, kBold, kDim, kGreen, kYellow, kRed, kCyan };

/// One output stream. Not thread-safe.
class Terminal {
 public:
    struct Options {
        bool live = false;  ///< a terminal that understands cursor movement
        bool colour = false;
        std::size_t columns = 80;
    };
    /// What the stream can do: NO_COLOR, TERM=dumb and COLUMNS are heeded.
    [[nodiscard]] static Options detect(std::FILE* stream);

    Terminal(std::FILE* stream, Options options) noexcept : stream_(stream), options_(options) {}

    [[nodiscard]] bool live() const noexcept { return options_.live; }
    [[nodiscard]] std::size_t columns() const noexcept { return options_.columns; }
    [[nodiscard]] std::string paint(Paint paint, std::string_view text) const;

    /// Writes a line. A live region is cleared first and has to be drawn again.
    void line(std::string_view text = {});
    /// Writes text as it is, at once (streamed tokens).
    void write(std::string_view text);
    /// Replaces the lines drawn last; on a pipe nothing happens.
    void redraw(const std::vector<std::string>& lines);
    /// Leaves the lines drawn last where they are.
    void settle() noexcept { drawn_lines_ = 0; }

 private:
    void clear_region();

    std::FILE* stream_;
    Options options_;
    std::size_t drawn_lines_ = 0;
};

/// Columns that line up. Text is made printable; numbers go right.
class Table {
 public:
    enum class Align : std::uint8_t { kLeft, kRight };
    struct Column {
        std::string title;
        Align align = Align::kLeft;
    };
    explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

    void row(std::vector<std::string> cells);
    [[nodiscard]] bool empty() const noexcept { return rows_.empty(); }
    /// Lines of at most `columns_max` columns: the widest left column is cut first.
    [[nodiscard]] std::vector<std::string> render(std::size_t columns_max) const;
    /// Writes the table: bold titles on a terminal, uncut on a pipe.
    void print(Terminal& terminal) const;

 private:
    std::vector<Column> columns_;
    std::vector<std::vector<std::string>> rows_;
};

/// "Upload  ████▌     46 %  1.2 of 2.6 MiB": redrawn on a terminal, a line per 10 % on a pipe.
class Progress {
 public:
    Progress(Terminal& terminal, std::string label, std::uint64_t total)
        : terminal_(terminal), label_(std::move(label)), total_(total) {}
    void update(std::uint64_t done);
    void finish();
    /// Leaves what is drawn; for work that ended early.
    void settle() noexcept { terminal_.settle(); }

 private:
    Terminal& terminal_;
    std::string label_;
    std::uint64_t total_;
    std::uint64_t printed_step_ = 0;
    std::uint64_t drawn_permille_ = 1001;  // none yet
    std::uint64_t done_ = 0;
};

}  // namespace marketplace::cli
