// A progress bar on standard error, for a person who waits.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <mutex>

namespace dr::cli {

class Progress {
  public:
    // Fewer objects than this show no bar.
    static constexpr std::uint64_t kFirstShown = 5000;

    // `total` in bytes, 0 when not known. Shows nothing unless `terminal` is one.
    Progress(std::FILE* terminal, std::uint64_t total);
    ~Progress() { clear(); }
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    // Redraws at most ten times a second.
    void update(std::uint64_t bytes, std::uint64_t objects);
    // Takes the bar away; the next update brings it back. Any thread.
    void clear();

  private:
    using Clock = std::chrono::steady_clock;

    std::FILE* terminal_;
    std::uint64_t total_;
    bool enabled_;
    Clock::time_point start_ = Clock::now();
    Clock::time_point drawn_at_{};
    std::mutex mutex_;
    bool drawn_ = false;
};

}  // namespace dr::cli
