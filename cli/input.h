// Reads a file or standard input in pieces.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

namespace dr::cli {

class Input {
  public:
    // "-" is `standard_input` (a file descriptor, not closed here). Throws Failure(kExitUsage)
    // when the file cannot be opened or is a directory.
    Input(const std::string& path, int standard_input);
    ~Input();
    Input(const Input&) = delete;
    Input& operator=(const Input&) = delete;

    // Called when the next read would wait (a pipe whose writer takes its time).
    void on_idle(std::function<void()> idle) { idle_ = std::move(idle); }
    // Called when a signal has interrupted a read; true ends the input.
    void on_signal(std::function<bool()> ended) { ended_ = std::move(ended); }
    [[nodiscard]] const std::string& name() const { return name_; }
    // Reads the available bytes, up to the span's size; 0 at the end. Throws Failure(kExitUsage) on
    // an error, and when it is UTF-16.
    std::size_t read(std::span<char> buffer);
    // Size of a regular file in bytes, 0 when not known.
    [[nodiscard]] std::uint64_t size() const { return size_; }

  private:
    std::string name_;
    int fd_ = -1;
    bool owned_ = false;
    std::uint64_t size_ = 0;
    bool first_ = true;
    std::function<void()> idle_;
    std::function<bool()> ended_;
};

}  // namespace dr::cli
