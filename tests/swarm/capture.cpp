#include "tests/swarm/capture.h"

#include <array>

namespace dr::swarm {

std::unique_ptr<Capture> Capture::create(const std::string& path, std::uint64_t frames) {
    std::FILE* file = std::fopen(path.c_str(), "wb");
    if (file == nullptr) return nullptr;
    auto capture = std::make_unique<Capture>();
    capture->file_.reset(file);
    capture->left_ = frames;
    // Magic, version 2.4, time zone and accuracy 0, frames of up to 65535 bytes, Ethernet.
    constexpr std::array<std::uint32_t, 6> kHeader{0xa1b2c3d4, 0x00040002, 0, 0, 65'535, 1};
    std::fwrite(kHeader.data(), sizeof kHeader, 1, file);
    return capture;
}

bool Capture::add(std::span<const std::uint8_t> frame) {
    if (left_ == 0) return false;
    const auto size = static_cast<std::uint32_t>(frame.size());
    const std::array<std::uint32_t, 4> header{0, 0, size, size};
    std::fwrite(header.data(), sizeof header, 1, file_.get());
    std::fwrite(frame.data(), frame.size(), 1, file_.get());
    if (--left_ != 0) return true;
    file_.reset();
    return false;
}

}  // namespace dr::swarm
