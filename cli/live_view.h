// Shows a text repeatedly: in place on a terminal, as plain blocks otherwise.
#pragma once

#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

namespace dr::cli {

class LiveView {
  public:
    explicit LiveView(std::FILE* out);
    // Whole lines. On a terminal the text is cut to the screen, at the right and at the bottom.
    void show(const std::string& text);
    // The terminal's columns; SIZE_MAX: not a terminal, and nothing is cut.
    [[nodiscard]] std::size_t columns() const;

  private:
    std::FILE* out_;
    bool terminal_;
    bool first_ = true;
    std::size_t lines_on_screen_ = 0;
};

// The part of `text` that fits on a screen; a last line says how many lines were left out.
[[nodiscard]] std::string fit_to_screen(const std::string& text, std::size_t rows,
                                        std::size_t columns);

// A table of a heading and one line a row, with remarks: each in a last column of its own while the
// lines then fit into `columns`, otherwise whole and indented below its row, which may be cut.
[[nodiscard]] std::string with_remarks(const std::string& table, const std::string& title,
                                       const std::vector<std::string>& remarks,
                                       std::size_t columns);

}  // namespace dr::cli
