// Redraws a text in place on a terminal, or prints it as plain blocks.
#include "cli/live_view.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

namespace dr::cli {

namespace {

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    for (std::size_t begin = 0; begin < text.size();) {
        const auto end = std::min(text.find('\n', begin), text.size());
        lines.push_back(text.substr(begin, end - begin));
        begin = end + 1;
    }
    return lines;
}

}  // namespace

std::string fit_to_screen(const std::string& text, std::size_t rows, std::size_t columns) {
    std::vector<std::string> lines = lines_of(text);
    for (auto& line : lines) {
        line.resize(std::min(line.size(), columns));
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

std::string with_remarks(const std::string& table, const std::string& title,
                         const std::vector<std::string>& remarks, std::size_t columns) {
    constexpr std::size_t kGap = 2;
    const auto lines = lines_of(table);
    std::size_t width = 0;
    for (const auto& line : lines) {
        width = std::max(width, line.size());
    }
    std::size_t widest = title.size();
    for (const auto& remark : remarks) {
        widest = std::max(widest, remark.size());
    }
    const bool beside = columns >= width && columns - width >= kGap + widest;
    std::string text;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const std::string& remark = i == 0 ? title : i <= remarks.size() ? remarks[i - 1] : "";
        if (beside) {
            text += lines[i] + std::string(width + kGap - lines[i].size(), ' ') + remark + '\n';
        } else {
            text += lines[i] + '\n' + (i == 0 ? "" : "    " + remark + '\n');
        }
    }
    return text;
}

LiveView::LiveView(std::FILE* out) : out_(out), terminal_(isatty(fileno(out)) == 1) {}

std::size_t LiveView::columns() const {
    winsize size{};
    if (!terminal_) {
        return SIZE_MAX;
    }
    return ioctl(fileno(out_), TIOCGWINSZ, &size) == 0 && size.ws_col != 0 ? size.ws_col : 80;
}

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
