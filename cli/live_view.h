// A text that is shown again and again: in place on a terminal, as plain blocks otherwise.
#pragma once

#include <cstddef>
#include <cstdio>
#include <string>

namespace dr::cli {

class LiveView {
  public:
    explicit LiveView(std::FILE* out);
    // Whole lines. On a terminal what does not fit is cut, at the right and at the bottom.
    void show(const std::string& text);

  private:
    std::FILE* out_;
    bool terminal_;
    bool first_ = true;
    std::size_t lines_on_screen_ = 0;
};

// The part of `text` that fits on a screen; a last line says how many lines were left out.
[[nodiscard]] std::string fit_to_screen(const std::string& text, std::size_t rows,
                                        std::size_t columns);

}  // namespace dr::cli
