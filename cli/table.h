// The one table writer: columns wide enough for their cells, no trailing blanks.
#pragma once

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace dr::cli {

enum class Align { Left, Right };

struct Column {
    std::string title;
    Align align = Align::Left;
};

// Rows are collected until flush(); so a list of a million rows is written page by page, and
// a later page may be wider than the first, never narrower. The heading is written once.
class Table {
  public:
    explicit Table(std::vector<Column> columns);

    // Exactly one cell for each column. Control characters are shown as '?'.
    void add(std::vector<std::string> cells);
    // The rows since the last flush; the heading before the first of them. An empty table is its
    // heading.
    [[nodiscard]] std::string flush();

  private:
    void append_line(std::string& text, const std::vector<std::string>& cells) const;

    std::vector<Column> columns_;
    std::vector<std::size_t> widths_;
    std::vector<std::vector<std::string>> rows_;
    bool heading_written_ = false;
};

// "Name:      site-42" lines, the values in one column.
[[nodiscard]] std::string key_values(
    const std::vector<std::pair<std::string, std::string>>& entries);

}  // namespace dr::cli
