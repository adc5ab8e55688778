// The tunnel device: a TAP interface that nobody reads. To the kernel it is an interface with the
// tunnels' MTU; urd's program on its egress takes every packet away before the device sees it.
// It lives as long as its file descriptor, so it goes with the process however that ends.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace dr::ur {

class Tap final {
  public:
    // Throws std::system_error.
    explicit Tap(const std::string& name);
    // After somebody has deleted it; index and address are others then. Throws std::system_error.
    void make_again();
    ~Tap();
    Tap(const Tap&) = delete;
    Tap& operator=(const Tap&) = delete;

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] int index() const { return index_; }
    [[nodiscard]] const std::array<std::uint8_t, 6>& mac() const { return mac_; }

  private:
    void make();

    std::string name_;
    int fd_{-1};
    int index_{};
    std::array<std::uint8_t, 6> mac_{};
};

}  // namespace dr::ur
