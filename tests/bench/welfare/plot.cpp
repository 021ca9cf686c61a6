// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/welfare/plot.hpp"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace welfare {
namespace {

constexpr double kWidth = 300;  // of a panel, as the others in pixels
constexpr double kHeight = 150;
constexpr double kLeft = 60;
constexpr double kTop = 80;
constexpr double kAcross = 40;
constexpr double kDown = 70;
constexpr double kHours = 24;
constexpr std::array<std::string_view, 4> kColours = {"#1b6ca8", "#c0392b", "#2e7d32", "#6a3d9a"};

std::string text(double x, double y, std::string_view anchor, std::string_view style,
                 std::string_view words) {
    return fmt::format(R"(<text x="{:.1f}" y="{:.1f}" text-anchor="{}" {}>{}</text>)"
                       "\n",
                       x, y, anchor, style, words);
}

/// The frame with its grid and the numbers on both axes.
std::string axes(double x, double y, double top) {
    std::string out;
    for (int i = 0; i <= 4; ++i) {
        const double at = y + kHeight - kHeight * i / 4;
        out += fmt::format(R"(<path d="M{:.1f} {:.1f}h{}" stroke="#ddd"/>)"
                           "\n",
                           x, at, kWidth);
        out += text(x - 6, at + 4, "end", "", fmt::format("{:.4g}", top * i / 4));
    }
    for (int hour = 0; hour <= 24; hour += 4)
        out += text(x + kWidth * hour / kHours, y + kHeight + 15, "middle", "",
                    fmt::format("{:02}", hour));
    out += fmt::format(R"(<path d="M{:.1f} {:.1f}v{}h{}" fill="none" stroke="#333"/>)"
                       "\n",
                       x, y, kHeight, kWidth);
    return out;
}

std::string line(double x, double y, double top, const Line& it, std::string_view colour) {
    std::string path;
    bool is_drawing = false;
    for (std::size_t hour = 0; hour < it.by_hour.size(); ++hour) {
        const double value = it.by_hour[hour];
        if (value < 0) {
            is_drawing = false;
            continue;
        }
        path += fmt::format("{}{:.1f} {:.1f}", is_drawing ? "L" : "M",
                            x + kWidth * (static_cast<double>(hour) + 0.5) / kHours,
                            y + kHeight - kHeight * std::min(value / top, 1.0));
        is_drawing = true;
    }
    return fmt::format(R"(<path d="{}" fill="none" stroke="{}" stroke-width="2"/>)"
                       "\n",
                       path, colour);
}

/// Names beside short strokes, over the row's first panel.
std::string legend(double x, double y, const std::vector<Line>& lines) {
    std::string out;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        out += fmt::format(R"(<path d="M{:.1f} {:.1f}h18" stroke="{}" stroke-width="3"/>)"
                           "\n",
                           x, y - 4, kColours[i % kColours.size()]);
        out += text(x + 23, y, "start", "", lines[i].name);
        x += 40 + 8 * static_cast<double>(lines[i].name.size());
    }
    return out;
}

}  // namespace

std::string svg(const std::string& title, const std::vector<std::string>& columns,
                const std::vector<Row>& rows) {
    const double width = kLeft + static_cast<double>(columns.size()) * (kWidth + kAcross);
    const double height = kTop + static_cast<double>(rows.size()) * (kHeight + kDown);
    std::string out = fmt::format(
        R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" )"
        R"(font-family="sans-serif" font-size="12" fill="#222"><rect width="{0}" height="{1}" )"
        R"(fill="#fff"/>)"
        "\n",
        width, height);
    out += text(kLeft, 22, "start", R"(font-size="16" font-weight="bold")", title);
    for (std::size_t c = 0; c < columns.size(); ++c)
        out += text(kLeft + static_cast<double>(c) * (kWidth + kAcross) + kWidth / 2, 45, "middle",
                    R"(font-size="14" font-weight="bold")", columns[c]);
    for (std::size_t r = 0; r < rows.size(); ++r) {
        const double y = kTop + static_cast<double>(r) * (kHeight + kDown);
        out += text(kLeft, y - 10, "start", R"(font-weight="bold")", rows[r].title);
        const double legend_x = kLeft + kWidth + kAcross;
        if (!rows[r].panels.empty()) out += legend(legend_x, y - 10, rows[r].panels.front().lines);
        for (std::size_t c = 0; c < rows[r].panels.size(); ++c) {
            const double x = kLeft + static_cast<double>(c) * (kWidth + kAcross);
            out += axes(x, y, rows[r].top);
            const auto& lines = rows[r].panels[c].lines;
            for (std::size_t i = 0; i < lines.size(); ++i)
                out += line(x, y, rows[r].top, lines[i], kColours[i % kColours.size()]);
        }
    }
    out += text(width / 2, height - 12, "middle", "", "hour of the day, UTC");
    return out + "</svg>\n";
}

}  // namespace welfare
