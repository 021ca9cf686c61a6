// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

/// Charts as SVG text, computed in whole numbers. Colours come from the page's style.
namespace ledger::audit::detail {

/// Text as it may stand in HTML, between tags and in quoted attributes.
[[nodiscard]] std::string escaped(std::string_view text);

struct ChartPoint {
    std::string label;
    std::uint64_t value = 0;
};
struct Chart {
    std::string title;
    std::string x_label;  ///< with its unit
    std::string y_label;  ///< with its unit
    std::function<std::string(std::uint64_t)> format;
    std::vector<ChartPoint> points;
};

/// Upright bars over an axis of time or size.
[[nodiscard]] std::string column_chart(const Chart& chart);
/// A line over the same axis.
[[nodiscard]] std::string line_chart(const Chart& chart);
/// Lying bars with their values, for names; `y_label` is what the names are.
[[nodiscard]] std::string bar_chart(const Chart& chart);

}  // namespace ledger::audit::detail
