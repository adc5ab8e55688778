// Draws a progress bar on standard error.
#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <string>

namespace dr::cli {
namespace {

constexpr std::chrono::milliseconds kRedraw{100};
constexpr std::uint64_t kWidth = 30;

}  // namespace

Progress::Progress(std::FILE* terminal, std::uint64_t total)
    : terminal_(terminal), total_(total), enabled_(isatty(fileno(terminal)) == 1) {}

void Progress::update(std::uint64_t bytes, std::uint64_t objects) {
    if (!enabled_ || objects < kFirstShown) {
        return;
    }
    const auto now = Clock::now();
    const std::lock_guard lock(mutex_);
    if (now - drawn_at_ < kRedraw) {
        return;
    }
    drawn_at_ = now;
    drawn_ = true;
    const double seconds = std::chrono::duration<double>(now - start_).count();
    std::string bar;
    if (total_ != 0) {
        const auto done = std::min(bytes, total_);
        const auto filled = static_cast<std::size_t>(done * kWidth / total_);
        bar =
            fmt::format("[{:<{}}] {:3}%  ", std::string(filled, '#'), kWidth, done * 100 / total_);
    }
    fmt::print(terminal_, "\r{}{} objects, {:.0f}/s\x1b[K", bar, objects,
               static_cast<double>(objects) / seconds);
    std::fflush(terminal_);
}

void Progress::clear() {
    const std::lock_guard lock(mutex_);
    if (drawn_) {
        fmt::print(terminal_, "\r\x1b[K");
        std::fflush(terminal_);
        drawn_ = false;
    }
}

}  // namespace dr::cli
