// Lays out tables for terminals.
#include "cli/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "base/printable.h"

namespace dr::cli {
namespace {

constexpr const char* kGap = "  ";

}  // namespace

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {
    for (const auto& column : columns_) {
        widths_.push_back(column.title.size());
    }
}

void Table::add(std::vector<std::string> cells) {
    if (cells.size() != columns_.size()) {
        throw std::logic_error("a table row needs one cell for each column");
    }
    for (std::size_t i = 0; i < cells.size(); ++i) {
        cells[i] = printable(cells[i]);
        widths_[i] = std::max(widths_[i], cells[i].size());
    }
    rows_.push_back(std::move(cells));
}

void Table::append_line(std::string& text, const std::vector<std::string>& cells) const {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) {
        if (i != 0) {
            line += kGap;
        }
        line += columns_[i].align == Align::Right ? fmt::format("{:>{}}", cells[i], widths_[i])
                                                  : fmt::format("{:<{}}", cells[i], widths_[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
}

std::string Table::flush() {
    std::string text;
    if (!heading_written_) {
        std::vector<std::string> titles;
        for (const auto& column : columns_) {
            titles.push_back(column.title);
        }
        append_line(text, titles);
        heading_written_ = true;
    }
    for (const auto& row : rows_) {
        append_line(text, row);
    }
    rows_.clear();
    return text;
}

std::string key_values(const std::vector<std::pair<std::string, std::string>>& entries) {
    std::size_t width = 0;
    for (const auto& [key, value] : entries) {
        width = std::max(width, key.size() + 1);
    }
    std::string text;
    for (const auto& [key, value] : entries) {
        const std::string shown = value.empty() ? "-" : printable(value);
        text += fmt::format("{:<{}}  {}\n", key + ":", width, shown);
    }
    return text;
}

}  // namespace dr::cli
