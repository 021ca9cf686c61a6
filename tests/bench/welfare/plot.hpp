// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

/// Small multiples of lines over the hours of a day as one self-contained SVG.
namespace welfare {

struct Line {
    std::string name;
    std::vector<double> by_hour;  ///< negative: nothing to draw at that hour
};
struct Panel {
    std::vector<Line> lines;
};
struct Row {
    std::string title;  ///< with its unit
    double top = 0;     ///< of the axis, which begins at 0
    std::vector<Panel> panels;
};
/// One row per quantity, one column per name in `columns`; every row has as many panels.
[[nodiscard]] std::string svg(const std::string& title, const std::vector<std::string>& columns,
                              const std::vector<Row>& rows);

}  // namespace welfare
