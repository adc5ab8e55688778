#include "cli/live_view.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

namespace dr::cli {

std::string fit_to_screen(const std::string& text, std::size_t rows, std::size_t columns) {
    std::vector<std::string> lines;
    for (std::size_t begin = 0; begin < text.size();) {
        const auto end = std::min(text.find('\n', begin), text.size());
        lines.push_back(text.substr(begin, std::min(end - begin, columns)));
        begin = end + 1;
    }
    // The cursor stands on a row of its own below the last line.
    if (rows >= 3 && lines.size() + 1 > rows) {
        const auto shown = rows - 2;
        const auto note = fmt::format("... {} more", lines.size() - shown);
        lines.resize(shown);
        lines.push_back(note.substr(0, columns));
    }
    std::string fitted;
    for (const auto& line : lines) {
        fitted += line + '\n';
    }
    return fitted;
}

LiveView::LiveView(std::FILE* out) : out_(out), terminal_(isatty(fileno(out)) == 1) {}

void LiveView::show(const std::string& text) {
    if (!terminal_) {
        fmt::print(out_, "{}{}", first_ ? "" : "\n", text);
    } else {
        winsize size{};
        const bool known = ioctl(fileno(out_), TIOCGWINSZ, &size) == 0 && size.ws_row != 0;
        const auto shown = fit_to_screen(text, known ? size.ws_row : 24, known ? size.ws_col : 80);
        if (lines_on_screen_ != 0) {
            fmt::print(out_, "\x1b[{}A\x1b[J", lines_on_screen_);
        }
        fmt::print(out_, "{}", shown);
        lines_on_screen_ = static_cast<std::size_t>(std::count(shown.begin(), shown.end(), '\n'));
    }
    first_ = false;
    std::fflush(out_);
}

}  // namespace dr::cli
