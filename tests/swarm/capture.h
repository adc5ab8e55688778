// Frames to a pcap file, as many as asked for.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>

namespace dr::swarm {

class Capture {
  public:
    // nullptr: the file cannot be made.
    static std::unique_ptr<Capture> create(const std::string& path, std::uint64_t frames);
    // false once enough have been written; the file is complete then.
    bool add(std::span<const std::uint8_t> frame);

  private:
    struct Close {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };
    std::unique_ptr<std::FILE, Close> file_;
    std::uint64_t left_ = 0;
};

}  // namespace dr::swarm
