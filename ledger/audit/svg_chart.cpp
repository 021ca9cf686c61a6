// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/svg_chart.hpp"

#include "ledger/base/checked.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace ledger::audit::detail {
namespace {

// Pixels. The plot lies inside margins for the scale at the left and the labels below.
constexpr std::uint64_t kWidth = 640, kHeight = 260;
constexpr std::uint64_t kLeft = 84, kRight = 12, kTop = 12, kBottom = 52;
constexpr std::uint64_t kPlotWidth = kWidth - kLeft - kRight;
constexpr std::uint64_t kPlotHeight = kHeight - kTop - kBottom;
constexpr std::size_t kLabels = 6;
constexpr std::uint64_t kRow = 26, kNames = 190, kValues = 130;

std::uint64_t share(std::uint64_t value, std::uint64_t of, std::uint64_t pixels) {
    return of == 0 ? 0 : base::mul_div_down(std::min(value, of), pixels, of).value_or(0);
}

std::uint64_t largest(const Chart& chart) {
    std::uint64_t most = 0;
    for (const ChartPoint& point : chart.points)
        most = std::max(most, point.value);
    return std::min(most, std::uint64_t{1} << 62);
}

/// 1, 2 or 5 times a power of ten, so that four or five of them reach `most`.
std::uint64_t step_of(std::uint64_t most) {
    std::uint64_t power = 1;
    while (most / power >= 50)
        power *= 10;
    for (const std::uint64_t factor : {1U, 2U, 5U})
        if (most / (power * factor) < 5) return power * factor;
    return power * 10;
}

std::string framed(const Chart& chart, std::uint64_t height, const std::string& body) {
    return fmt::format(
        "<figure><figcaption>{0}</figcaption><svg viewBox=\"0 0 {1} {2}\" role=\"img\" "
        "aria-label=\"{0}\">{3}</svg></figure>\n",
        escaped(chart.title), kWidth, height, body);
}

std::string text(std::uint64_t x, std::uint64_t y, std::string_view anchor,
                 std::string_view content) {
    return fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"{}\">{}</text>", x, y, anchor,
                       escaped(content));
}

std::string nothing(const Chart& chart) {
    return framed(chart, 60, text(kWidth / 2, 34, "middle", "nothing to show"));
}

/// Lines of the scale, labels below, and the names of both axes.
struct Plot {
    std::uint64_t top_value = 0;
    std::string body;

    explicit Plot(const Chart& chart) {
        const std::uint64_t most = std::max<std::uint64_t>(largest(chart), 1);
        const std::uint64_t step = step_of(most);
        top_value = (most + step - 1) / step * step;
        for (std::uint64_t value = 0; value <= top_value; value += step) {
            body += fmt::format("<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>",
                                kLeft, kWidth - kRight, y(value), y(value));
            body += text(kLeft - 6, y(value) + 4, "end", chart.format(value));
        }
        const std::size_t every = (chart.points.size() + kLabels - 1) / kLabels;
        for (std::size_t i = 0; i < chart.points.size(); i += every)
            body += text(middle(i, chart.points.size()), kHeight - kBottom + 18, "middle",
                         chart.points[i].label);
        body += text(kLeft + kPlotWidth / 2, kHeight - 8, "middle", chart.x_label);
        body += fmt::format(
            "<text transform=\"translate(14 {}) rotate(-90)\" "
            "text-anchor=\"middle\">{}</text>",
            kTop + kPlotHeight / 2, escaped(chart.y_label));
    }
    [[nodiscard]] std::uint64_t y(std::uint64_t value) const {
        return kTop + kPlotHeight - share(value, top_value, kPlotHeight);
    }
    [[nodiscard]] static std::uint64_t left(std::size_t i, std::size_t count) {
        return kLeft + kPlotWidth * i / count;
    }
    [[nodiscard]] static std::uint64_t middle(std::size_t i, std::size_t count) {
        return (left(i, count) + left(i + 1, count)) / 2;
    }
};

std::string tip(const Chart& chart, const ChartPoint& point) {
    return "<title>" + escaped(point.label + ": " + chart.format(point.value)) + "</title>";
}

}  // namespace

std::string escaped(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
        switch (c) {
            case '&':
                out += "&amp;";
                break;
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '"':
                out += "&quot;";
                break;
            case '\'':
                out += "&#39;";
                break;
            default:
                out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
        }
    }
    return out;
}

std::string column_chart(const Chart& chart) {
    if (largest(chart) == 0) return nothing(chart);
    Plot plot(chart);
    const std::size_t count = chart.points.size();
    for (std::size_t i = 0; i < count; ++i) {
        const ChartPoint& point = chart.points[i];
        if (point.value == 0) continue;
        const std::uint64_t space = Plot::left(i + 1, count) - Plot::left(i, count);
        const std::uint64_t gap = space > 3 ? std::min<std::uint64_t>(space / 4, 8) : 0;
        const std::uint64_t top = std::min(plot.y(point.value), kTop + kPlotHeight - 1);
        plot.body += fmt::format(
            "<rect class=\"bar\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\">{}</rect>",
            Plot::left(i, count) + gap / 2, top, std::max<std::uint64_t>(space - gap, 1),
            kTop + kPlotHeight - top, tip(chart, point));
    }
    return framed(chart, kHeight, plot.body);
}

std::string line_chart(const Chart& chart) {
    if (largest(chart) == 0) return nothing(chart);
    Plot plot(chart);
    const std::size_t count = chart.points.size();
    std::string path;
    std::string dots;
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint64_t x = Plot::middle(i, count);
        const std::uint64_t y = plot.y(chart.points[i].value);
        path += fmt::format("{}{} {}", i == 0 ? "M" : "L", x, y);
        dots += fmt::format("<circle class=\"dot\" cx=\"{}\" cy=\"{}\" r=\"3\">{}</circle>", x, y,
                            tip(chart, chart.points[i]));
    }
    plot.body += "<path class=\"line\" d=\"" + path + "\"/>" + dots;
    return framed(chart, kHeight, plot.body);
}

std::string bar_chart(const Chart& chart) {
    const std::uint64_t most = largest(chart);
    if (most == 0) return nothing(chart);
    std::string body;
    body += text(kNames - 8, 14, "end", chart.y_label) + text(kNames, 14, "start", chart.x_label);
    std::uint64_t y = 22;
    for (const ChartPoint& point : chart.points) {
        const std::uint64_t width = share(point.value, most, kWidth - kNames - kValues);
        body += text(kNames - 8, y + 16, "end", point.label);
        body += fmt::format(
            "<rect class=\"bar\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\">{}</rect>", kNames,
            y + 3, std::max<std::uint64_t>(width, point.value > 0 ? 1 : 0), kRow - 6,
            tip(chart, point));
        body += text(kNames + width + 6, y + 16, "start", chart.format(point.value));
        y += kRow;
    }
    return framed(chart, y + 6, body);
}

}  // namespace ledger::audit::detail
